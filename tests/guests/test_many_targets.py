"""Calls whose targets are 64 processors: they cost the guest less than 64 with one target each."""

import pytest
from tests.guests.assembly import call, put, start_others
from tests.guests.kit import GuestRun, run_guest
from tests.guests.layout import AP_MAIN, COUNT_SIZE, COUNTS, INPUT
from tests.guests.vtl import store

CPUS = 64
ALL = (1 << CPUS) - 1
ONE = 1 << 1
IPI, FLUSH, FLUSH_LIST = 0xB, 0x2, 0x3
FIRST_VECTOR = 0x40

READ_TIME = "rdtsc\nshl rdx, 32\nmov eax, eax\nor rax, rdx"


def timed(text: str) -> str:
    """Put the virtual time that text takes into the results."""
    return f"""
        {READ_TIME}
        mov r12, rax
        {text}
        {READ_TIME}
        sub rax, r12
        {put("rax")}
    """


def run(text: str) -> GuestRun:
    return run_guest(f"mov qword ptr [{AP_MAIN}], 0\n{start_others(CPUS - 1)}\n{text}", cpus=CPUS)


def ipi(vector: int, mask: int) -> str:
    return f"{store(INPUT, vector)}\n{store(INPUT + 8, mask)}\n{call(IPI, INPUT)}"


def wait_for(label: str, slots: range, vector: int) -> str:
    """Spin until all processors of some APIC ids have taken an interrupt."""
    first = COUNTS + slots.start * COUNT_SIZE + 8 * vector
    return f"""
        mov ebx, {first}
        mov r13d, {len(slots)}
    {label}:
        pause
        cmp qword ptr [rbx], 0
        je {label}
        add ebx, {COUNT_SIZE}
        sub r13d, 1
        jnz {label}
    """


def test_an_ipi_to_all_until_the_last_has_taken_it() -> None:
    one, everyone = FIRST_VECTOR, FIRST_VECTOR + 16
    guest = run(
        f"""
        {timed(ipi(one, ONE) + wait_for("one_of_them", range(1, 2), one))}
        {timed(ipi(everyone, ALL - 1) + wait_for("all_of_them", range(1, CPUS), everyone))}
        """
    )
    for_one, for_all = guest.words(2)
    assert for_one < for_all < CPUS * for_one
    for slot in range(1, CPUS):
        assert guest.interrupts(slot) == ({one: 1} if slot == 1 else {}) | {everyone: 1}
    assert guest.result.exits["hypercalls"] == 2


@pytest.mark.parametrize(("control", "reps"), [(FLUSH, 0), (FLUSH_LIST, 1), (FLUSH_LIST, 100)])
def test_a_flush_of_all_is_one_call_that_takes_no_longer(control: int, reps: int) -> None:
    ranges = "\n".join(store(INPUT + 24 + 8 * n, 0x400000 + 0x1000 * n) for n in range(reps))
    word = control | reps << 32
    guest = run(
        f"""
        {store(INPUT, 0)}
        {store(INPUT + 8, 2)}
        {ranges}
        {store(INPUT + 16, ONE)}
        {timed(call(word, INPUT))}
        {store(INPUT + 16, ALL)}
        {timed(call(word, INPUT))}
        """
    )
    for_one, for_all = guest.words(2)
    assert for_all <= for_one
    assert guest.result.exits["hypercalls"] == 2
