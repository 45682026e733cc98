import pytest

from hypercall.tlfs.layout import Structure
from hypercall.tlfs.messages import (
    MEMORY_INTERCEPT_PAYLOAD,
    MSR_INTERCEPT_PAYLOAD,
    REGISTER_INTERCEPT_PAYLOAD,
    TIMER_EXPIRED_PAYLOAD,
    Message,
    MessageType,
)


def test_header_layout() -> None:
    data = Message(MessageType.TIMER_EXPIRED, b"ab", flags=1, sender=0x1122).pack()
    assert data == bytes.fromhex("10000080 02 01 0000 2211000000000000") + b"ab"


def test_parse_takes_no_more_than_the_payload() -> None:
    slot = Message(5, b"abc", sender=9).pack().ljust(256, b"\xff")
    assert Message.parse(slot) == Message(5, b"abc", 0, 9)
    assert len(Message.parse(bytes(4) + b"\xff" + bytes(251)).payload) == 240


def test_a_payload_has_at_most_240_bytes() -> None:
    assert len(Message(1, bytes(240)).pack()) == 256
    with pytest.raises(ValueError, match="240"):
        Message(1, bytes(241)).pack()


@pytest.mark.parametrize(
    ("payload", "size"),
    [
        (TIMER_EXPIRED_PAYLOAD, 24),
        (MEMORY_INTERCEPT_PAYLOAD, 80),
        (MSR_INTERCEPT_PAYLOAD, 64),
        (REGISTER_INTERCEPT_PAYLOAD, 64),
    ],
)
def test_payload_sizes(payload: Structure, size: int) -> None:
    assert payload.size == size
