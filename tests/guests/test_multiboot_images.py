"""Multiboot images that use the hypervisor on 1 to 4 processors, as small test kernels do.

They count processors by fw_cfg, start them with INIT and start-up messages, use the SynIC device
at port 0x3000 and end with their result at port 0xF4.
"""

import struct

import pytest
from tests.guests.assembly import (
    back_to_64,
    call,
    compatibility_mode,
    leave,
    put,
    wait_until,
    write_apic,
    write_msr,
)
from tests.guests.kit import Guest, assemble
from tests.guests.layout import (
    AP_MAIN,
    COUNT_SIZE,
    COUNTS,
    EVENTS,
    HYPERCALL_PAGE,
    IDENTITY_TABLES,
    INPUT,
    MESSAGES,
    OUTPUT,
    SHARED,
    STARTED,
)
from tests.guests.multiboot import ENTRY, image_of, run_image, run_multiboot
from tests.guests.vtl import (
    begin_vtl,
    enable_vp_vtl,
    must_succeed,
    vtl_call,
    vtl_guest,
    vtl_return,
)

from hypercall.machine.result import StopReason
from hypercall.tlfs.registers import RegisterName

CPUS = pytest.mark.parametrize("cpus", [1, 2, 3, 4])
MESSAGE_SINT, EVENT_SINT = 2, 3
MESSAGE_VECTOR, EVENT_VECTOR, IPI_VECTOR = 0x71, 0x73, 0x61
CREATE_ROUTE, SET_SINT, CREATE_MESSAGES, CREATE_EVENTS = 1, 3, 4, 6

COUNT_PROCESSORS = """
    mov dx, 0x510
    mov ax, 5
    out dx, ax
    inc dx
    in al, dx
    movzx ebx, al
    in al, dx
    mov bh, al
"""
"""The number of processors by fw_cfg, into EBX."""

START_ALL = f"""
    {COUNT_PROCESSORS}
    {write_apic(0xF0, 0x1FF)}
    {write_apic(0x300, 0xC4500)}
    {write_apic(0x300, 0xC4608)}
    lea ecx, [rbx - 1]
waiting_for_all:
    pause
    cmp [{STARTED}], ecx
    jne waiting_for_all
"""
"""Start as many processors as there are; their number stays in EBX."""


def others_execute(label: str) -> str:
    return f"lea rax, [rip + {label}]\nmov [{AP_MAIN}], rax"


def wait_for_interrupts(name: str, slot: int, vector: int, count: int) -> str:
    return wait_until(f"{name}_{slot}", COUNTS + slot * COUNT_SIZE + 8 * vector, count)


@CPUS
def test_as_many_processors_start_as_fw_cfg_tells(cpus: int) -> None:
    guest = Guest(
        f"""
        {others_execute("other")}
        {START_ALL}
        mov eax, ebx
        out 0xF4, eax
        hlt
    other:
        mov ecx, 0x40000002
        rdmsr
        {put("rax")}
        """,
        cpus,
    )
    run = run_multiboot(guest)
    assert (run.result.reason, run.result.exit_code) == (StopReason.DEBUG_EXIT, cpus)
    assert [run.words(1, slot)[0] for slot in range(1, cpus)] == list(range(1, cpus))


