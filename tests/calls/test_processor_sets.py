import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercall.calls.processor_sets import read_set
from hypercall.tlfs.readings import ReadingSet
from hypercall.tlfs.status import HvStatus
from hypercall.tlfs.vp_set import pack_sparse

HYPERV = ReadingSet.named("hyperv")
EVERYONE = 0b1111


def test_the_example_of_the_specification() -> None:
    banks = struct.pack("<2Q", 0x21, 0x4)
    status, mask = read_set(HYPERV, EVERYONE, 0, 0x5, banks)
    assert status is HvStatus.SUCCESS
    assert mask == 1 << 0 | 1 << 5 | 1 << 130


@given(st.sets(st.integers(0, 4095), max_size=40))
def test_any_sparse_set(indexes: set[int]) -> None:
    valid, banks = pack_sparse(sorted(indexes))
    assert read_set(HYPERV, EVERYONE, 0, valid, banks) == (
        HvStatus.SUCCESS,
        sum(1 << index for index in indexes),
    )


@pytest.mark.parametrize(
    ("name", "format", "valid", "banks", "expected"),
    [
        ("hyperv", 1, 0, 0, (HvStatus.SUCCESS, EVERYONE)),
        ("kvm", 1, 0, 0, (HvStatus.SUCCESS, EVERYONE)),
        ("xen", 1, 0, 0, (HvStatus.SUCCESS, EVERYONE)),
        ("openvmm", 1, 0, 0, (HvStatus.INVALID_PARAMETER, 0)),
        ("hyperv", 2, 1, 1, (HvStatus.INVALID_PARAMETER, 0)),
        ("kvm", 2, 1, 1, (HvStatus.SUCCESS, EVERYONE)),
        ("xen", 2, 1, 1, (HvStatus.INVALID_PARAMETER, 0)),
        ("openvmm", 2, 1, 1, (HvStatus.INVALID_PARAMETER, 0)),
        ("hyperv", 1, 1, 0, (HvStatus.SUCCESS, EVERYONE)),
        ("kvm", 1, 1, 0, (HvStatus.INVALID_HYPERCALL_INPUT, 0)),
        ("hyperv", 0, 1, 0, (HvStatus.INVALID_PARAMETER, 0)),
        ("kvm", 0, 1, 0, (HvStatus.INVALID_HYPERCALL_INPUT, 0)),
        ("openvmm", 0, 1, 0, (HvStatus.INVALID_PARAMETER, 0)),
        ("xen", 0, 1, 0, (HvStatus.SUCCESS, 0)),
        ("xen", 0, 1, 2, (HvStatus.SUCCESS, 3)),
    ],
)
def test_readings_of_formats_and_mismatches(
    name: str, format: int, valid: int, banks: int, expected: tuple[HvStatus, int]
) -> None:
    data = struct.pack(f"<{banks}Q", *[3] * banks)
    assert read_set(ReadingSet.named(name), EVERYONE, format, valid, data) == expected
