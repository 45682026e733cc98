"""The conformance cases that need several VTLs or processors and no module of their own."""

from typing import Any

import pytest
from tests.guests.assembly import call, put
from tests.guests.contexts import PROTECTED_MODE, words_of
from tests.guests.hypercalls import Caller, Row
from tests.guests.kit import GuestRun
from tests.guests.layout import DATA, INPUT, OUTPUT
from tests.guests.statuses import PARKED, PARKING_PLACE, debugger_data, packed, parking_place
from tests.guests.vtl import (
    PARTITION_CONFIG,
    enable,
    enable_vp_vtl,
    must_succeed,
    run_vtls,
    set_register,
    vtl_call,
    vtl_return,
)

from hypercall.machine.machine import Machine
from hypercall.partition.nested_formats import NestedFormat

ALL, OWN = -1, 0xFFFFFFFE
VECTOR = 0x47
LIST = INPUT + 0x800
FOREVER = f"returning:\n{vtl_return(1)}\njmp returning"
DENY_LOWER_STARTUP = 1 << 6


def made(control: int, *words: int) -> tuple[str, dict[int, bytes]]:
    """The text of a call that puts its result, and its input."""
    return f"{call(control, LIST, OUTPUT)}\n{put('rax')}", {LIST: packed(words)}


def in_registers(control: int, rdx: int, r8: int) -> str:
    return f"{call(control | 1 << 16, rdx, r8)}\n{put('rax')}"


def from_vtl1(text: str, **rest: Any) -> GuestRun:
    return run_vtls(vtl_call(), f"{text}\n{FOREVER}", **rest)


def from_vtl2(text: str, before: str = "", **rest: Any) -> GuestRun:
    """VTL 2 makes a call while VTL 1 is enabled only if `before` does that, in VTL 0."""
    normal = f"{enable(2, 'secure_2')}\n{before}\n{vtl_call()}"
    return run_vtls(normal, "", f"{text}\n{FOREVER}", enabled=False, **rest)


@pytest.mark.parametrize(
    ("control", "r8", "status"),
    [
        pytest.param(0xE, 0, 5, id="B083"),
        pytest.param(0xE, 1, 0x51, id="B084"),
        pytest.param(0x10, 1, 5, id="B093"),
    ],
)
def test_disabling_from_vtl_1(control: int, r8: int, status: int) -> None:
    assert from_vtl1(in_registers(control, ALL, r8), cpus=2).words(1) == [status]


def test_b068_protections_of_a_vtl_that_is_not_enabled() -> None:
    text, memory = made(0x1_0000_000C, ALL, 0x11_0000_0001, 0x200)
    assert from_vtl2(text, memory=memory).words(1) == [0x51]


def test_b095_disabled_and_enabled_with_another_word_size() -> None:
    """VTL 1 of the other processor, by VTL 2, which has enabled it there as a 64-bit one."""
    text, memory = made(0xF, ALL, 1 | 1 << 32, *words_of(PROTECTED_MODE))
    run = from_vtl2(
        f"""
        {enable_vp_vtl(1, "parked", 1, 1)}
        {must_succeed()}
        {in_registers(0x10, ALL, 1 | 1 << 32)}
        {text}
        """,
        before=f"{call(0x1000D, ALL, 1)}\n{must_succeed()}",
        memory=memory,
        cpus=2,
        functions=PARKED,
    )
    assert run.words(2) == [0, 0]
    assert not run.machine.partition.by_index[1].vtls[1].secure.long_mode


def test_b144_a_higher_vtl_denies_startup() -> None:
    text, memory = made(0x99, ALL, 1, *words_of(rip=PARKING_PLACE))
    denied = run_vtls(
        f"{vtl_call()}\n{text}",
        f"{set_register(PARTITION_CONFIG, 0xF << 1 | DENY_LOWER_STARTUP, own=1)}\n"
        f"{must_succeed()}\n{FOREVER}",
        memory=memory,
        cpus=2,
    )
    assert denied.words(1) == [6]


def test_a103_an_ipi_to_vtl_0_waits_until_it_runs() -> None:
    text, memory = made(0xB, VECTOR | 0x10 << 32, 1)
    run = run_vtls(
        f"mov eax, 0xFEE000F0\nmov dword ptr [rax], 0x1FF\nsti\n{vtl_call()}\nnop\nnop\ncli",
        f"{text}\n{FOREVER}",
        memory=memory,
    )
    assert run.words(1) == [0]
    assert run.interrupts() == {VECTOR: 1}


@pytest.mark.parametrize(("like", "second"), [("hyperv", 0), ("openvmm", 0x15)])
def test_b145_a_processor_that_runs_already(like: str, second: int) -> None:
    words = (ALL, 1, *words_of(rip=PARKING_PLACE))
    caller = Caller(cpus=2, configuration={"like": like}, prepare=parking_place)
    row = Row(0x99, words)
    assert [answer.result for answer in caller.make(row, row).answers] == [0, second]


def test_b008_user_code_cannot_call() -> None:
    assert Caller("user").make(Row(0x10008, input=1, output=0)).only.vector == 6


def test_b016_the_result_of_a_32_bit_caller() -> None:
    """The element at fault is told in bits 43:32, which EDX has."""
    answer = Caller("32").make(Row(0x2_0000_009A, (ALL, 0, 0xDEAD << 32))).only
    assert (answer.registers["rax"], answer.registers["rdx"]) == (5, 1)


def test_b139_a_purge_of_what_came() -> None:
    caller = Caller(prepare=debugger_data)
    row = Row(0x1006B, input=1, output=0)
    assert [answer.result for answer in caller.make(row, row).answers] == [0, 0x1B]


def test_a074_a_nested_guests_flush_is_served_by_this_hypervisor() -> None:
    """Python code stands for the hypervisor in between, which is not asked."""

    def prepare(machine: Machine) -> None:
        nested = machine.partition.nested
        nested.register(DATA | 0x1E, NestedFormat.EPT)
        nested.run(DATA | 0x1E)

    caller = Caller(prepare=prepare, configuration={"privileges": "all"})
    assert caller.make(Row(0x10002, input=0, output=3, xmm=(0, 0))).only.result == 0
