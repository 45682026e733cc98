import pytest
from tests.guests.assembly import write_apic
from tests.guests.kit import Guest

from hypercall.machine.machine import Machine

IO_APIC = 0xFEC00000
# The timer at 1.19 MHz: channel 0, both bytes, one shot, about 0.1 ms.
TIMER = "mov al, 0x30\nout 0x43, al\nmov al, 119\nout 0x40, al\nmov al, 0\nout 0x40, al"
# The pair's first interrupts at vector 0x20 and 0x28, all but line 0 masked.
PAIR = "\n".join(
    f"mov al, {value}\nout {port}, al"
    for port, value in (
        *((0x20, 0x11), (0x21, 0x20), (0x21, 4), (0x21, 1)),
        *((0xA0, 0x11), (0xA1, 0x28), (0xA1, 2), (0xA1, 1), (0x21, 0xFE), (0xA1, 0xFF)),
    )
)


def redirect(pin: int, value: int) -> str:
    return (
        f"mov ebx, {IO_APIC}\nmov dword ptr [rbx], {0x10 + 2 * pin}\n"
        f"mov dword ptr [rbx + 0x10], {value}\nmov dword ptr [rbx], {0x11 + 2 * pin}\n"
        "mov dword ptr [rbx + 0x10], 0"
    )


def interrupts(text: str) -> dict[int, int]:
    machine = Guest(f"{text}\nsti\nhlt\ncli").machine()
    machine.run(50_000_000)
    return counts(machine)


def counts(machine: Machine) -> dict[int, int]:
    memory = machine.partition.memory
    words = {vector: memory.read_u64(0x120000 + 8 * vector) for vector in range(256)}
    return {vector: count for vector, count in words.items() if count}


def test_the_timer_by_the_8259a_pair() -> None:
    external = write_apic(0xF0, 0x1FF) + "\n" + write_apic(0x350, 0x700)
    assert interrupts(f"{PAIR}\n{external}\n{TIMER}") == {0x20: 1}


def test_the_pair_reaches_who_leaves_the_local_apic_alone() -> None:
    assert interrupts(f"{PAIR}\n{TIMER}") == {0x20: 1}


def test_a_masked_lint0_keeps_the_pair_out() -> None:
    external = write_apic(0xF0, 0x1FF) + "\n" + write_apic(0x350, 0x10700)
    assert interrupts(f"{PAIR}\n{external}\n{TIMER}") == {}


@pytest.mark.parametrize("masked", [0, 0x10000])
def test_the_timer_by_the_io_apic(masked: int) -> None:
    text = f"{write_apic(0xF0, 0x1FF)}\n{redirect(2, 0x61 | masked)}\n{TIMER}"
    assert interrupts(text) == ({} if masked else {0x61: 1})


def test_an_access_to_a_device_is_made_by_the_running_processor() -> None:
    machine = Guest("mov eax, 0xFEE00020\nmov eax, [rax]\nmov [0x1E0000], eax", 2).machine()
    machine.run(50_000_000)
    assert machine.partition.memory.read_u32(0x1E0000) == 0


def test_ports_without_a_device_read_as_ones() -> None:
    machine = Guest("mov dx, 0x1234\nin eax, dx\nmov [0x1E0000], eax").machine()
    machine.run(50_000_000)
    assert machine.partition.memory.read_u32(0x1E0000) == 0xFFFFFFFF
