"""The ports through which a PC is reset: 0xCF9, the keyboard controller's 0x64, and 0x92.

There is no keyboard controller: its ports read as all ones.
"""

from collections.abc import Callable, Sequence

#: The reset control register, which the FADT tells the guest, and the value that resets.
RESET_PORT = 0xCF9
RESET_VALUE = 0x06

_KEYBOARD_DATA, _KEYBOARD_COMMAND = 0x60, 0x64
_SYSTEM_CONTROL_A = 0x92
_PULSE_RESET = 0xF0
_RESET_CPU, _FULL_RESET = 0x04, 0x0E


class ResetControl:
    """Calls back when the guest resets the machine.

    Args:
        reset: called for each reset that the guest asks for.
    """

    widest_access = 1

    def __init__(self, reset: Callable[[], None]) -> None:
        self._reset = reset
        self._control = 0
        # A20 is always open.
        self._system_control = 0x02

    @property
    def ports(self) -> Sequence[range]:
        """The four ports."""
        return tuple(
            range(port, port + 1)
            for port in (_KEYBOARD_DATA, _KEYBOARD_COMMAND, _SYSTEM_CONTROL_A, RESET_PORT)
        )

    def read_port(self, port: int, size: int) -> int:
        """Read a register; the keyboard controller is absent."""
        if port == RESET_PORT:
            return self._control
        if port == _SYSTEM_CONTROL_A:
            return self._system_control
        return 0xFF

    def write_port(self, port: int, size: int, value: int) -> None:
        """Reset the machine if this is how to ask for it."""
        if port == RESET_PORT:
            resets = bool(value & _RESET_CPU) and not self._control & _RESET_CPU
            self._control = value & _FULL_RESET & ~_RESET_CPU
        elif port == _SYSTEM_CONTROL_A:
            resets = bool(value & 1)
            self._system_control = value & ~1
        elif port == _KEYBOARD_COMMAND:
            # The commands 0xF0 to 0xFF pulse output lines; line 0, low in the command, is reset.
            resets = value & _PULSE_RESET == _PULSE_RESET and not value & 1
        else:
            resets = False
        if resets:
            self._reset()
