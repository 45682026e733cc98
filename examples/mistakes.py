"""A guest for each rule that breaks it once, and its twin that does it right.

The guests are text in assembly; `run` assembles one with keystone and runs it under the checks.

Usage: python examples/mistakes.py [RULE]
"""

import struct
import sys
from dataclasses import dataclass, field

import keystone

from hypercall import Machine, MachineConfiguration, RunResult
from hypercall.checks import Finding
from hypercall.checks.machine_checks import disassembly
from hypercall.tlfs.initial_context import InitialVpContext, SegmentRegister

IMAGE, PAGE, INPUT, OUTPUT, START = 0x100000, 0x200000, 0x210000, 0x220000, 0x230000
FRESH, OTHER_STACK, MESSAGES, ASSIST = 0x300000, 0x270000, 0x280000, 0x290000
FLAG, MOVED = 0x2A0000, 0x600000
HERE = "mistake:"
SINT = 3
LIMIT_NS = 2_000_000_000
SELF = (1 << 64) - 1

IPI, START_VP, INDEX_OF = 0x1000B, 0x99, 0x1_0000_009A


@dataclass(frozen=True)
class Mistake:
    """A guest that breaks a rule at its label ``mistake``, and one that does the same rightly.

    Attributes:
        rule: the rule's name.
        wrong: what the guest does.
        right: what its twin does.
        cpus: the number of processors.
        shuffle: the seed by which VP indexes differ from APIC ids; None for equal ones.
        privileges: what the partition may do and has.
        stale: whether the rule needs a look at the processors' translations.
    """

    rule: str
    wrong: str
    right: str
    cpus: int = 1
    shuffle: int | None = None
    privileges: str = "default"
    stale: bool = False


@dataclass
class Outcome:
    """What came of a guest.

    Attributes:
        findings: what the checks found.
        mistake: the address of the label ``mistake``, 0 in a twin.
        result: how the run ended.
        machine: the machine.
    """

    findings: list[Finding]
    mistake: int
    result: RunResult
    machine: Machine = field(repr=False)


def call(control: int, rdx: int | str = 0, r8: int | str = 0, label: str = "") -> str:
    """Make a call through the hypercall page, and look at its result."""
    return f"""
        movabs rcx, {control}
        mov rdx, {rdx}
        mov r8, {r8}
        call hypercall
    {label}
        mov ebx, eax
    """


def store(address: int, *words: int | str) -> str:
    """Write words of 8 bytes to memory."""
    text = f"mov edi, {address}\n"
    for number, word in enumerate(words):
        text += f"movabs rax, {word}\n" if isinstance(word, int) else f"mov rax, {word}\n"
        text += f"mov [rdi + {8 * number}], rax\n"
    return text


def write_msr(index: int, value: int | str) -> str:
    """Write an MSR."""
    load = f"movabs rax, {value}" if isinstance(value, int) else f"mov rax, {value}"
    return f"{load}\nmov rdx, rax\nshr rdx, 32\nmov ecx, {index}\nwrmsr\n"


def index_of(apic_id: int, control: int = INDEX_OF) -> str:
    """Ask for the VP index of an APIC id, which RAX then has."""
    return (
        store(INPUT, SELF, 0, apic_id)
        + call(control, INPUT, OUTPUT)
        + f"mov eax, {OUTPUT}\nmov eax, [rax]\n"
    )


def start_vp(entry: str) -> str:
    """Start the processor whose VP index is in RAX at a label."""
    return f"""
        mov edi, {START}
        mov [rdi + 8], eax
        mov rax, {entry}
        mov [rdi + 16], rax
        {call(START_VP, START)}
    """


def repeat(text: str, times: int, label: str = "again") -> str:
    """Do something several times."""
    return f"mov r12d, {times}\n{label}:\n{text}\nsub r12d, 1\njnz {label}\n"


def device(command: int) -> str:
    """Give a command to the SynIC test device: connection 0x10, VP 0, SINT 3."""
    return f"mov eax, {0x10 << 24 | command << 16 | SINT}\nmov dx, 0x3000\nout dx, eax\n"


def two_messages() -> str:
    """Set up a SynIC whose SINT 3 is polled, and post two messages to it."""
    return (
        write_msr(0x40000080, 1)
        + write_msr(0x40000083, MESSAGES | 1)
        + write_msr(0x40000090 + SINT, 1 << 18)
        + device(4)
        + store(INPUT, 0x10, 8 << 32 | 1, 0x1111)
        + call(0x5C, INPUT)
        + call(0x5C, INPUT)
    )


def pause(times: int, label: str) -> str:
    """Execute PAUSE so often."""
    return f"mov r12d, {times}\n{label}:\npause\nsub r12d, 1\njnz {label}\n"


