"""Make calls without a guest: what must they return, what must they do, and who thinks otherwise?

Usage: python examples/ask_the_oracle.py
"""

from hypercall import Call, Oracle


def main() -> None:
    """Send an interrupt, and then ask four hypervisors the same unclear question."""
    oracle = Oracle(cpus=4)
    answer = oracle.call(Call.SEND_SYNTHETIC_CLUSTER_IPI, vector=0xFB, processor_mask=0b0110)
    print(f"an interrupt to two processors: {answer.status!r}")
    for effect in answer.effects:
        print(f"  {effect.name} of VP {effect.arguments[0].index}")

    print("a flush on an empty mask of processors:")
    for name in ("hyperv", "kvm", "xen", "openvmm"):
        answer = Oracle(cpus=4, like=name).call(
            Call.FLUSH_VIRTUAL_ADDRESS_SPACE, address_space=0x1000, processor_mask=0
        )
        flushed = sum(effect.name == "flush_translations" for effect in answer.effects)
        print(f"  {name}: {answer.status!r}, flushes: {flushed}")


if __name__ == "__main__":
    main()
