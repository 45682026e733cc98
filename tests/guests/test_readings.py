"""Readings about the interface as a whole, which guest code on the processor meets."""

import pytest
from tests.guests.assembly import catch, put, put_fault, read_msr, write_msr
from tests.guests.kit import run_guest
from tests.guests.layout import HYPERCALL_PAGE

UNDEFINED_OPCODE, GENERAL_PROTECTION = 6, 13
NO_SUCH_CALL_OF_KVM = -1000


@pytest.mark.parametrize(
    ("like", "vector", "byte"),
    [
        ("hyperv", GENERAL_PROTECTION, 0xCC),
        ("kvm", -1, 0x90),
        ("xen", -1, 0x90),
        ("openvmm", GENERAL_PROTECTION, 0xCC),
    ],
)
def test_a_write_into_the_hypercall_page(like: str, vector: int, byte: int) -> None:
    address = HYPERCALL_PAGE + 0x100
    run = run_guest(
        f"""
        {catch("written", f"mov rax, {address}" + chr(10) + "mov byte ptr [rax], 0x90")}
        {put_fault()}
        mov rax, {address}
        movzx eax, byte ptr [rax]
        {put("rax")}
        mov rcx, 0x10008
        mov rdx, 1
        call hypercall
        {put("rax")}
        """,
        like=like,
        privileges="all",
    )
    fault, _, read, result = run.signed(4)
    assert (fault, read, result) == (vector, byte, 0)


@pytest.mark.parametrize(
    ("like", "vector", "result"),
    [
        ("hyperv", UNDEFINED_OPCODE, 5),
        ("kvm", -1, NO_SUCH_CALL_OF_KVM),
        ("xen", UNDEFINED_OPCODE, 5),
        ("openvmm", UNDEFINED_OPCODE, 5),
    ],
)
def test_a_call_without_the_page(like: str, vector: int, result: int) -> None:
    run = run_guest(
        f"""
        mov eax, 5
        {catch("called", "mov rcx, 0x10008" + chr(10) + "vmcall")}
        {put("rax")}
        {put_fault()}
        """,
        hypercalls=False,
        like=like,
    )
    answer, fault, _ = run.signed(3)
    assert (fault, answer) == (vector, result)


@pytest.mark.parametrize(
    ("like", "value"),
    [("hyperv", 0x300000), ("kvm", 0), ("xen", 0x300001), ("openvmm", 0x300001)],
)
def test_the_page_needs_a_guest_os_id(like: str, value: int) -> None:
    run = run_guest(
        f"""
        {write_msr(0x40000001, 0x300001)}
        {read_msr(0x40000001)}
        {put("rax")}
        """,
        hypercalls=False,
        like=like,
    )

    assert run.words(1) == [value]
