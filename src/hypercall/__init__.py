"""The Microsoft hypervisor's hypercall interface, served to real guest code without Hyper-V.

The names below are the public interface; each is loaded when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hypercall.abi.given_registers import GivenRegisters
    from hypercall.errors import GuestMemoryError, HypercallError, InputError
    from hypercall.machine.configuration import MachineConfiguration
    from hypercall.machine.machine import Machine
    from hypercall.machine.result import RunResult, StopReason
    from hypercall.oracle import Answer, Oracle
    from hypercall.partition.configuration import PartitionConfiguration
    from hypercall.tlfs.calls import Call
    from hypercall.tlfs.readings import ReadingSet
    from hypercall.tlfs.registers import RegisterName
    from hypercall.tlfs.status import HvStatus

__all__ = [
    "Answer",
    "Call",
    "GivenRegisters",
    "GuestMemoryError",
    "HvStatus",
    "HypercallError",
    "InputError",
    "Machine",
    "MachineConfiguration",
    "Oracle",
    "PartitionConfiguration",
    "ReadingSet",
    "RegisterName",
    "RunResult",
    "StopReason",
]

_HOMES = {
    "hypercall.abi.given_registers": ("GivenRegisters",),
    "hypercall.errors": ("GuestMemoryError", "HypercallError", "InputError"),
    "hypercall.machine.configuration": ("MachineConfiguration",),
    "hypercall.machine.machine": ("Machine",),
    "hypercall.machine.result": ("RunResult", "StopReason"),
    "hypercall.oracle": ("Answer", "Oracle"),
    "hypercall.partition.configuration": ("PartitionConfiguration",),
    "hypercall.tlfs.calls": ("Call",),
    "hypercall.tlfs.readings": ("ReadingSet",),
    "hypercall.tlfs.registers": ("RegisterName",),
    "hypercall.tlfs.status": ("HvStatus",),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(home), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
