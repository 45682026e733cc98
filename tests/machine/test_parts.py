import mmap

import pytest

from hypercall.errors import InputError
from hypercall.machine.configuration import MachineConfiguration
from hypercall.machine.parts import MachineParts
from hypercall.tlfs.calls import Call
from hypercall.tlfs.status import HvStatus
from hypercall.trace.hub import TraceHub


def test_memory_that_the_host_does_not_have(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(mmap, "mmap", refuse)
    with pytest.raises(InputError, match=r"1048576 bytes of memory \(Cannot allocate memory\)"):
        MachineParts(MachineConfiguration(memory=1 << 20), TraceHub())


def test_each_machine_has_handlers_of_its_own() -> None:
    first, second = (
        MachineParts(MachineConfiguration(memory=1 << 20), TraceHub()) for _ in range(2)
    )
    first.handlers[Call.NOTIFY_LONG_SPIN_WAIT] = lambda *_: HvStatus.ACCESS_DENIED
    assert first.handlers != second.handlers


@pytest.mark.parametrize("time", ["virtual", "host"])
def test_whose_time_it_follows(time: str) -> None:
    parts = MachineParts(MachineConfiguration(memory=1 << 20, time=time), TraceHub())
    assert parts.engine.host_time == (time == "host")
