"""What must hold after each call, whatever the call was."""

import struct

from tests.guests.random_calls.places import SECRETS, VPS
from tests.guests.vtl import ENABLE_PROTECTION

from hypercall.machine.machine import Machine
from hypercall.partition.memory_hints import MOST_PENDING
from hypercall.partition.ports import MESSAGE_BUFFERS
from hypercall.partition.virtual_processor import RunState, VirtualProcessor
from hypercall.tlfs.calls import Call

_ACCESS = 0xF
_MOST_TIMERS = 64 + 8 * VPS
_SINTS = 16


class BrokenInvariantError(AssertionError):
    """Something does not hold that always must."""


def require(holds: object, what: str) -> None:
    """Say what does not hold.

    Raises:
        BrokenInvariantError: if it does not hold.
    """
    if not holds:
        raise BrokenInvariantError(what)


class Invariants:
    """Looks at a machine after each call.

    Args:
        machine: the machine.

    Attributes:
        exposed: the VTLs that were disabled, whose protections have so gone.
        restarted: the processors that were started anew, for the owner to clear.
        disturbed: a VTL of a processor was disabled, and what it kept of a lower one's registers
            is gone; for the owner to clear.
        calls: how many calls each VTL has made.
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._partition = machine.partition
        self._engine = machine._engine
        self.exposed: set[int] = set()
        self.restarted: set[int] = set()
        self.disturbed = False
        self.calls = dict.fromkeys(range(len(SECRETS) + 1), 0)
        self._guarded = [
            (level, lower, page >> 12) for level, page in SECRETS.items() for lower in range(level)
        ]

    def after(
        self, vp: VirtualProcessor, vtl: int, control: int, input: int, result: object
    ) -> None:
        """Look at everything.

        Args:
            vp: who made the call.
            vtl: in which VTL.
            control: the control word.
            input: RDX.
            result: what the exit returned: the result value, None or False.

        Raises:
            BrokenInvariantError: something does not hold.
        """
        self.calls[vtl] += 1
        if type(result) is int and not result & 0xFFFF:
            self._succeeded(vtl, control, input)
        self.secrets_are_kept()
        self._processors()

    def _succeeded(self, vtl: int, control: int, input: int) -> None:
        code = control & 0xFFFF
        if code == Call.DISABLE_PARTITION_VTL:
            for level in SECRETS:
                state = self._partition.vtls.get(level)
                if state is None or not state.config & ENABLE_PROTECTION:
                    self.exposed.add(level)
        elif code == Call.DISABLE_VP_VTL:
            self.disturbed = True
        elif code == Call.START_VIRTUAL_PROCESSOR:
            data = self._partition.memory.read(input + 8, 4, vtl)
            self.restarted.add(struct.unpack("<I", data)[0])

    def secrets_are_kept(self) -> None:
        """No table of a lower VTL lets it reach what a higher one keeps."""
        for level, lower, page in self._guarded:
            if level in self.exposed:
                continue
            entry = self._engine.get_entry(lower, page)
            assert entry is not None
            if entry & _ACCESS and entry >> 12 == page:
                require(False, f"VTL {lower} may reach the page of VTL {level}: {entry:#x}")

    def _processors(self) -> None:
        processors = self._machine.processors
        partition = self._partition
        current = processors.current
        require(
            self._engine.current_context == processors.context(current),
            "another context runs than that of the current processor",
        )
        for vp in partition.processors:
            require(vp.active_vtl in vp.vtls, f"VP {vp.index} runs a VTL that it does not have")
            require(set(vp.vtls) <= set(partition.vtls), f"VP {vp.index} has a VTL too many")
            require(vp.run_state is RunState.RUNNING, f"VP {vp.index} does not run")

    def resources(self) -> None:
        """No queue and no list has grown beyond its bound.

        Raises:
            BrokenInvariantError: one has.
        """
        partition = self._partition
        for vp in partition.processors:
            for vtl, state in vp.vtls.items():
                for sint in range(_SINTS):
                    waiting = state.synic.queue_length(sint)
                    require(
                        waiting <= MESSAGE_BUFFERS * (VPS + 1),
                        f"{waiting} messages wait for SINT {sint} of VTL {vtl} of VP {vp.index}",
                    )
        pending = partition.memory_hints.pending_count
        require(pending <= MOST_PENDING, f"{pending} hints are still to be followed")