def interrupted_by_vtl_1(spoil: str) -> str:
    """Let the timer of a second trust level interrupt the first, and what that leaves behind.

    Args:
        spoil: an instruction of VTL 1 before it returns.
    """
    return f"""
        {call(0x1_000D, SELF, 1)}
        mov edi, {START}
        movabs rax, {0xFFFFFFFE | 1 << 32}
        mov [rdi + 8], rax
        mov rax, vtl_1
        mov [rdi + 16], rax
        {call(0x0F, START)}
        mov ebx, {OUTPUT}
        mov dword ptr [rbx], 0
        xor eax, eax
        mov ecx, 0x11
        vmcall
    wait_for_vtl_1:
        cmp dword ptr [rbx], 1
        jne wait_for_vtl_1
        jmp done
    vtl_1:
        {write_msr(0x40000000, 0x8100 << 48)}
        {write_msr(0x40000001, PAGE + 0x1000 | 1)}
        {write_msr(0x40000073, ASSIST | 1)}
        mov edi, 0xFEE00000
        mov dword ptr [rdi + 0xF0], 0x1FF
        mov dword ptr [rdi + 0x320], 0x50
        mov dword ptr [rdi + 0x3E0], 0x0B
        mov dword ptr [rdi + 0x380], 4000
        mov eax, 1
        mov ecx, 0x12
        vmcall
        push rdi
        mov edi, {ASSIST}
        mov [rdi + 16], rax
        mov [rdi + 24], rcx
        mov eax, 15
        mov cr8, rax
        mov dword ptr [rbx], 1
        pop rdi
        {spoil}
        xor eax, eax
        mov ecx, 0x12
        {HERE if spoil else ""}
        vmcall
    done:
    """


def moved_under_a_reader(processors: int) -> str:
    """Map an address elsewhere while another processor reads from it, and flush it.

    Args:
        processors: the mask of the processors that are flushed.
    """
    return f"""
        mov eax, 1
        {start_vp("reader")}
        mov ebx, {FLAG}
    wait_for_reader:
        pause
        cmp dword ptr [rbx], 0
        je wait_for_reader
        mov edi, 0x85000
        add qword ptr [rdi + 8 * {MOVED >> 21}], 0x200000
        {store(INPUT, "cr3", 0, processors, MOVED)}
        {call(0x1_0000_0003, INPUT)}
        mov ecx, 4000000
    wait:
        sub ecx, 1
        jnz wait
        jmp finished
    reader:
        mov ebx, {FLAG}
        mov esi, {MOVED}
    {HERE if processors == 1 else ""}
        mov eax, [rsi]
        mov dword ptr [rbx], 1
        jmp {"mistake" if processors == 1 else "reader"}
    finished:
    """


def read_while_waiting(early: bool) -> str:
    """Wait for the debugger's data, and let another processor read where it will be put.

    Args:
        early: whether that does not wait until the call has returned.
    """
    return f"""
        {store(OUTPUT, 0)}
        mov eax, 1
        {start_vp("reader")}
        {store(INPUT, 1 << 32 | 16, 100_000)}
        {call(0x6A, INPUT, OUTPUT)}
        mov edi, {FLAG}
        mov dword ptr [rdi], 1
        {pause(1000, "waiting")}
        jmp finished
    reader:
        mov edi, {OUTPUT}
        mov esi, {FLAG}
        {pause(1000, "reader_waits")}
    until_done:
        pause
        cmp dword ptr [rsi], {0 if early else 1}
        jne until_done
    {HERE if early else ""}
        mov eax, [rdi]
        jmp rest
    finished:
    """


EMPTY_SLOT = f"mov edi, {MESSAGES + 256 * SINT}\nmov dword ptr [rdi], 0\n"
EOM = write_msr(0x40000084, 0)
REST = "hlt\n"
SPINS = 0x1FFF

