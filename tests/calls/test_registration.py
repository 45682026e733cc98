from types import ModuleType

import pytest

from hypercall.calls import HANDLERS
from hypercall.calls.registration import handlers_of, serves
from hypercall.tlfs.calls import DECLARATIONS, Call
from hypercall.tlfs.status import HvStatus


def module(**members: object) -> ModuleType:
    made = ModuleType("made")
    vars(made).update(members)
    return made


@serves(Call.NOTIFY_LONG_SPIN_WAIT)
def one() -> HvStatus:
    return HvStatus.SUCCESS


@serves(Call.NOTIFY_LONG_SPIN_WAIT)
def two() -> HvStatus:
    return HvStatus.SUCCESS


def test_marked_functions_are_found() -> None:
    assert dict(handlers_of([module(one=one, other=len)])) == {0x0008: one}


def test_two_handlers_of_one_call_are_refused() -> None:
    with pytest.raises(ValueError, match="two handlers serve NOTIFY_LONG_SPIN_WAIT"):
        handlers_of([module(one=one), module(two=two)])


def test_every_handler_serves_a_declared_call_of_its_family() -> None:
    assert set(HANDLERS) <= set(DECLARATIONS.by_code)
    assert set(HANDLERS) >= {
        *(0x0002, 0x0003, 0x0013, 0x0014, 0x0008, 0x000B, 0x0015, 0x0050, 0x0051),
        *(0x005C, 0x005D, 0x0099, 0x009A, 0x8001, 0x8002),
    }
    for handler in HANDLERS.values():
        assert (getattr(handler, "__doc__", None) or "").strip()
