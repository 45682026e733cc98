"""KVM's tracepoints that tell of a Hyper-V guest: their fields, in binary and in text.

Source: ``TP_STRUCT__entry`` and ``TP_printk`` in Linux's ``arch/x86/kvm/trace.h`` of 3.6, 4.8, 5.10
and 6.18. Where versions differ, a field has several names: ``kvm_hv_hypercall`` of 5.10 writes
``cnt`` and has no variable header, later ones write ``var_cnt`` and ``rep_cnt``; ``kvm_inj_virq``
of 5.10 calls its vector ``irq``.

A text is read word by word: a word of the text is followed by its field's number, or is itself a
value (``fast``). So a text of another version, or with more in it, is read as far as it is known.
"""

from __future__ import annotations

from dataclasses import dataclass

from hypercall.trace.kvm.scan import Kind, Words


@dataclass(frozen=True, slots=True)
class TracepointField:
    """One field of a tracepoint.

    Attributes:
        names: its names in the description of the binary record, newest first.
        words: the words that come before its number in text.
        base: the base of that number where nothing (0x) says otherwise.
        values: words that are a value of it themselves.
        required: whether a record without it is damaged.
    """

    names: tuple[str, ...]
    words: tuple[str, ...] = ()
    base: int = 16
    values: tuple[tuple[str, int], ...] = ()
    required: bool = True


@dataclass(frozen=True, slots=True)
class Tracepoint:
    """A tracepoint.

    Attributes:
        kind: its number, by which the compiled scanner knows it.
        name: its name, without that of its system.
        fields: its fields in the order in which rows have them.
    """

    kind: Kind
    name: str
    fields: tuple[TracepointField, ...]

    @property
    def required(self) -> int:
        """The mask of the fields that a record must have."""
        return sum(1 << number for number, each in enumerate(self.fields) if each.required)


def _decimal(name: str, *words: str, required: bool = True) -> TracepointField:
    return TracepointField((name,), words or (name,), 10, required=required)


def _hex(name: str, *words: str, required: bool = True) -> TracepointField:
    return TracepointField((name,), words or (name,), 16, required=required)


_VCPU = _decimal("vcpu_id")
_TIMER = _decimal("timer_index", "timer")
_HOST = _decimal("host", required=False)
_NESTED_GUEST = TracepointField(("guest_mode",), values=(("(L2)", 1),), required=False)

