"""Executes random bytes as code; a program, so that a crash of the host process is seen.

``python -m tests.guests.random_code MODE FIRST COUNT`` prints each seed before it runs it and the
way the run ended behind it.
"""

import random
import struct
import sys

from tests.guests.assembly import start_others, write_apic
from tests.guests.kit import Guest
from tests.guests.layout import (
    AP_MAIN,
    CODE_16,
    CODE_32,
    DATA,
    DATA_16,
    FAULT_COUNT,
    KERNEL_STACK,
    RECOVER,
    RECOVER_STACK,
    USER_CODE_64,
    USER_DATA,
)

from hypercall.machine.result import RunResult

MODES = ("long", "user", "narrow", "protected", "real", "two", "page-tables", "repeated")
INSTRUCTIONS = (
    *("d926", "d936", "dd26", "dd36", "ec", "ee", "6c", "6e", "f36c", "0f20c0", "0f31", "90"),
    *("0fc5c107", "0fc4c007", "660f78c00102", "0f013e", "0f00e0", "0f06", "c8100001", "f390"),
    *("660fc6c001", "0fc7c8", "0fa2", "0faee8", "0f0106", "0fae06", "0fae0e", "66c8100001"),
)
"""Instructions, some of which need much of the engine when they are translated."""
LIMIT_NS = 200_000
LENGTH = 0x4000
EXCEPTIONS = 300
# What is worth more than its share of all bytes: two-byte opcodes, prefixes, calls, system
# instructions and string instructions.
_FREQUENT = (
    *(b"\x0f", b"\x0f\x01", b"\x0f\x01\xc1", b"\x0f\x30", b"\x0f\x32", b"\x0f\x22", b"\x0f\x20"),
    *(b"\xf3", b"\xf2", b"\x66", b"\x67", b"\x48", b"\xf3\xa4", b"\xf3\xab", b"\xf0", b"\x0f\x00"),
    *(b"\xe8", b"\xff", b"\xc3", b"\xcf", b"\x48\xcf", b"\xcb", b"\x9d", b"\xcd", b"\x0f\x05"),
    *(
        b"\x0f\x07",
        b"\xf4",
        b"\xfa",
        b"\xfb",
        b"\xe6",
        b"\xee",
        b"\xec",
        b"\x8e",
        b"\xea",
        b"\x0f\xae",
    ),
)


def random_bytes(chooser: random.Random, length: int) -> bytes:
    """Bytes in which the interesting opcodes are frequent."""
    code = bytearray()
    while len(code) < length:
        if chooser.random() < 0.15:
            code += chooser.choice(_FREQUENT)
        code.append(chooser.getrandbits(8))
    return bytes(code[:length])


