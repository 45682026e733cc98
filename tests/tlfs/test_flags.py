from hypercall.tlfs.call_flags import FlushFlags
from hypercall.tlfs.privileges import Privilege


def test_names_of_bits_and_the_rest_in_hexadecimal() -> None:
    assert FlushFlags.text(0) == "0"
    assert FlushFlags.text(0x5) == "ALL_PROCESSORS|NON_GLOBAL_MAPPINGS_ONLY"
    assert FlushFlags.text(0x21) == "ALL_PROCESSORS|0x20"
    assert FlushFlags.text(1 << 63) == "0x8000000000000000"


def test_defined_mask() -> None:
    assert FlushFlags.defined_mask() == 0x31F
    assert int(FlushFlags.all()) == 0x31F


def test_bits_without_name_are_kept() -> None:
    assert int(FlushFlags(0x21)) == 0x21
    assert int(Privilege(1 << 63)) == 1 << 63