TRACEPOINTS = (
    Tracepoint(
        Kind.HYPERCALL,
        "kvm_hv_hypercall",
        (
            _hex("code"),
            TracepointField(("fast",), values=(("fast", 1), ("slow", 0))),
            _hex("var_cnt", required=False),
            _hex("rep_cnt", "rep_cnt", "cnt"),
            _hex("rep_idx", "idx", "rep_idx"),
            _hex("ingpa", "in", "ingpa"),
            _hex("outgpa", "out", "outgpa"),
        ),
    ),
    Tracepoint(Kind.DONE, "kvm_hv_hypercall_done", (_hex("result"),)),
    Tracepoint(
        Kind.FLUSH,
        "kvm_hv_flush_tlb",
        (_hex("processor_mask"), _hex("address_space"), _hex("flags"), _NESTED_GUEST),
    ),
    Tracepoint(
        Kind.FLUSH_EX,
        "kvm_hv_flush_tlb_ex",
        (
            _hex("valid_bank_mask"),
            _hex("format"),
            _hex("address_space"),
            _hex("flags"),
            _NESTED_GUEST,
        ),
    ),
    Tracepoint(Kind.IPI, "kvm_hv_send_ipi", (_hex("vector"), _hex("processor_mask"))),
    Tracepoint(
        Kind.IPI_EX,
        "kvm_hv_send_ipi_ex",
        (_hex("vector"), _hex("format"), _hex("valid_bank_mask")),
    ),
    Tracepoint(
        Kind.ENTRY,
        "kvm_entry",
        (_decimal("vcpu_id", "vcpu"), _hex("rip", required=False)),
    ),
    Tracepoint(
        Kind.EXIT,
        "kvm_exit",
        (
            _hex("guest_rip", "rip"),
            _decimal("vcpu_id", "vcpu", required=False),
            TracepointField(("exit_reason",), values=(("HLT", 12), ("hlt", 0x78)), required=False),
            TracepointField(("isa",), values=(("HLT", 1), ("hlt", 2)), required=False),
        ),
    ),
    Tracepoint(
        Kind.INJECT,
        "kvm_inj_virq",
        (
            TracepointField(("vector", "irq"), ("IRQ", "Soft/INTn", "irq"), 16),
            TracepointField(("reinjected",), values=(("[reinjected]", 1),), required=False),
        ),
    ),
    Tracepoint(
        Kind.MSR,
        "kvm_msr",
        (
            _hex("ecx", "msr_write", "msr_read"),
            TracepointField(("write",), values=(("msr_write", 1), ("msr_read", 0))),
            _hex("data", "="),
            TracepointField(("exception",), values=(("(#GP)", 1),), required=False),
        ),
    ),
    Tracepoint(Kind.WAKEUP, "kvm_vcpu_wakeup", (_decimal("ns", "time"),)),
    Tracepoint(Kind.ACKNOWLEDGED, "kvm_hv_notify_acked_sint", (_VCPU, _decimal("sint"))),
    Tracepoint(
        Kind.SET_IRQ,
        "kvm_hv_synic_set_irq",
        (_VCPU, _decimal("sint"), _decimal("vector"), _decimal("ret")),
    ),
    Tracepoint(Kind.SEND_EOI, "kvm_hv_synic_send_eoi", (_VCPU, _decimal("vector"))),
    Tracepoint(Kind.SYNIC_MSR, "kvm_hv_synic_set_msr", (_VCPU, _hex("msr"), _hex("data"), _HOST)),
    Tracepoint(
        Kind.TIMER_CONFIG, "kvm_hv_stimer_set_config", (_VCPU, _TIMER, _hex("config"), _HOST)
    ),
    Tracepoint(
        Kind.TIMER_COUNT, "kvm_hv_stimer_set_count", (_VCPU, _TIMER, _decimal("count"), _HOST)
    ),
    Tracepoint(
        Kind.TIMER_PERIODIC,
        "kvm_hv_stimer_start_periodic",
        (_VCPU, _TIMER, _decimal("time_now"), _decimal("exp_time")),
    ),
    Tracepoint(
        Kind.TIMER_ONE_SHOT,
        "kvm_hv_stimer_start_one_shot",
        (_VCPU, _TIMER, _decimal("time_now"), _decimal("count")),
    ),
    Tracepoint(Kind.TIMER_CALLBACK, "kvm_hv_stimer_callback", (_VCPU, _TIMER)),
    Tracepoint(Kind.TIMER_CLEANUP, "kvm_hv_stimer_cleanup", (_VCPU, _TIMER)),
    Tracepoint(
        Kind.TIMER_EXPIRATION,
        "kvm_hv_stimer_expiration",
        (
            _VCPU,
            _TIMER,
            _decimal("direct", required=False),
            _decimal("msg_send_result", "result", required=False),
        ),
    ),
    Tracepoint(
        Kind.DEBUG_SET,
        "kvm_hv_syndbg_set_msr",
        (_VCPU, _decimal("vp_index"), _hex("msr"), _hex("data")),
    ),
    Tracepoint(
        Kind.DEBUG_GET,
        "kvm_hv_syndbg_get_msr",
        (_VCPU, _decimal("vp_index"), _hex("msr"), _hex("data")),
    ),
)
"""Every tracepoint that is read, in the order of the kinds."""

# The one word whose number has another base than its field's others.
_DECIMAL_WORDS = frozenset({"irq"})


def words() -> Words:
    """Return what the scanner needs to read text."""
    return Words(
        (point.kind, point.name.encode(), point.required, _keys(point)) for point in TRACEPOINTS
    )


def _keys(point: Tracepoint) -> list[tuple[bytes, int, int, int]]:
    """Return word, field, base and value of each word; a word's values before its numbers."""
    keys: list[tuple[bytes, int, int, int]] = []
    seen: set[str] = set()
    for each in point.fields:
        for word in (*each.words, *(text for text, _ in each.values)):
            if word not in seen:
                seen.add(word)
                keys += _keys_of_word(point, word)
    return keys


def _keys_of_word(point: Tracepoint, word: str) -> list[tuple[bytes, int, int, int]]:
    values, numbers = [], []
    for number, each in enumerate(point.fields):
        values += [(word.encode(), number, 0, value) for text, value in each.values if text == word]
        if word in each.words:
            base = 10 if word in _DECIMAL_WORDS else each.base
            numbers.append((word.encode(), number, base, 0))
    return values + numbers
