"""A guest to be debugged, with places in it that tests want to stop at."""

from tests.guests import assembly
from tests.guests.kit import Guest, assemble
from tests.guests.layout import AP_MAIN

from hypercall.machine.machine import Machine

COUNTER = 0x90_0000
"""What ``tick`` counts, 4 bytes."""
TICK = 0x91_0000
"""``tick``: adds 1 to the counter; instructions of 5, 4, 3 and 1 bytes."""
TICK_CODE = f"mov ecx, {COUNTER}\nlock add dword ptr [rcx], 1\nnop dword ptr [rax]\nret"
TICKS = 8


def source(cpus: int) -> str:
    """Each processor calls ``tick`` eight times; the first one then ends the run."""
    others = (
        f"mov qword ptr [{AP_MAIN}], other\n{assembly.start_others(cpus - 1)}" if cpus > 1 else ""
    )
    return f"""
        {others}
        mov ebx, {TICKS}
    first_loop:
        mov eax, {TICK}
        call rax
        {assembly.call(0x10008, 0x100, 0)}
        sub ebx, 1
        jnz first_loop
        {assembly.wait_until("wait_for_ticks", COUNTER, TICKS * cpus)}
        {assembly.leave()}
    other:
        mov ebx, {TICKS}
    other_loop:
        mov eax, {TICK}
        call rax
        pause
        sub ebx, 1
        jnz other_loop
        cli
        hlt
    """


def make_machine(cpus: int = 1) -> Machine:
    """A machine with the guest loaded."""
    return Guest(source(cpus), cpus=cpus, memory={TICK: assemble(TICK_CODE, TICK)}).machine()
