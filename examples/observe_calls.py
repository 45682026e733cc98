"""Boot Linux and handle its calls in Python as they happen: who interrupts whom.

Usage: python examples/observe_calls.py KERNEL [INITRD]
"""

import sys
from collections import Counter
from pathlib import Path

from hypercall import Call, Machine, MachineConfiguration
from hypercall.abi.decoder import decode_call
from hypercall.trace.events import HypercallEvent

ENOUGH = 50


def main() -> None:
    """Stop after the first 50 interrupts that the guest sends by hypercall."""
    machine = Machine(MachineConfiguration(cpus=2))
    initrd = Path(sys.argv[2]) if len(sys.argv) > 2 else None
    machine.load(Path(sys.argv[1]), initrd, "console=ttyS0")
    senders: Counter[str] = Counter()

    @machine.on(Call.SEND_SYNTHETIC_CLUSTER_IPI)
    def count(event: HypercallEvent) -> None:
        site = event.position.call_site
        arguments = {value.name: value.text for value in decode_call(event.record).arguments}
        senders[
            f"VP {event.position.vp_index} sends {arguments['vector']} "
            f"to {arguments['processor_mask']} from {machine.symbol(site) if site else '?'}"
        ] += 1

    result = machine.run(limit_ns=30_000_000_000, until=lambda: senders.total() >= ENOUGH)
    print(f"{result.reason.name} after {result.virtual_ns / 1e9:.3f} s of virtual time")
    for line, number in senders.most_common():
        print(f"{number:5}  {line}")


if __name__ == "__main__":
    main()