def _repeated(chooser: random.Random) -> bytes:
    """A few instructions, each many times in a row, as long blocks of code."""
    pieces = []
    for _ in range(LENGTH // 2048):
        piece = random_bytes(chooser, chooser.randrange(1, 7))
        pieces.append((piece * 2048)[:2048])
    return b"".join(pieces)


def _entry(mode: str) -> str:
    if mode == "user":
        return (
            f"push {USER_DATA | 3}\npush {KERNEL_STACK - 0x8000}\npush 0x3202\n"
            f"push {USER_CODE_64 | 3}\npush r12\niretq"
        )
    if mode == "narrow":
        return f"push {CODE_32}\npush r12\nretfq"
    return "jmp r12"


def guest(mode: str, seed: int) -> Guest:
    """The guest of a mode and a seed."""
    if mode == "instructions":
        return _in_a_row(bytes.fromhex(INSTRUCTIONS[seed]))
    chooser = random.Random(f"{mode} {seed}")
    memory = {DATA: random_bytes(chooser, LENGTH)}
    if mode == "repeated":
        memory = {DATA: _repeated(chooser)}
    if mode in ("protected", "real"):
        return _outside_long_mode(mode, memory, chooser)
    registers = "\n".join(
        f"movabs {name}, {chooser.choice((chooser.getrandbits(64), DATA, 0x210000, 0xFEE00000, 3))}"
        for name in ("rax", "rcx", "rdx", "rbx", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11")
    )
    others = ""
    if mode == "two":
        others = f"mov qword ptr [{AP_MAIN}], wild\n{start_others(1)}"
    if mode == "page-tables":
        # The tables themselves are the garbage, below those entries that map the code.
        memory[0x85000 + 64] = chooser.randbytes(0x4000 - 64)
        memory[0x83008] = chooser.randbytes(0xFF8)
    text = f"""
        {write_apic(0xF0, 0x1FF)}
        {others}
    wild:
        mov [{RECOVER_STACK}], rsp
        mov qword ptr [{RECOVER}], again
    again:
        mov rax, {FAULT_COUNT}
        mov rax, [rax]
        cmp rax, {EXCEPTIONS}
        ja enough
        mov ecx, 0x9E3779B1
        imul rax, rcx
        shr rax, 5
        and eax, {LENGTH - 1}
        lea r12, [rax + {DATA}]
        {registers}
        {_entry(mode)}
    enough:
        ret
    """
    configuration = {"seed": seed, "shuffle_vp_index": seed}
    return Guest(text, 2 if mode == "two" else 1, True, configuration, memory)


def _in_a_row(instruction: bytes) -> Guest:
    """A thousand times one instruction, with registers that let most of them work."""
    text = f"""
        mov esi, {DATA + 0x10000}
        mov edi, {DATA + 0x10000}
        mov ecx, 1
        mov edx, 0x80
        mov eax, 1
        mov rbp, rsp
        mov rbx, {DATA}
        jmp rbx
    """
    return Guest(text, 1, True, {}, {DATA: instruction * 1000 + b"\x0f\x0b"})


def _outside_long_mode(mode: str, memory: dict[int, bytes], chooser: random.Random) -> Guest:
    """Random code in 32-bit protected mode without paging, or in real mode."""
    selector = CODE_32 if mode == "protected" else CODE_16
    # MOV EAX, CR0; AND EAX, ~PG; MOV CR0, EAX are the same bytes in 32-bit and 16-bit code but
    # for the operand size of AND.
    wide = b"" if mode == "protected" else b"\x66"
    code = b"\x0f\x20\xc0" + wide + b"\x25\xff\xff\xff\x7f\x0f\x22\xc0"
    code += wide + b"\xb9\x80\x00\x00\xc0" + b"\x31\xc0\x31\xd2\x0f\x30"
    if mode == "real":
        code += b"\x0f\x20\xc0\x24\xfe\x0f\x22\xc0"
        code += b"\xea" + struct.pack("<HH", 0x7000 + len(code) + 5, 0)
        code += b"\x31\xc0\x8e\xd8\x8e\xc0\x8e\xd0\xbc\x00\x70"
    low = {0x7000: code + random_bytes(chooser, LENGTH)}
    if mode == "real":
        # Interrupt vectors into the random code.
        vectors = b"".join(
            struct.pack("<HH", 0x7000 + chooser.randrange(LENGTH), 0) for _ in range(256)
        )
        low[0] = vectors
    data = DATA_16 if mode == "real" else 0x18
    text = f"""
        mov ax, {data}
        mov ds, ax
        mov es, ax
        lidt [{DATA + 0x8000}]
        push {selector}
        push 0x7000
        retfq
    """
    pointer = struct.pack("<HQ", 0x3FF if mode == "real" else 0, 0)
    return Guest(text, 1, True, {}, memory | low | {DATA + 0x8000: pointer})


def run(mode: str, seed: int) -> RunResult:
    """Run random code to whatever end it comes to."""
    machine = guest(mode, seed).machine()
    return machine.run(LIMIT_NS)


def main(mode: str, first: int, count: int) -> None:
    """Run some seeds."""
    for seed in range(first, first + count):
        print(seed, end=" ", flush=True)
        print(run(mode, seed).reason.name, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
