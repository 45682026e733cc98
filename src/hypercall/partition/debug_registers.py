"""The synthetic debugger's registers, by which a guest can do without the debug calls.

Sources: KVM ``hyperv.c`` and QEMU ``hw/hyperv/syndbg.c``; the TLFS does not describe them.
"""

from hypercall.errors import GuestMemoryError
from hypercall.partition.debug_channel import DebugChannel
from hypercall.partition.memory import PAGE_SIZE, GuestMemory
from hypercall.tlfs.msrs import (
    DEBUG_CONTROL_RECEIVE,
    DEBUG_CONTROL_SEND,
    DEBUG_CONTROL_SEND_SIZE,
    DEBUG_OPTION_USE_HYPERCALLS,
    DEBUG_STATUS_RECEIVED,
    DEBUG_STATUS_SENT,
    DEBUG_STATUS_SIZE,
)


class DebugRegisters:
    """The registers SYNDBG_CONTROL to SYNDBG_PENDING_BUFFER and DEBUG_DEVICE_OPTIONS.

    Args:
        channel: the channel to the debugger.
        memory: where the buffers lie.
        available: whether the partition has a debug channel.

    Attributes:
        control: the last request.
        status: what became of it.
        send_buffer: the address of the bytes to send.
        receive_buffer: the address of a page for what is received.
        pending_buffer: the address of a byte that tells whether the debugger has sent something;
            0 for none.
        options: how the guest should reach the debugger.
    """

    def __init__(self, channel: DebugChannel, memory: GuestMemory, *, available: bool) -> None:
        self._channel = channel
        self._memory = memory
        self._available = available
        self._vtl = 0
        self.control = 0
        self.status = 0
        self.send_buffer = 0
        self.receive_buffer = 0
        self.pending_buffer = 0
        self.options = 0
        self.reset()
        channel.listeners.append(self._show_pending)

    def reset(self) -> None:
        """Go to the state of a new partition."""
        self._vtl = 0
        self.control = self.status = 0
        self.send_buffer = self.receive_buffer = self.pending_buffer = 0
        self.options = DEBUG_OPTION_USE_HYPERCALLS.set(0, int(self._available))

    def write_control(self, value: int, vtl: int) -> None:
        """Carry out a request, which `status` then tells about."""
        self.control = value
        self.status = 0
        if not self._available:
            return
        try:
            if DEBUG_CONTROL_SEND.get(value):
                self._send(DEBUG_CONTROL_SEND_SIZE.get(value), vtl)
            elif DEBUG_CONTROL_RECEIVE.get(value):
                self._receive(vtl)
        except GuestMemoryError:
            self.status = 0

    def write_pending_buffer(self, value: int, vtl: int) -> None:
        """Say where to show whether data wait, and show it."""
        self.pending_buffer = value
        self._vtl = vtl
        self._show_pending()

    def _send(self, size: int, vtl: int) -> None:
        if self._channel.post(self._memory.read(self.send_buffer, size, vtl)):
            self.status = DEBUG_STATUS_SENT.set(0, 1)

    def _receive(self, vtl: int) -> None:
        self._memory.check(self.receive_buffer, PAGE_SIZE, vtl, write=True)
        data = self._channel.retrieve(PAGE_SIZE)
        if data:
            self._memory.write(self.receive_buffer, data, vtl)
            self.status = DEBUG_STATUS_SIZE.set(DEBUG_STATUS_RECEIVED.set(0, 1), len(data))

    def _show_pending(self) -> None:
        if not self.pending_buffer:
            return
        pending = bytes([1 if self._channel.incoming_count else 0])
        try:
            self._memory.write(self.pending_buffer, pending, self._vtl)
        except GuestMemoryError:
            # The guest named memory that is not there; nobody reads it either.
            self.pending_buffer = 0
