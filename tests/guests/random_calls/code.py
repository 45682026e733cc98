"""The code of the guest: one loop for each VTL, which all processors execute."""

import struct
from dataclasses import replace

from tests.guests.assembly import (
    call,
    enable_hypercalls,
    start_others,
    wait_until,
    write_apic,
    write_msr,
)
from tests.guests.contexts import LONG_MODE
from tests.guests.kit import Guest, assemble, interrupt_gates
from tests.guests.layout import AP_MAIN, IDT
from tests.guests.random_calls.places import (
    BLOCK_ASSIST,
    BLOCK_COUNT,
    BLOCK_DUTY,
    BLOCK_IDLE,
    BLOCK_INTERCEPTS,
    BLOCK_LIST,
    BLOCK_LOG,
    BLOCK_MESSAGES,
    BLOCK_NEXT,
    BLOCK_RECORD,
    BLOCK_TABLE,
    CODE,
    GO,
    HANDLERS,
    PATTERNS,
    READ_PROBE,
    RECORD_DONE,
    RECORD_RESULT,
    RECORD_TARGET,
    RECORD_XMM,
    RECORD_XMM_AFTER,
    SECRETS,
    VMCALL,
    VMMCALL,
    VPS,
    VTLS,
    WORLDS,
    WRITE_PROBE,
    block,
    log,
    parameter_list,
    table,
)
from tests.guests.vtl import (
    ALL,
    ANY,
    CONTEXTS,
    ENABLE_PROTECTION,
    PARTITION_CONFIG,
    RIP,
    SELF,
    assist_page,
    message_page,
    stack,
)

from hypercall.tlfs.initial_context import SegmentRegister

TIMER_SINT, MESSAGE_SINT = 2, 3
_REGISTERS = ("rax", "rcx", "rdx", "rbx", "rbp", "rsi", "rdi", *(f"r{n}" for n in range(8, 16)))
_PUSH = "\n".join(f"push {register}" for register in _REGISTERS)
_POP = "\n".join(f"pop {register}" for register in reversed(_REGISTERS))
_LOAD_BLOCK = ".byte 0x64, 0x4C, 0x8B, 0x3C, 0x25, 0, 0, 0, 0"  # MOV R15, FS:[0]
_END_OF_MESSAGE = write_msr(0x40000084, 0)
_SLOT = 256
_FRESH_STACK = 0xE00


def _from_block(offset: int) -> str:
    return f"mov rax, [r15 + {offset}]\nor rax, 1"


def _begin(vtl: int) -> str:
    """What a VTL of a processor sets up whenever it starts."""
    protect = f"""
        {_call_with(0x1_0000_0051, SELF, PARTITION_CONFIG, 0, ENABLE_PROTECTION | ALL << 1, 0)}
        {_call_with(0x1_0000_000C, 0, SECRETS.get(vtl, 0) >> 12)}
    """
    return f"""
        {enable_hypercalls()}
        {_from_block(BLOCK_ASSIST)}
        {write_msr(0x40000073)}
        {_from_block(BLOCK_MESSAGES)}
        {write_msr(0x40000083)}
        {write_msr(0x40000080, 1)}
        {write_msr(0x40000090, 0x30) if vtl else ""}
        {write_msr(0x40000090 + TIMER_SINT, 0x52)}
        {write_msr(0x40000090 + MESSAGE_SINT, 0x53)}
        {write_apic(0xF0, 0x1FF)}
        {protect if vtl else ""}
    """


def _call_with(control: int, *words: int) -> str:
    """Make a call of its own with a list of words, of which the first is the partition."""
    stores = "\n".join(
        f"movabs rax, {word}\nmov [rsi + {8 + 8 * number}], rax"
        for number, word in enumerate(words)
    )
    return f"""
        mov rsi, [r15 + {BLOCK_LIST}]
        mov qword ptr [rsi], -1
        {stores}
        movabs rcx, {control}
        mov rdx, rsi
        xor r8d, r8d
        call {VMCALL}
    """


def _duty(vtl: int) -> str:
    """What each VTL of the boot processor does once, so that all have all levels."""
    others = "\n".join(
        call_in_place(0xF, contexts(vp, level)) for vp in range(1, VPS) for level in (1, 2)
    )
    work = {
        0: "",
        1: f"""
            {_call_with(0xD, 2)}
            {call_in_place(0xF, contexts(0, 2))}
            xor eax, eax
            mov ecx, 0x11
            vmcall
            {_LOAD_BLOCK}
        """,
        2: f"{others}\nmov dword ptr [{GO}], 1",
    }[vtl]
    return f"""
        cmp qword ptr [r15 + {BLOCK_DUTY}], 0
        je without_duty
        mov qword ptr [r15 + {BLOCK_DUTY}], 0
        {work}
    without_duty:
    """


