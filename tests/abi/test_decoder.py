from struct import pack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hypercall.abi.decoder import DecodedCall, decode_call, result_text
from hypercall.abi.record import CallRecord
from hypercall.tlfs.calls import DECLARATIONS

SELF = 2**64 - 1


def words(*values: int) -> bytes:
    return pack(f"<{len(values)}Q", *values)


def decode(
    control: int,
    data: bytes = b"",
    output: bytes = b"",
    result: int | None = None,
    input_register: int = 0x1000,
) -> DecodedCall:
    return decode_call(
        CallRecord(
            vp_index=0,
            vtl=0,
            declaration=DECLARATIONS.by_code.get(control & 0xFFFF),
            control=control,
            fast=bool(control >> 16 & 1),
            input_register=input_register,
            output_register=0x2000,
            input=data,
            output=output,
            result=result,
        )
    )


def arguments(*parts: int | bytes) -> dict[str, str]:
    decoded = decode(*parts)  # type: ignore[arg-type]
    return {each.name: each.text for each in decoded.arguments}


CASES = [
    pytest.param(
        0x02,
        words(0x1000, 3, 0xF | 1 << 63),
        {
            "address_space": "0x1000",
            "flags": "ALL_PROCESSORS|ALL_VIRTUAL_ADDRESS_SPACES",
            "processor_mask": "{0-3,63}",
        },
        id="A062",
    ),
    pytest.param(
        0x0000000100020014,
        words(0, 2, 0, 2, 2, 0x7F0000001002),
        {
            "address_space": "0x0",
            "flags": "ALL_VIRTUAL_ADDRESS_SPACES",
            "processors": "{65}",
            "gva_ranges": "[0x7f0000001000+3 pages]",
        },
        id="A067",
    ),
    pytest.param(
        0x0000000100000014,
        words(0, 2, 1, 0, 0x1000),
        {
            "address_space": "0x0",
            "flags": "ALL_VIRTUAL_ADDRESS_SPACES",
            "processors": "all",
            "gva_ranges": "[0x1000+1 page]",
        },
        id="A068",
    ),
    pytest.param(
        0x40015,
        words(0xFE, 0, 3, 4, 2),
        {"vector": "0xfe", "target_vtl": "own", "processors": "{2,65}"},
        id="A057",
    ),
    pytest.param(
        0x13,
        words(0, 2, 0, 1, 1),
        {
            "address_space": "0x0",
            "flags": "ALL_VIRTUAL_ADDRESS_SPACES",
            "format": "0x0",
            "valid_banks_mask": "0x1",
            "banks": "[]",
        },
        id="B106",
    ),
    pytest.param(
        0x1000B,
        words(0x1000000FE, 1),
        {"vector": "0xfe", "target_vtl": "own", "processor_mask": "{0}"},
        id="B063",
    ),
    pytest.param(
        0x100000003,
        words(0, 0xB, 0, 0x400800),
        {
            "address_space": "0x0",
            "flags": "ALL_PROCESSORS|ALL_VIRTUAL_ADDRESS_SPACES|USE_EXTENDED_RANGE_FORMAT",
            "processor_mask": "{}",
            "gva_ranges": "[0x400000+512 pages]",
        },
        id="B045",
    ),
    pytest.param(
        0x5C,
        pack("<IIII240s", 4, 0, 1, 3, b"abcdef"),
        {
            "connection_id": "0x4",
            "message_type": "0x1",
            "payload_size": "3",
            "payload": "616263",
        },
        id="post-message",
    ),
    pytest.param(
        0x0001000200000051,
        words(SELF, 0xFFFFFFFE)
        + pack("<I12xQQ", 0x20000, 5, 0)
        + pack("<I12xQQ", 0x60001, 0, 0xA09B0010FFFFFFFF),
        {
            "partition_id": "SELF",
            "vp_index": "SELF",
            "input_vtl": "own",
            "rep_start": "1",
            "register_names": "[RAX=0x5, CS={base=0x0 limit=0xffffffff selector=0x10"
            " attributes=0xa09b}]",
        },
        id="set-registers",
    ),
    pytest.param(
        0x1000D,
        words(SELF, 1 | 1 << 8),
        {"partition_id": "SELF", "target_vtl": "VTL1", "flags": "ENABLE_MBEC"},
        id="A085",
    ),
    pytest.param(
        0x52,
        words(SELF, 0xFFFFFFFE, 0x13 | 0x10 << 56, 0xFFFFFFFF80000),
        {
            "partition_id": "SELF",
            "vp_index": "SELF",
            "control_flags": "VALIDATE_READ|VALIDATE_WRITE|SET_PAGE_TABLE_BITS",
            "input_vtl": "VTL0",
            "gva_page": "0xffffffff80000000",
        },
        id="translate",
    ),
    pytest.param(
        0x69,
        pack("<II", 3, 1) + b"abc",
        {"count": "3", "options": "LOOP", "data": "616263"},
        id="post-debug-data",
    ),
    pytest.param(
        0x2007E - 0x20000 + (2 << 17),
        words(SELF, 5, 1, 0xFEE00000 | 0x40 << 32, 0, 0x30 | 2 << 32, 0, 1, 3),
        {
            "partition_id": "SELF",
            "device_id": "0x5",
            "interrupt_source": "MSI",
            "message_address": "0xfee00000",
            "message_data": "0x40",
            "vector": "0x30",
            "target_flags": "PROCESSOR_SET",
            "processors": "{0-1}",
        },
        id="retarget",
    ),
    pytest.param(0x03, words(7), {"address_space": "0x7", "truncated": "8 bytes"}, id="truncated"),
    pytest.param(0xBEEF, b"", {"input": "0x1000", "output": "0x2000"}, id="A017"),
    pytest.param(0x5C, b"", {"input_gpa": "0x1000"}, id="not-read"),
    pytest.param(0x8001, b"", {"output_gpa": "0x2000"}, id="no-input"),
    pytest.param(0x18001, b"", {}, id="no-input-fast"),
    pytest.param(0x11, b"", {}, id="vtl-call"),
]


