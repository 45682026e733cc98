import pytest

from hypercall.errors import InputError
from hypercall.gdb.numbers import address_range, hex_bytes, hex_number, thread_number


def test_numbers_and_ranges() -> None:
    assert hex_number(b"0") == 0
    assert hex_number(b"fFfFffffffffffff") == (1 << 64) - 1
    assert hex_bytes(b"00ffA5") == b"\x00\xff\xa5"
    assert hex_bytes(b"") == b""
    assert address_range(b"1000,20") == (0x1000, 0x20)
    assert address_range(b"ffffffffffffffff,1") == ((1 << 64) - 1, 1)


@pytest.mark.parametrize(
    "text", [b"", b"-1", b"+1", b" 1", b"1 ", b"0x1", b"1_0", b"g", b"1" * 17, "\u0661".encode()]
)
def test_what_is_no_number_is_refused(text: bytes) -> None:
    with pytest.raises(InputError, match="no hexadecimal number"):
        hex_number(text)


@pytest.mark.parametrize("text", [b"0", b"0g", b"0x", b"  ", b"+1"])
def test_what_are_no_bytes_is_refused(text: bytes) -> None:
    with pytest.raises(InputError, match="hexadecimal digits"):
        hex_bytes(text)


@pytest.mark.parametrize("text", [b"1000", b"1000,", b",4", b"ffffffffffffffff,2", b"1,2,3"])
def test_what_is_no_range_is_refused(text: bytes) -> None:
    with pytest.raises(InputError):
        address_range(text)


def test_threads() -> None:
    assert thread_number(b"-1") == -1
    assert thread_number(b"0") == 0
    assert thread_number(b"1a") == 26
    assert thread_number(b"p1.2") == 2
    assert thread_number(b"p1") == -1
    assert thread_number(b"p1.-1") == -1
    with pytest.raises(InputError):
        thread_number(b"-2")