def call_in_place(control: int, words: int) -> str:
    """Make a call whose list the host has written."""
    return f"movabs rcx, {control}\nmov rdx, {words}\nxor r8d, r8d\ncall {VMCALL}"


def contexts(vp: int, vtl: int) -> int:
    """The input list of 0x000F and 0x0099 for a world."""
    return CONTEXTS + 0x400 * vp + 0x100 * vtl


def _take(sint: int, body: str = "") -> str:
    offset = _SLOT * sint
    return f"""
        cmp dword ptr [rdi + {offset}], 0
        je nothing_{sint}
        {body}
        mov dword ptr [rdi + {offset}], 0
        {_END_OF_MESSAGE}
    nothing_{sint}:
    """


_LOG_MESSAGE = f"""
    mov eax, [rdi + {_SLOT * MESSAGE_SINT}]
    mov rbx, [rdi + {_SLOT * MESSAGE_SINT + 16}]
    mov rsi, [r15 + {BLOCK_LOG}]
    mov [rsi], rax
    mov [rsi + 8], rbx
    add qword ptr [r15 + {BLOCK_LOG}], 16
"""

# Goes on behind the instruction that was intercepted, unless the lower VTL was started anew since.
_HANDLE_INTERCEPT = f"""
    cmp dword ptr [rdi], 0
    je no_intercept
    inc qword ptr [r15 + {BLOCK_INTERCEPTS}]
    movzx ebx, word ptr [rdi + 22]
    shr ebx, 7
    and ebx, 15
    or ebx, 16
    shl rbx, 32
    mov eax, {SELF}
    or rbx, rax
    mov rsi, [r15 + {BLOCK_LIST}]
    mov qword ptr [rsi], {ANY}
    mov [rsi + 8], rbx
    mov qword ptr [rsi + 16], {RIP}
    mov qword ptr [rsi + 24], 0
    movabs rcx, {0x1_0000_0050}
    mov rdx, rsi
    lea r8, [rsi + 32]
    call {VMCALL}
    mov rcx, [rsi + 32]
    cmp rcx, [rdi + 40]
    jne handled
    movzx eax, byte ptr [rdi + 20]
    and eax, 15
    add [rsi + 32], rax
    mov qword ptr [rsi + 40], 0
    movabs rcx, {0x1_0000_0051}
    mov rdx, rsi
    xor r8d, r8d
    call {VMCALL}
handled:
    mov dword ptr [rdi], 0
    {_END_OF_MESSAGE}
no_intercept:
"""

_LEAVE = f"""
    {_POP}
    mov eax, 0
    mov ecx, 0x12
    vmcall
    jmp resume
"""
_REST = f"""
    mov qword ptr [r15 + {BLOCK_IDLE}], 1
    pause
    jmp loop
"""


def _loop(vtl: int) -> str:
    """The code of a VTL.

    One above 0 keeps what a lower one has in registers; it may be entered at any instruction. RAX
    and RCX come back from the assist page, where it stores them too: it has none at its first
    entry, and is not told when VTL 2 returns to it from an interrupt of VTL 0.
    """
    loads = "\n".join(f"movdqu xmm{n}, [r14 + {RECORD_XMM + 16 * n}]" for n in range(6))
    stores = "\n".join(f"movdqu [r14 + {RECORD_XMM_AFTER + 16 * n}], xmm{n}" for n in range(6))
    keep = f"""
        mov rbx, [r15 + {BLOCK_ASSIST}]
        mov rax, [rsp + {8 * (len(_REGISTERS) - 1)}]
        mov [rbx + 16], rax
        mov rax, [rsp + {8 * (len(_REGISTERS) - 2)}]
        mov [rbx + 24], rax
    """
    resume = f"""
        {keep}
        jmp loop
    resume:
        {_PUSH}
        {_LOAD_BLOCK}
        {keep}
    """
    return f"""
        {_PUSH if vtl else ""}
        {_LOAD_BLOCK}
        {_begin(vtl)}
        {_duty(vtl)}
        {resume if vtl else ""}
    loop:
        {_LOAD_BLOCK}
        mov rdi, [r15 + {BLOCK_MESSAGES}]
        {_HANDLE_INTERCEPT if vtl else ""}
        {_take(TIMER_SINT)}
        {_take(MESSAGE_SINT, _LOG_MESSAGE)}
        sti
        nop
        cli
        {_LOAD_BLOCK}
        mov rax, [r15 + {BLOCK_NEXT}]
        cmp rax, [r15 + {BLOCK_COUNT}]
        jae finished
        inc qword ptr [r15 + {BLOCK_NEXT}]
        shl rax, 8
        add rax, [r15 + {BLOCK_TABLE}]
        mov r14, rax
        mov [r15 + {BLOCK_RECORD}], r14
        {loads}
        mov rcx, [r14]
        mov rdx, [r14 + 8]
        mov r8, [r14 + 16]
        mov r9, [r14 + {RECORD_TARGET}]
        test r9, r9
        jz finished
        mov rax, -1
        call r9
        {_LOAD_BLOCK}
        mov r14, [r15 + {BLOCK_RECORD}]
        mov [r14 + {RECORD_RESULT}], rax
        mov [r14 + {RECORD_RESULT + 8}], rdx
        mov [r14 + {RECORD_RESULT + 16}], r8
        {stores}
        mov qword ptr [r14 + {RECORD_DONE}], 1
        jmp loop
    finished:
        {_LEAVE if vtl else _REST}
    """


