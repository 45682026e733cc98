"""The interrupts of the board's test device, retargeted by guest code."""

from collections.abc import Sequence

import pytest
from tests.guests import assembly
from tests.guests.kit import Guest, GuestRun, run_machine
from tests.guests.layout import INPUT, OUTPUT

from hypercall.machine.devices.msi_test_device import BASE, DEVICE_ID, FIRST_VECTOR

RETARGET = 0x7E
MULTICAST, SET = 1, 2


def out(port: int, value: int) -> str:
    return f"mov edx, {port}\nmov eax, {value}\nout dx, eax"


def put_port(port: int) -> str:
    return f"mov edx, {port}\nin eax, dx\nmov eax, eax\n{assembly.put('rax')}"


def run(words: Sequence[int], control: int = RETARGET, *, cpus: int = 4) -> GuestRun:
    """Choose interrupt 1, send it, retarget it by the words behind the message, send it again."""
    stores = "\n".join(
        f"mov rax, {word % (1 << 64)}\nmov [{INPUT + 32 + 8 * number}], rax"
        for number, word in enumerate(words)
    )
    source = f"""
        {assembly.start_others(cpus - 1) if cpus > 1 else assembly.write_apic(0xF0, 0x1FF)}
        sti
        {out(BASE, 1)}
        {out(BASE + 4, 0)}
        mov qword ptr [{INPUT}], -1
        mov edx, {BASE + 12}
        in eax, dx
        mov eax, eax
        mov [{INPUT + 8}], rax
        mov qword ptr [{INPUT + 16}], 1
        mov edx, {BASE + 4}
        in eax, dx
        mov [{INPUT + 24}], eax
        mov edx, {BASE + 8}
        in eax, dx
        mov [{INPUT + 28}], eax
        {stores}
        {assembly.call(control, INPUT, OUTPUT)}
        {assembly.put("rax")}
        {out(BASE + 4, 0)}
        {assembly.spin("let_them_run", 3_000_000)}
    """
    return run_machine(Guest(source, cpus).machine())


def taken(result: GuestRun, vector: int, cpus: int = 4) -> list[int]:
    return [result.interrupts(slot).get(vector, 0) for slot in range(cpus)]


def test_the_device_tells_who_it_is() -> None:
    machine = Guest(put_port(BASE + 12)).machine()
    assert run_machine(machine).words(1) == [DEVICE_ID]


@pytest.mark.parametrize(
    ("words", "control", "expected"),
    [
        pytest.param((0x70, 0b0100), RETARGET, [0, 0, 1, 0], id="mask"),
        pytest.param((0x70, 0b1110), RETARGET, [0, 1, 0, 0], id="mask-one-of-several"),
        pytest.param((0x70 | MULTICAST << 32, 0b1010), RETARGET, [0, 1, 0, 1], id="multicast"),
        pytest.param(
            (0x70 | (SET | MULTICAST) << 32, 0, 1, 0b1100),
            RETARGET | 2 << 17,
            [0, 0, 1, 1],
            id="set-multicast",
        ),
        pytest.param((0x70 | (SET | MULTICAST) << 32, 1), RETARGET, [1, 1, 1, 1], id="format-all"),
        pytest.param((0x70, 0), RETARGET, [1, 0, 0, 0], id="nobody"),
    ],
)
def test_the_interrupt_goes_where_the_call_says(
    words: Sequence[int], control: int, expected: list[int]
) -> None:
    result = run((0, *words), control)
    assert result.words(1) == [0]
    assert taken(result, FIRST_VECTOR + 1) == [1, 0, 0, 0]
    assert taken(result, 0x70) == expected


@pytest.mark.parametrize("words", [(0, 0x0F, 1), (0, 0x170, 1), (0, 0x70, 0x10), (1, 0x70, 1)])
def test_a_refused_call_changes_nothing(words: Sequence[int]) -> None:
    result = run(words, cpus=1)
    assert result.words(1) == [5]
    assert taken(result, FIRST_VECTOR + 1, 1) == [2]
