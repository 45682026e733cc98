"""Run a guest of 60 bytes that opens the hypercall interface and makes two calls.

A flat binary is loaded at 0x100000 and entered in 64-bit mode like a C function. What it returns
becomes the machine's exit code.

Usage: python examples/flat_guest.py
"""

from hypercall import Machine, MachineConfiguration
from hypercall.trace.strace import StraceWriter

GUEST = bytes.fromhex(
    "53"  # push rbx
    "b900000040 b801000000 ba00000081 0f30"  # wrmsr GUEST_OS_ID, 0x8100000000000001
    "b901000040 b801002000 31d2 0f30"  # wrmsr HYPERCALL, page at 0x200000, enabled
    "bb00002000"  # mov ebx, 0x200000
    "b901800000 31d2 41b800002100 ffd3"  # HvExtCallQueryCapabilities, output at 0x210000
    "b908000100 ba01000000 4531c0 ffd3"  # HvCallNotifyLongSpinWait, fast, 1 spin
    "5b c3"  # pop rbx; ret
)


def main() -> None:
    """Run the guest and look at what it left."""
    machine = Machine(MachineConfiguration(memory=16 << 20))
    machine.load(GUEST, image_format="flat")
    StraceWriter(lambda line: print(line, end=""), machine.symbol).attach(machine.trace)

    result = machine.run(limit_ns=1_000_000_000)
    print(f"ended with {result.reason.name}, exit code {result.exit_code}")

    capabilities = machine.partition.memory.read(0x210000, 8)
    print(f"extended capabilities: {int.from_bytes(capabilities, 'little'):#x}")


if __name__ == "__main__":
    main()
