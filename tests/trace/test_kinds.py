import pytest

from hypercall.errors import InputError
from hypercall.trace.events import HaltEvent, MsrEvent
from hypercall.trace.hub import ALL_KINDS
from hypercall.trace.kinds import DEFAULT_KINDS, EVENT_NAMES, parse_kinds


def test_every_kind_has_a_name_of_its_own() -> None:
    assert tuple(EVENT_NAMES) == ALL_KINDS
    assert len(set(EVENT_NAMES.values())) == len(ALL_KINDS)


def test_users_name_kinds() -> None:
    assert parse_kinds("calls") == DEFAULT_KINDS
    assert parse_kinds("all") == ALL_KINDS
    assert parse_kinds("msr, halt,msr") == (MsrEvent, HaltEvent)


@pytest.mark.parametrize("text", ["", "msrs", "msr,", "calls,msr"])
def test_what_is_no_kind_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="there is no kind"):
        parse_kinds(text)