@CPUS
def test_sints_messages_and_events_reach_each_processor(cpus: int) -> None:
    def device(command: int, vp_index: int, sint: int, connection: int = 0) -> str:
        value = connection << 24 | command << 16 | vp_index << 8 | sint
        return f"mov eax, {value}\nmov dx, 0x3000\nout dx, eax"

    def drive(slot: int) -> str:
        message, event = 0x10 + slot, 0x20 + slot
        return f"""
            {device(CREATE_ROUTE, slot, EVENT_SINT)}
            {device(SET_SINT, slot, EVENT_SINT)}
            {wait_for_interrupts("raised", slot, EVENT_VECTOR, 1)}
            {device(CREATE_MESSAGES, slot, MESSAGE_SINT, message)}
            mov dword ptr [{INPUT}], {message}
            {call(0x5C, INPUT)}
            {put("rax")}
            {wait_for_interrupts("posted", slot, MESSAGE_VECTOR, 1)}
            {device(CREATE_EVENTS, slot, EVENT_SINT, event)}
            {call(0x1_005D, event)}
            {put("rax")}
            {wait_for_interrupts("signalled", slot, EVENT_VECTOR, 2)}
        """

    guest = Guest(
        f"""
        {others_execute("begin_synic")}
        {START_ALL}
        call begin_synic
        sti
        {chr(10).join(drive(slot) for slot in range(cpus))}
        cli
        {leave(0)}
    begin_synic:
        mov eax, 1
        cpuid
        shr ebx, 24
        shl ebx, 12
        {write_msr(0x40000080, 1)}
        lea rax, [rbx + {MESSAGES + 1}]
        {write_msr(0x40000083)}
        lea rax, [rbx + {EVENTS + 1}]
        {write_msr(0x40000082)}
        {write_msr(0x40000090 + MESSAGE_SINT, MESSAGE_VECTOR)}
        {write_msr(0x40000090 + EVENT_SINT, EVENT_VECTOR)}
        """,
        cpus,
        memory={INPUT: struct.pack("<QIIQ", 0, 1, 8, 0x5A5A)},
    )
    run = run_multiboot(guest)
    assert run.result.exit_code == 0
    assert run.words(2 * cpus) == [0] * (2 * cpus)
    for slot in range(cpus):
        assert run.interrupts(slot) == {MESSAGE_VECTOR: 1, EVENT_VECTOR: 2}
        kind, size = struct.unpack("<IB", run.memory(MESSAGES + 0x1000 * slot + 512, 5))
        assert (kind, size) == (1, 8)
        flags = run.memory(EVENTS + 0x1000 * slot + 256 * EVENT_SINT, 256)
        assert int.from_bytes(flags, "little") == 1 << 0x20 + slot


@CPUS
def test_xmm_registers_carry_input_and_output(cpus: int) -> None:
    waits = "\n".join(wait_for_interrupts("sent", slot, IPI_VECTOR, 1) for slot in range(cpus))
    names = RegisterName.VP_INDEX | RegisterName.CR3 << 32
    guest = Guest(
        f"""
        {START_ALL}
        sti
        mov eax, 1
        movq xmm0, rax
        mov eax, {(1 << cpus) - 1}
        movq xmm1, rax
        punpcklqdq xmm0, xmm1
        {call(0x3_0015, IPI_VECTOR, 0)}
        {put("rax")}
        {waits}
        movabs rax, {names}
        movq xmm0, rax
        {call(0x2_0001_0050, -1, cpus - 1)}
        {put("rax")}
        movdqu [r15], xmm1
        movdqu [r15 + 16], xmm2
        {leave(0)}
        """,
        cpus,
    )
    run = run_multiboot(guest)
    assert run.result.exit_code == 0
    assert [run.interrupts(slot) for slot in range(cpus)] == [{IPI_VECTOR: 1}] * cpus
    assert run.words(6) == [0, 2 << 32, cpus - 1, 0, IDENTITY_TABLES, 0]


@CPUS
def test_32_bit_code_of_long_mode_calls_with_registers_and_memory(cpus: int) -> None:
    everyone = (1 << cpus) - 1
    sent = "\n".join(
        wait_for_interrupts(f"sent_{vector}", slot, vector, 1)
        for vector in (IPI_VECTOR, IPI_VECTOR + 1)
        for slot in range(cpus)
    )
    guest = Guest(
        f"""
        {START_ALL}
        {compatibility_mode("narrow")}
    .code32
    narrow:
        {narrow_call(0x1_000B, IPI_VECTOR, everyone)}
        mov [{SHARED}], eax
        mov [{SHARED + 4}], edx
        {narrow_call(0xB, INPUT, 0)}
        mov [{SHARED + 8}], eax
        mov [{SHARED + 12}], edx
        {narrow_call(0x1_0000_0050, INPUT + 0x100, OUTPUT)}
        mov [{SHARED + 16}], eax
        mov [{SHARED + 20}], edx
        {back_to_64("wide")}
    wide:
        sti
        {sent}
        {leave(0)}
        """,
        cpus,
        memory={
            INPUT: struct.pack("<2Q", IPI_VECTOR + 1, everyone),
            INPUT + 0x100: struct.pack("<qQI", -1, cpus - 1, RegisterName.VP_INDEX),
            SHARED: b"\xff" * 24,
        },
    )
    run = run_multiboot(guest)
    assert run.result.exit_code == 0
    for slot in range(cpus):
        assert run.interrupts(slot) == {IPI_VECTOR: 1, IPI_VECTOR + 1: 1}
    assert run.memory_words(SHARED, 3) == [0, 0, 1 << 32]
    assert run.memory_words(OUTPUT, 2) == [cpus - 1, 0]


