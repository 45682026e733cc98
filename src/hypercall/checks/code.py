"""Guest code around a call: as text, and whether it looks at the call's result.

Capstone does the work. It is loaded when the first finding needs it, for most runs have none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from enum import Enum, auto
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hypercall.checks.finding import Finding

_BEFORE = 24
_SHOWN_BEFORE = 2
_LONGEST = 15
_MOST_INSTRUCTIONS = 64
_RAX_64 = frozenset({"rax", "eax", "ax", "al", "ah"})


class Fate(Enum):
    """What becomes of a call's result."""

    READ = auto()
    """An instruction reads it."""
    OVERWRITTEN = auto()
    """It is overwritten, and on no way there has anything read it."""
    UNKNOWN = auto()
    """The code leaves the function, or cannot be followed."""


def _disassembler(bits: int, *, detail: bool) -> Any:
    try:
        import capstone
    except ImportError:
        return None
    mode = capstone.CS_MODE_64 if bits == 64 else capstone.CS_MODE_32
    machine = capstone.Cs(capstone.CS_ARCH_X86, mode)
    machine.detail = detail
    return machine


def disassemble_around(code: bytes, address: int, place: int, bits: int = 64) -> list[str]:
    """Return the instructions around a place, as many as can be told from the bytes.

    Instructions cannot be read backwards: of all ways to read the bytes before the place as
    instructions, and as a call just before it, the one is taken in which most ways agree.

    Args:
        code: bytes of code.
        address: the guest-virtual address of the first.
        place: the address that the text is about; it has the mark ``=>``.
        bits: 64 or 32.

    Returns:
        Lines such as ``ffffffff81000000  call rax``; empty where there is nothing to tell.
    """
    machine = _disassembler(bits, detail=False)
    offset = place - address
    if machine is None or not 0 <= offset < len(code):
        return []
    chains = []
    for start in range(max(0, offset - _BEFORE), offset):
        found = list(machine.disasm_lite(code[start:offset], address + start))
        if found and found[-1][0] + found[-1][1] == place:
            chains.append(found[-_SHOWN_BEFORE:])
    if any(map(_ends_in_call, chains)):
        chains = [chain for chain in chains if _ends_in_call(chain)]
    votes = Counter(instruction[0] for chain in chains for instruction in chain)
    before = max(chains, key=lambda chain: sum(votes[each[0]] for each in chain), default=[])
    after = list(machine.disasm_lite(code[offset:], place, 3))
    lines = []
    for at, _, mnemonic, operands in [*before, *after]:
        mark = "=>" if at == place else "  "
        lines.append(f"{mark} {at:x}  {mnemonic} {operands}".rstrip())
    return lines


def disassembly(finding: Finding) -> list[str]:
    """Return the instructions around the place of a finding; none if its code was not read."""
    return disassemble_around(finding.code, finding.code_address, finding.address, finding.bits)


def _ends_in_call(instructions: list[tuple[int, int, str, str]]) -> bool:
    return instructions[-1][2] in ("call", "vmcall", "vmmcall")


def fate_of_result(read: Callable[[int, int], bytes], bits: int, place: int) -> Fate:
    """Find out whether code looks at RAX (or EAX) before it overwrites it.

    Both ways of a conditional jump are followed, and functions that are called by address.

    Args:
        read: returns code at a guest-virtual address, at most so many bytes; fewer where the rest
            cannot be read.
        bits: 64 or 32.
        place: the guest-virtual address to which a call returns.
    """
    machine = _disassembler(bits, detail=True)
    if machine is None:
        return Fate.UNKNOWN
    waiting = [place]
    seen: set[int] = set()
    overwritten = False
    while waiting:
        at = waiting.pop()
        while at not in seen:
            seen.add(at)
            instruction = next(machine.disasm(read(at, _LONGEST), at, 1), None)
            if instruction is None or len(seen) > _MOST_INSTRUCTIONS:
                return Fate.UNKNOWN
            fate, targets = _step(instruction)
            if fate is Fate.READ:
                return Fate.READ
            if fate is Fate.OVERWRITTEN:
                overwritten = True
                break
            if targets is None:
                return Fate.UNKNOWN
            at, *others = targets
            waiting += others
    return Fate.OVERWRITTEN if overwritten else Fate.UNKNOWN


def _step(instruction: Any) -> tuple[Fate | None, list[int] | None]:
    """Return what an instruction does to the result, and where it goes on; None for elsewhere."""
    import capstone

    following = instruction.address + instruction.size
    groups = instruction.groups
    name = instruction.mnemonic
    operands = instruction.operands
    if capstone.CS_GRP_RET in groups or capstone.CS_GRP_IRET in groups or name == "hlt":
        # Whoever it returns to may look at it.
        return None, None
    if capstone.CS_GRP_JUMP in groups:
        if len(operands) != 1 or operands[0].type != capstone.x86.X86_OP_IMM:
            return None, None
        target = operands[0].imm
        return None, [target] if name == "jmp" else [following, target]
    if capstone.CS_GRP_CALL in groups:
        # What a function does not save it may read; so it is followed to where it overwrites RAX.
        if len(operands) != 1 or operands[0].type != capstone.x86.X86_OP_IMM:
            return None, None
        return None, [operands[0].imm]
    if name in ("vmcall", "vmmcall", "syscall", "sysenter", "int", "int3"):
        return None, None
    if name in ("nop", "endbr64", "endbr32"):
        # Long forms name a memory operand and do not read it; kernels pad calls with them.
        return None, [following]
    read, written = (
        {instruction.reg_name(register) for register in registers}
        for registers in instruction.regs_access()
    )
    clears = (
        name in ("xor", "sub")
        and len(operands) == 2
        and all(operand.type == capstone.x86.X86_OP_REG for operand in operands)
        and operands[0].reg == operands[1].reg
    )
    if (read & _RAX_64 and not clears) or name.startswith("cmov"):
        return Fate.READ, None
    if written & {"rax", "eax"}:
        return Fate.OVERWRITTEN, None
    if written & _RAX_64:
        # A part of it: what is left may still be read.
        return None, None
    return None, [following]
