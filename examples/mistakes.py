"""A guest for each rule that breaks it once, and its twin that does it right.

The guests are text in assembly, in mistaken_guests/; `run` assembles one with keystone and runs it
under the checks.

Usage: python examples/mistakes.py [RULE]
"""

import struct
import sys
from dataclasses import dataclass, field

import keystone

from hypercall import Machine, MachineConfiguration, RunResult
from hypercall.checks import Finding
from hypercall.checks.code import disassembly
from hypercall.tlfs.initial_context import InitialVpContext, SegmentRegister
from mistaken_guests import MISTAKES
from mistaken_guests.instructions import PAGE, SELF, START, write_msr
from mistaken_guests.mistake import HERE, Mistake

IMAGE, OTHER_STACK = 0x100000, 0x270000
LIMIT_NS = 2_000_000_000


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


def machine_for(mistake: Mistake, *, right: bool = False) -> tuple[Machine, int]:
    """Make a machine with a guest in it, or its twin.

    Args:
        mistake: the guest.
        right: whether the twin is meant.

    Returns:
        The machine, and the address of the label ``mistake``, 0 in a twin.
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
    return machine, address


def run(mistake: Mistake, *, right: bool = False) -> Outcome:
    """Run a guest, or its twin, under the checks.

    Args:
        mistake: the guest.
        right: whether to run the twin.
    """
    machine, address = machine_for(mistake, right=right)
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
