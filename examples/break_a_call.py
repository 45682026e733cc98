"""Make a call of a guest fail, and then let one thing after another go wrong.

The guest of 71 bytes asks for the extended capabilities, tells that it spins, and returns the
status of the first call; that of the second does not matter to it.

Usage: python examples/break_a_call.py
"""

from hypercall import Machine, MachineConfiguration
from hypercall.faults.sweep import sweep

GUEST = bytes.fromhex(
    "53"  # push rbx
    "b900000040 b801000000 ba00000081 0f30"  # wrmsr GUEST_OS_ID, 0x8100000000000001
    "b901000040 b801002000 31d2 0f30"  # wrmsr HYPERCALL, page at 0x200000, enabled
    "bb00002000"  # mov ebx, 0x200000
    "b901800000 31d2 41b800002100 ffd3"  # HvExtCallQueryCapabilities, output at 0x210000
    "50"  # push rax
    "b908000100 ba01000000 4531c0 ffd3"  # HvCallNotifyLongSpinWait, fast, 1 spin
    "58"  # pop rax
    "5b c3"  # pop rbx; ret
)


def make() -> Machine:
    """A machine with the guest."""
    machine = Machine(MachineConfiguration(memory=16 << 20))
    machine.load(GUEST, image_format="flat")
    return machine


def main() -> None:
    """Break one call, then each."""
    machine = make()
    with machine.inject("call=QueryCapabilities,nth=1,status=ACCESS_DENIED") as fault:
        result = machine.run(limit_ns=1_000_000_000)
    print(f"{fault} struck {fault.struck} of {fault.seen}: exit code {result.exit_code}")

    for row in sweep(make):
        print(f"{row.fault}: {row.outcome.value} {row.detail}".strip())


if __name__ == "__main__":
    main()
