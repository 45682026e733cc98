import pytest

from hypercall.tlfs.status import HvStatus, status_text


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (0x05, "INVALID_PARAMETER"),
        (0x13, "INSUFFICIENT_BUFFERS"),
        (0x33, "INSUFFICIENT_BUFFER"),
        (0x51, "INVALID_VTL_STATE"),
        (0x78, "TIMEOUT"),
        (0x86, "VTL_ALREADY_ENABLED"),
    ],
)
def test_names(value: int, name: str) -> None:
    assert status_text(value) == name
    assert HvStatus(value).name == name


def test_a_value_without_name() -> None:
    assert status_text(0x9999) == "status 0x9999"
