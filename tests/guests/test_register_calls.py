"""HvCallGetVpRegisters and HvCallSetVpRegisters from guest code, on oneself and on another."""

import struct

import pytest
from tests.guests.assembly import KEPT, let_others_run, start_others
from tests.guests.hypercalls import Caller, Row
from tests.guests.layout import AP_MAIN, HYPERCALL_PAGE, IDENTITY_TABLES, IDT, INPUT, SHARED

from hypercall.tlfs.registers import RegisterName

SELF = 0xFFFFFFFE


def names(*registers: RegisterName) -> list[int]:
    data = struct.pack(f"<{len(registers)}I", *registers)
    return list(struct.unpack(f"<{(len(registers) + 1) // 2}Q", data.ljust(-(-len(data) // 8) * 8)))


def read(*registers: RegisterName, vp_index: int = SELF) -> Row:
    return Row(len(registers) << 32 | 0x50, (-1, vp_index, *names(*registers)))


def write(register: RegisterName, value: int, vp_index: int = SELF) -> Row:
    words = (-1, vp_index, register, 0, value % (1 << 64), value >> 64)
    return Row(1 << 32 | 0x51, words, input=INPUT + 0x1000)


R = RegisterName


def test_the_callers_own_registers() -> None:
    registers = (R.RBX, R.RSI, R.RCX, R.RIP, R.CR3, R.IDTR, R.VP_INDEX)
    calls = Caller().make(read(*registers))
    assert calls.only.result == len(registers) << 32
    values = calls.output(2 * len(registers))
    assert values[0:6:2] == [KEPT["rbx"], KEPT["rsi"], len(registers) << 32 | 0x50]
    assert values[6] == HYPERCALL_PAGE
    assert values[8] == IDENTITY_TABLES
    assert values[10:12] == [0xFFF << 48, IDT]
    assert values[12:14] == [0, 0]


def test_a_32_bit_caller_reads_registers() -> None:
    calls = Caller("32").make(read(R.CR3, R.RSI))
    assert calls.only.result == 2 << 32
    assert calls.output(4) == [IDENTITY_TABLES, 0, 0x220000, 0]


@pytest.mark.parametrize("mode", ["64", "32"])
def test_a_register_written_is_there_when_the_call_returns(mode: str) -> None:
    calls = Caller(mode).make(write(R.RBX, 0x5A5A))
    assert calls.only.result == 1 << 32
    assert calls.only.registers["rbx"] == 0x5A5A


def test_xmm_and_flags() -> None:
    answer = Caller().make(write(R.XMM3, 0xABCD << 64 | 0x1234)).only
    assert struct.unpack_from("<2Q", answer.xmm, 48) == (0x1234, 0xABCD)
    answer = Caller().make(write(R.RFLAGS, 0x403)).only
    assert answer.flags & 0x401 == 0x401


def test_register_form() -> None:
    # One name; the value goes to the register pair behind the input.
    row = Row(0x1_0001_0050, input=2**64 - 1, output=SELF, xmm=(R.CR3, 0))
    answer = Caller().make(row).only
    assert answer.result == 1 << 32
    assert struct.unpack_from("<2Q", answer.xmm, 16) == (IDENTITY_TABLES, 0)
    row = Row(0x1_0001_0051, input=2**64 - 1, output=SELF, xmm=(R.RSI, 0, 0x77, 0))
    answer = Caller().make(row).only
    assert answer.result == 1 << 32
    assert answer.registers["rsi"] == 0x77


def test_registers_of_a_processor_that_runs_elsewhere() -> None:
    spinning = f"spinning:\ncmp r12, 0x99\njne spinning\nmov dword ptr [{SHARED}], 1\nret"
    caller = Caller(
        before=f"mov qword ptr [{AP_MAIN}], application\n{start_others(1)}\n"
        f"{let_others_run('ready')}",
        after=f"{let_others_run('settle')}\nret\napplication:\nmov r12, 0x1111\n{spinning}",
        cpus=2,
    )
    calls = caller.make(read(R.R12, vp_index=1), write(R.R12, 0x99, vp_index=1))
    assert [answer.reps for answer in calls.answers] == [1, 1]
    assert calls.run.memory_words(SHARED, 1) == [1]


@pytest.mark.parametrize(
    ("register", "value", "status"),
    [
        (R.CR0, 0x8000_0000, 0x50),
        (R.RFLAGS, 0, 0x50),
        (R.EFER, 1 << 40, 0x50),
        (R.VP_INDEX, 3, 5),
        (0xFFFF, 0, 5),
    ],
    ids=["cr0", "rflags", "efer", "read-only", "unknown"],
)
def test_values_that_a_register_cannot_have(
    register: RegisterName, value: int, status: int
) -> None:
    answer = Caller().make(write(register, value)).only
    assert (answer.status, answer.reps) == (status, 0)


def test_the_list_ends_at_the_first_unknown_register() -> None:
    row = Row(3 << 32 | 0x50, (-1, SELF, R.CR3 | 0xFFFF << 32, R.CR3))
    calls = Caller().make(row)
    assert (calls.only.status, calls.only.reps) == (5, 1)
    assert calls.output(3) == [IDENTITY_TABLES, 0, 0]
    assert calls.run.memory_words(INPUT, 1) == [2**64 - 1]


def test_every_register_can_be_asked_for() -> None:
    """Whatever it is, the call answers: with the value, or that there is no such register."""
    rows = [
        Row(1 << 32 | 0x50, (-1, SELF, name), input=INPUT + 64 * number)
        for number, name in enumerate(RegisterName)
        if name is not R.GUEST_IDLE  # The processor rests when it is read.
    ]
    answers = Caller().make(*rows).answers
    assert {answer.status for answer in answers} <= {0, 5, 6}
    assert sum(answer.reps for answer in answers) > 60


@pytest.mark.parametrize("value", [0, 2**64 - 1])
def test_every_register_can_be_written(value: int) -> None:
    """One guest for each, for what it writes may well be its end."""
    for name in RegisterName:
        text = Caller().guest(write(name, value))
        text.machine().run(1_000_000)