MISTAKES = (
    Mistake(
        "parameter-overlap",
        store(INPUT, SELF, 0, 0) + call(INDEX_OF, INPUT, INPUT + 16, HERE),
        store(INPUT, SELF, 0, 0) + call(INDEX_OF, INPUT, INPUT + 24),
    ),
    Mistake(
        "parameter-alignment",
        store(INPUT + 4, SELF, 0, 0) + call(INDEX_OF, INPUT + 4, OUTPUT, HERE),
        store(INPUT + 8, SELF, 0, 0) + call(INDEX_OF, INPUT + 8, OUTPUT),
    ),
    Mistake(
        "parameter-page-crossing",
        store(INPUT + 0xFF0, SELF, 0, 0) + call(INDEX_OF, INPUT + 0xFF0, OUTPUT, HERE),
        store(INPUT + 0xFE8, SELF, 0, 0) + call(INDEX_OF, INPUT + 0xFE8, OUTPUT),
    ),
    Mistake(
        "reserved-bits",
        store(INPUT, SELF, 0, 0) + call(INDEX_OF | 1 << 27, INPUT, OUTPUT, HERE),
        store(INPUT, SELF, 0, 0) + call(INDEX_OF, INPUT, OUTPUT),
    ),
    Mistake(
        "layout-of-other-form",
        store(INPUT, "cr3", 0, 2) + call(0x13, INPUT, 0, HERE),
        store(INPUT, "cr3", 0, 2) + call(0x02, INPUT),
        cpus=2,
    ),
    Mistake(
        "empty-processor-set",
        store(INPUT, "cr3", 0, 0) + call(0x02, INPUT, 0, HERE),
        store(INPUT, "cr3", 0, 1) + call(0x02, INPUT),
    ),
    Mistake(
        "slow-form",
        store(INPUT, 0x40, 1) + call(0x0B, INPUT, 0, HERE),
        call(IPI, 0x40, 1),
    ),
    Mistake(
        "oversized-flush",
        store(INPUT, "cr3", 2, 1) + call(0x02, INPUT, 0, HERE),
        store(INPUT, 0, 2, 1) + call(0x02, INPUT),
    ),
    Mistake(
        "disabled-interface",
        f"{write_msr(0x40000001, 0)}\nmov ecx, {IPI}\nmov edx, 0x40\nmov r8, 1\n{HERE}\nvmcall",
        f"mov ecx, {IPI}\nmov edx, 0x40\nmov r8, 1\nvmcall\n{write_msr(0x40000001, 0)}",
    ),
    Mistake(
        "unprivileged-caller",
        f"""
            mov ecx, 6 * 512
            mov edi, 0x83000
        let_users_in:
            mov rax, [rdi]
            test rax, rax
            jz empty
            or qword ptr [rdi], 4
        empty:
            add rdi, 8
            sub ecx, 1
            jnz let_users_in
            mov rax, cr3
            mov cr3, rax
            {store(OUTPUT, 0, 0x00CFF300_0000FFFF, 0x00AFFB00_0000FFFF)}
            {store(OUTPUT + 0x100, (OUTPUT << 16) | 0x17, 0)}
            lgdt [rdi]
            mov rax, rsp
            push 0x0B
            push rax
            push 2
            push 0x13
            mov rax, user
            push rax
            iretq
        user:
            mov ecx, {IPI}
            mov edx, 0x40
            mov r8, 1
            {HERE}
            vmcall
        """,
        f"mov ecx, {IPI}\nmov edx, 0x40\nmov r8, 1\nvmcall",
    ),
    Mistake(
        "missing-privilege",
        store(INPUT, SELF, 0xFFFFFFFE, 0x00090003) + call(0x1_0000_0050, INPUT, OUTPUT, HERE),
        "mov ecx, 0x40000002\nrdmsr",
        privileges="-ACCESS_VP_REGISTERS",
    ),
    Mistake(
        "unknown-call",
        call(0x1_1234, 0, 0, HERE),
        call(0x8001, 0, OUTPUT),
    ),
    Mistake(
        "unrecommended-call",
        call(0x1_0001, "cr3", 0, HERE),
        "mov rax, cr3\nmov cr3, rax",
    ),
    Mistake(
        "unused-recommendation",
        repeat(write_msr(0x40000071, 1 << 56 | 0x40).replace("wrmsr", f"{HERE}\nwrmsr"), 20),
        repeat(call(IPI, 0x40, 2), 20),
        cpus=2,
    ),
    Mistake(
        "ignored-status",
        call(0x1_005D, 0x77, 0, HERE).replace("mov ebx, eax", "mov eax, 5"),
        call(0x1_005D, 0x77),
    ),
    Mistake(
        "hopeless-retry",
        repeat(call(0x1_005D, 0x77, 0, HERE), 4),
        call(0x1_005D, 0x77),
    ),
    Mistake(
        "apic-id-as-vp-index",
        call(IPI, 0x40, 1 << 1, HERE),
        index_of(1) + "mov ecx, eax\nmov esi, 1\nshl rsi, cl\n" + call(IPI, 0x40, "rsi"),
        cpus=4,
        shuffle=4,
    ),
    Mistake(
        "vp-index-as-apic-id",
        index_of(3)
        + "mov r13d, eax\n"
        + start_vp("rest")
        + "shl r13, 56\nor r13, 0x40\n"
        + write_msr(0x40000071, "r13").replace("wrmsr", f"{HERE}\nwrmsr"),
        index_of(3) + start_vp("rest") + write_msr(0x40000071, 3 << 56 | 0x40),
        cpus=4,
        shuffle=4,
    ),
    Mistake(
        "uninitialised-input",
        call(0x1_0000_0050, FRESH, OUTPUT, HERE),
        store(FRESH, SELF, 0xFFFFFFFE, 0x00090003) + call(0x1_0000_0050, FRESH, OUTPUT),
    ),
    Mistake(
        "early-output-read",
        read_while_waiting(True),
        read_while_waiting(False),
        cpus=2,
    ),
    Mistake(
        "missing-eom",
        two_messages() + EMPTY_SLOT + REST + HERE,
        two_messages() + EMPTY_SLOT + EOM + EMPTY_SLOT + REST,
    ),
    Mistake(
        "full-message-slot",
        two_messages() + pause(2_000_000, "waiting") + REST + HERE,
        two_messages() + EMPTY_SLOT + EOM + pause(2_000_000, "waiting") + EMPTY_SLOT + REST,
    ),
    Mistake(
        "spin-notify-too-often",
        repeat(call(0x1_0008, SPINS, 0, HERE), 3),
        repeat(pause(SPINS, "spinning").replace("r12", "r13") + call(0x1_0008, SPINS), 3),
        privileges="all",
    ),
    Mistake(
        "spin-without-notify",
        pause(SPINS + 32, "spinning").replace("pause", f"{HERE}\npause"),
        repeat(pause(SPINS - 32, "spinning").replace("r12", "r13") + call(0x1_0008, SPINS), 3),
        cpus=2,
        privileges="all",
    ),
    Mistake(
        "vtl-return-state",
        interrupted_by_vtl_1("inc r9"),
        interrupted_by_vtl_1(""),
    ),
    Mistake(
        "stale-translation",
        moved_under_a_reader(1),
        moved_under_a_reader(3),
        cpus=2,
        stale=True,
    ),
)
"""The guests, in the order of the rules."""


