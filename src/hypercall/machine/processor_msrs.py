"""The MSRs that are plain registers of the processor, while accesses to them are intercepted.

The engine serves them itself unless a higher VTL wants to hear of one; then every access to it
exits, those too that nobody intercepts, and is carried out here (Intel SDM, volume 4).
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from hypercall.partition.faults import GeneralProtection

if TYPE_CHECKING:
    from hypercall.cpu.unicorn.engine import Engine

_EFER = 0xC0000080
_STATE: Mapping[int, str] = MappingProxyType(
    {
        0x174: "sysenter_cs",
        0x175: "sysenter_esp",
        0x176: "sysenter_eip",
        _EFER: "efer",
        0xC0000081: "star",
        0xC0000082: "lstar",
        0xC0000083: "cstar",
        0xC0000084: "sfmask",
        0xC0000103: "tsc_aux",
    }
)
_ADDRESSES = frozenset({0x175, 0x176, 0xC0000082, 0xC0000083})
_NARROW = frozenset({0x174, 0xC0000084, 0xC0000103})
_LONG_MODE_ENABLE, _LONG_MODE_ACTIVE = 1 << 8, 1 << 10
# SCE, LME, LMA, NXE.
_DEFINED_EFER = 1 << 0 | _LONG_MODE_ENABLE | _LONG_MODE_ACTIVE | 1 << 11
_PAGING = 1 << 31
_WIDTH = 48


def _canonical(address: int) -> bool:
    return address >> _WIDTH - 1 in (0, (1 << 64 - _WIDTH + 1) - 1)


class ProcessorMsrs:
    """The intercepted ones among the processor's own MSRs, in the running context of an engine."""

    def __init__(self) -> None:
        self.engine: Engine

    def __contains__(self, index: int) -> bool:
        """Whether the MSR is one of them."""
        return index in _STATE

    def read(self, index: int) -> int:
        """Read an MSR as RDMSR does."""
        return self.engine.get_state(self.engine.current_context, _STATE[index])

    def write(self, index: int, value: int) -> None:
        """Write an MSR as WRMSR does.

        Raises:
            GeneralProtection: the MSR cannot have the value.
        """
        engine = self.engine
        context = engine.current_context
        if index in _ADDRESSES and not _canonical(value):
            raise GeneralProtection
        if index in _NARROW and value >> 32:
            raise GeneralProtection
        if index == _EFER:
            old = engine.get_state(context, "efer")
            paging = engine.get_control(context, 0) & _PAGING
            if value & ~_DEFINED_EFER or (paging and (old ^ value) & _LONG_MODE_ENABLE):
                raise GeneralProtection
            value = value & ~_LONG_MODE_ACTIVE | old & _LONG_MODE_ACTIVE
        engine.set_state(context, _STATE[index], value)
