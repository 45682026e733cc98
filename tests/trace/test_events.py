from typing import get_args

from hypercall.trace import events
from hypercall.trace.hub import ALL_KINDS


def test_every_event_class_is_an_event_and_can_be_subscribed_to() -> None:
    classes = {
        value
        for name, value in vars(events).items()
        if name.endswith("Event") and isinstance(value, type)
    }
    assert classes == set(get_args(events.Event)) == set(ALL_KINDS)


def test_every_event_starts_with_its_position_and_is_small() -> None:
    for kind in ALL_KINDS:
        assert next(iter(kind.__dataclass_fields__)) == "position"
        assert "__dict__" not in dir(kind)