def _handlers() -> tuple[bytes, list[int]]:
    """Handlers of all vectors, and where each is.

    An instruction that faults is left out: it is three bytes long, be it a call or a probe.
    """
    pieces = {
        "return": "iretq",
        "drop": "add rsp, 8\niretq",
        "skip": "or rax, -1\nadd qword ptr [rsp], 3\niretq",
        "drop and skip": "or rax, -1\nadd rsp, 8\nadd qword ptr [rsp], 3\niretq",
        "end": f"push rax\npush rcx\npush rdx\n{write_msr(0x40000070, 0)}\npop rdx\npop rcx\n"
        "pop rax\niretq",
    }
    code, places = bytearray(), {}
    for name, text in pieces.items():
        places[name] = HANDLERS + len(code)
        code += assemble(text, HANDLERS + len(code))
        code += bytes(-len(code) % 16)
    kinds = {6: "skip", 13: "drop and skip", 14: "drop and skip"}
    kinds |= dict.fromkeys((8, 10, 11, 12), "drop")
    return bytes(code), [
        places[kinds.get(vector, "return") if vector < 16 else "end"] for vector in range(256)
    ]


def context_words(vp: int, vtl: int) -> bytes:
    """The list for a world that 0x000F and 0x0099 take."""
    context = replace(
        LONG_MODE,
        rip=CODE[vtl],
        rsp=stack(vtl, vp) if vtl else parameter_list(vp, 0) + _FRESH_STACK,
        fs=SegmentRegister(block(vp, vtl), 0xFFFFFFFF, 0x18, 0xC093),
    )
    return struct.pack("<qQ", ANY, vp | vtl << 32) + context.pack()


def guest(seed: int, **configuration: object) -> Guest:
    """The guest; its tables are empty yet."""
    code, gates = _handlers()
    set_block = f"""
        mov eax, 1
        cpuid
        shr ebx, 24
        imul ebx, ebx, {0x100 * VTLS}
        lea rax, [rbx + {block(0, 0)}]
        {write_msr(0xC0000100)}
        mov rax, {CODE[0]}
        jmp rax
    """
    text = f"""
        mov qword ptr [{AP_MAIN}], application
        {start_others(VPS - 1)}
        {call(0x1000D, ANY, 1)}
        {call(0xF, contexts(0, 1))}
        xor eax, eax
        mov ecx, 0x11
        vmcall
    application:
        {wait_until("waiting", GO, 1)}
        {set_block}
    """
    memory: dict[int, bytes] = {
        HANDLERS: code,
        READ_PROBE: assemble("mov rax, [rdx]\nret"),
        WRITE_PROBE: assemble("mov [rdx], rax\nret"),
        VMCALL: assemble("vmcall\nret"),
        VMMCALL: assemble("vmmcall\nret"),
        IDT: interrupt_gates(gates),
    }
    for vtl, address in CODE.items():
        memory[address] = assemble(_loop(vtl), address)
    for vtl, address in SECRETS.items():
        memory[address] = PATTERNS[vtl] * (4096 // len(PATTERNS[vtl]))
    for vp, vtl in WORLDS:
        duty = int(vp == 0)
        words = (
            *(block(vp, vtl), 0, 0, table(vp, vtl), 0, message_page(vtl, vp)),
            *(assist_page(vtl, vp), log(vp, vtl), parameter_list(vp, vtl), 0, duty, 0),
        )
        memory[block(vp, vtl)] = struct.pack("<12Q", *words)
        memory[contexts(vp, vtl)] = context_words(vp, vtl)
        # VTL 1 may, late, send VTL 0 behind a call that it made before it was started anew.
        if not vtl:
            returns = struct.pack("<Q", CODE[0]) * ((4096 - _FRESH_STACK) // 8)
            memory[parameter_list(vp, 0) + _FRESH_STACK] = returns
    settings = {"seed": seed, **configuration}
    return Guest(text, VPS, True, settings, memory)