@pytest.mark.parametrize(("control", "data", "expected"), CASES)
def test_arguments(control: int, data: bytes, expected: dict[str, str]) -> None:
    assert arguments(control, data) == expected


def test_long_lists_are_shortened_in_the_text_and_whole_in_the_value() -> None:
    decoded = decode(0x3 | 100 << 32, words(0, 3, 0, *range(0x1000, 0x1000 * 101, 0x1000)))
    elements = decoded.arguments[-1]
    assert elements.text.endswith("0x10000+1 page, and 84 more]")
    assert len(elements.value) == 100


def test_outputs_of_register_reads_have_the_names_from_the_rep_start_on() -> None:
    data = words(SELF, 0) + pack("<III", 0x20000, 0x90003, 0x70001)
    output = words(3, 0) + pack("<6xHQ", 0x7F, 0x302000)
    decoded = decode(0x0001000300000050, data, output)
    assert decoded.outputs[0].text == "[VP_INDEX=0x3, GDTR={base=0x302000 limit=0x7f}]"


def test_outputs() -> None:
    capabilities = decode(0x8001, output=words(0xB), result=0)
    assert capabilities.outputs[0].text == (
        "GET_BOOT_ZEROED_MEMORY|MEMORY_HEAT_HINT|SCHEDULER_ASSIST_SETUP"
    )
    zeroed = decode(0x8002, output=words(2, 0, 16, 0x100, 1).ljust(4088, b"\0"), result=0)
    assert [each.text for each in zeroed.outputs] == ["2", "[0x0+16 pages, 0x100000+1 page]"]
    indexes = decode(0x10000009A, words(SELF, 0) + b"\4\0\0\0", b"\2\0\0\0", 1 << 32)
    assert indexes.outputs[0].text == "[2]"
    retrieved = decode(0x6A, words(8, 0), pack("<II", 3, 0) + b"abc", 0)
    assert [each.text for each in retrieved.outputs] == ["3", "0", "616263"]


def test_results() -> None:
    assert result_text(0) == "SUCCESS"
    assert result_text(0x1B00000005) == "INVALID_PARAMETER, 27 reps"
    assert result_text(1 << 32) == "SUCCESS, 1 rep"
    assert result_text(3, DECLARATIONS.find(0x03)) == "INVALID_HYPERCALL_INPUT, 0 reps"
    assert result_text(0x9999) == "status 0x9999"
    decoded = decode(0x100000003, result=1 << 32)
    assert (decoded.status, decoded.reps_completed) == (0, 1)
    assert decode(0x02).status is None
    assert decode(0x02).status_text == ""


@given(
    control=st.integers(0, 2**64 - 1)
    | st.builds(
        lambda code, upper: code | upper << 16,
        st.sampled_from([each.code for each in DECLARATIONS]),
        st.integers(0, 2**48 - 1),
    ),
    data=st.binary(max_size=300),
    output=st.binary(max_size=100),
    result=st.none() | st.integers(0, 2**64 - 1),
)
@settings(max_examples=500, deadline=None)
def test_everything_can_be_shown(
    control: int, data: bytes, output: bytes, result: int | None
) -> None:
    decoded = decode(control, data, output, result)
    assert decoded.name
    assert all(isinstance(each.text, str) for each in (*decoded.arguments, *decoded.outputs))


def test_a_variable_header_that_is_cut_off() -> None:
    decoded = decode(0x13 | 2 << 17, words(0x1000, 2, 0, 3, 0xF))
    shown = {each.name: each.text for each in decoded.arguments}
    assert shown["banks"] == "[0xf]"
    assert shown["truncated"] == "40 bytes"
    decoded = decode(0x14 | 2 << 17 | 1 << 32, words(0x1000, 2, 0, 3))
    shown = {each.name: each.text for each in decoded.arguments}
    assert "banks" not in shown
    assert "gva_ranges" not in shown
