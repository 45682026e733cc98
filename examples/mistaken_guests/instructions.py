"""What the guests are made of: pieces of assembly, and where in memory they work."""

PAGE, INPUT, OUTPUT, START = 0x200000, 0x210000, 0x220000, 0x230000
"""The hypercall page, parameters, and the input of a call that starts something."""
SELF = (1 << 64) - 1
IPI, START_VP, INDEX_OF = 0x1000B, 0x99, 0x1_0000_009A


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


def pause(times: int, label: str) -> str:
    """Execute PAUSE so often."""
    return repeat("pause", times, label)
