import pytest

from hypercall.machine import aml


@pytest.mark.parametrize(
    ("path", "encoded"),
    [
        ("\\", b"\\\0"),
        ("_S5", b"_S5_"),
        ("\\_SB", b"\\_SB_"),
        ("\\_SB.VMB0", b"\\\x2e_SB_VMB0"),
        ("\\_SB.A.B", b"\\\x2f\x03_SB_A___B___"),
    ],
)
def test_paths(path: str, encoded: bytes) -> None:
    assert aml.name_string(path) == encoded


def test_a_long_segment_is_refused() -> None:
    with pytest.raises(ValueError, match="more than four"):
        aml.name_string("VMBUS")


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (0, "00"),
        (1, "01"),
        (5, "0a05"),
        (0x1234, "0b3412"),
        (0x12345678, "0c78563412"),
        (0x123456789A, "0e9a78563412000000"),
    ],
)
def test_integers(value: int, encoded: str) -> None:
    assert aml.integer(value).hex() == encoded


def test_eisa_identifiers_are_compressed() -> None:
    # The value that every DSDT has for a 16550.
    assert aml.eisa_id("PNP0501") == bytes.fromhex("0c41d00501")


@pytest.mark.parametrize(
    ("length", "prefix"),
    [(61, "3f"), (62, "4104"), (0xFFC, "4fff"), (0xFFD, "810001"), (0x10000, "840010")],
)
def test_package_lengths_count_themselves(length: int, prefix: str) -> None:
    # A scope's name takes two bytes of the length here.
    body = aml.scope("\\", bytes(length - 1))
    encoded = bytes.fromhex(prefix)
    assert body[1 : 1 + len(encoded)] == encoded
    assert len(body) == 1 + len(encoded) + 2 + length - 1


def test_a_term_that_is_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="too long"):
        aml.scope("\\", bytes(1 << 28))


def test_resources() -> None:
    template = aml.resource_template(aml.io_resource(0x3F8, 8), aml.irq_resource(4))
    assert template == bytes.fromhex("1110 0a0d 4701f803f8030108 221000 7900")


def test_a_range_of_memory() -> None:
    assert aml.memory_resource(0xF800_0000, 0x0400_0000) == bytes.fromhex(
        "871700 000c01 00000000 000000f8 fffffffb 00000000 00000004"
    )
