import pytest
from hypothesis import given
from hypothesis import strategies as st

from hypercall.tlfs.calls import DECLARATIONS
from hypercall.tlfs.initial_context import (
    INITIAL_CONTEXT_SIZE,
    InitialVpContext,
    SegmentRegister,
    TableRegister,
)

U64 = st.integers(0, 2**64 - 1)
SEGMENTS = st.builds(
    SegmentRegister, U64, st.integers(0, 2**32 - 1), st.integers(0, 65535), st.integers(0, 65535)
)
TABLES = st.builds(TableRegister, st.integers(0, 65535), U64)


@given(st.builds(InitialVpContext, U64, U64, U64, *[SEGMENTS] * 8, TABLES, TABLES, *[U64] * 5))
def test_round_trip(context: InitialVpContext) -> None:
    data = context.pack()
    assert len(data) == INITIAL_CONTEXT_SIZE
    assert InitialVpContext.parse(data) == context


@pytest.mark.parametrize("code", [0x0F, 0x99])
def test_the_calls_header_gives_the_same_context(code: int) -> None:
    context = InitialVpContext(
        rip=0x100000,
        cs=SegmentRegister(0, 0xFFFFFFFF, 0x10, 0xA09B),
        gdtr=TableRegister(0x7F, 0x302000),
        pat=0x0007040600070406,
    )
    values = DECLARATIONS.by_code[code].header.unpack(bytes(16) + context.pack())
    assert InitialVpContext.from_fields(*values[3:]) == context


def test_idtr_precedes_gdtr() -> None:
    data = InitialVpContext(idtr=TableRegister(0xFFF, 0x301000)).pack()
    assert data[152:168] == bytes(6) + b"\xff\x0f" + (0x301000).to_bytes(8, "little")
