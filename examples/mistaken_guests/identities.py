"""APIC ids and VP indexes, which need not be equal."""

from mistaken_guests.instructions import IPI, call, index_of, start_vp, write_msr
from mistaken_guests.mistake import HERE, Mistake

IDENTITY_MISTAKES = (
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
)