def narrow_call(control: int, first: int, second: int) -> str:
    """A call of 32-bit code: EDX:EAX, EBX:ECX and EDI:ESI."""
    return f"""
        mov edx, {control >> 32}
        mov eax, {control & 0xFFFFFFFF}
        mov ebx, {first >> 32}
        mov ecx, {first & 0xFFFFFFFF}
        mov edi, {second >> 32}
        mov esi, {second & 0xFFFFFFFF}
        mov ebp, {HYPERCALL_PAGE}
        call ebp
    """


@CPUS
def test_an_image_that_stays_in_32_bit_mode_calls(cpus: int) -> None:
    narrow_msr = "mov ecx, {}\nmov eax, {}\nmov edx, {}\nwrmsr"
    code = f"""
        mov esp, {ENTRY}
        {COUNT_PROCESSORS}
        mov [{SHARED + 24}], ebx
        {narrow_msr.format(0x40000000, 1, 1 << 31)}
        {narrow_msr.format(0x40000001, HYPERCALL_PAGE | 1, 0)}
        {narrow_call(0x1_0000_0050, INPUT, OUTPUT)}
        mov [{SHARED}], eax
        mov [{SHARED + 4}], edx
        {narrow_call(0x1_005D, 0x77, 0)}
        mov [{SHARED + 8}], eax
        mov [{SHARED + 12}], edx
        mov eax, [{SHARED + 24}]
        out 0xF4, eax
        hlt
    """
    image = image_of(
        assemble(code, ENTRY + 12, bits=32),
        (INPUT, struct.pack("<qQI", -1, cpus - 1, RegisterName.VP_INDEX)),
        (SHARED, b"\xff" * 24),
    )
    run = run_image(image, cpus)
    assert run.result.exit_code == cpus
    assert run.memory_words(SHARED, 2) == [1 << 32, 0x12]
    assert run.memory_words(OUTPUT, 2) == [cpus - 1, 0]


@pytest.mark.parametrize("cpus", [1, 2, 3, 4])
def test_two_trust_levels_on_each_processor(cpus: int) -> None:
    others = range(1, cpus)
    enabled = "\n".join(
        f"{enable_vp_vtl(1, f'level_of_{slot}', slot, slot)}\n{must_succeed()}" for slot in others
    )
    marker = "mov eax, {}\n" + put("rax")
    return_for_ever = "{0}:\n" + vtl_return(1) + "\njmp {0}"
    functions = "\n".join(
        f"""
        level_of_{slot}:
            {begin_vtl(1, slot)}
            {marker.format(0x100 + slot)}
            {return_for_ever.format(f"back_{slot}")}
        """
        for slot in others
    )
    guest = vtl_guest(
        f"""
        {others_execute("other")}
        {START_ALL}
        {vtl_call()}
        {marker.format(0x200)}
        mov dword ptr [{SHARED}], 1
        {wait_until("all", SHARED + 16, len(others))}
        """,
        f"""
        {enabled}
        {marker.format(0x100)}
        {return_for_ever.format("back_0")}
        """,
        functions=f"""
        other:
            {wait_until("prepared", SHARED, 1)}
            {vtl_call()}
            {marker.format(0x200)}
            lock inc dword ptr [{SHARED + 16}]
            ret
            {functions}
        """,
        cpus=cpus,
    )
    run = run_multiboot(guest)
    assert run.result.exit_code == 0, hex(run.result.exit_code or 0)
    for slot in range(cpus):
        assert run.words(3, slot) == [0x100 + slot, 0x200, 0]
    enabled_levels = [sorted(vp.vtls) for vp in run.machine.partition.processors]
    assert enabled_levels == [[0, 1]] * cpus