def image_of(text: str) -> tuple[bytes, int]:
    """Assemble a guest.

    Args:
        text: what it does between opening the interface and its end.

    Returns:
        The image, and the address of the label ``mistake``, or 0.
    """
    where = "mistake" if HERE in text else "0"
    source = f"""
        jmp main
        .align 8
        .quad {where}
    main:
        push rbx
        push r12
        push r13
        {write_msr(0x40000000, 0x8100 << 48)}
        {write_msr(0x40000001, PAGE | 1)}
        {text}
        pop r13
        pop r12
        pop rbx
        xor eax, eax
        ret
    hypercall:
        mov eax, {PAGE}
        jmp rax
    rest:
        hlt
        jmp rest
    """
    assembler = keystone.Ks(keystone.KS_ARCH_X86, keystone.KS_MODE_64)
    code, _ = assembler.asm(source, IMAGE, as_bytes=True)
    image = bytes(code)
    return image, struct.unpack_from("<Q", image, 8)[0]


def run(mistake: Mistake, *, right: bool = False) -> Outcome:
    """Run a guest, or its twin, under the checks.

    Args:
        mistake: the guest.
        right: whether to run the twin.
    """
    machine = Machine(
        MachineConfiguration(
            cpus=mistake.cpus,
            memory=16 << 20,
            shuffle_vp_index=mistake.shuffle,
            privileges=mistake.privileges,
        )
    )
    image, address = image_of(mistake.right if right else mistake.wrong)
    machine.load(image, image_format="flat")
    start = struct.pack("<QQ", SELF, 0) + _started_like_this().pack()
    machine.partition.memory.write(START, start)
    checks = machine.check(stale=mistake.stale)
    result = machine.run(limit_ns=LIMIT_NS)
    return Outcome(checks.finish(), address, result, machine)


def _started_like_this() -> InitialVpContext:
    """Return 64-bit code with the loader's page tables; the guest fills in where."""
    data = SegmentRegister(0, 0xFFFFFFFF, 0x18, 0xC093)
    return InitialVpContext(
        rsp=OTHER_STACK,
        cs=SegmentRegister(0, 0xFFFFFFFF, 0x10, 0xA09B),
        ds=data,
        es=data,
        fs=data,
        gs=data,
        ss=data,
        tr=SegmentRegister(0, 0x67, 0x38, 0x8B),
        ldtr=SegmentRegister(0, 0, 0, 0x82),
        efer=0xD00,
        cr0=0x80050033,
        cr3=0x83000,
        cr4=0x620,
        pat=0x0007040600070406,
    )


def main() -> None:
    """Show what is found in each guest, and how many findings its twin has."""
    wanted = sys.argv[1:]
    for mistake in MISTAKES:
        if wanted and mistake.rule not in wanted:
            continue
        outcome = run(mistake)
        for finding in outcome.findings:
            print(f"{finding.rule.name} x{finding.count}: {finding.text}")
            for line in disassembly(finding):
                print(f"    {line}")
        print(f"    its twin: {len(run(mistake, right=True).findings)} findings")


if __name__ == "__main__":
    main()
