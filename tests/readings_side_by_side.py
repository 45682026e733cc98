"""What a guest sees of each reading: a call or a state, and what becomes of it under each set.

A demonstration makes a partition with the readings of one set and says what it saw, as a number, a
word or several of them. ``#UD`` and ``#GP`` are exceptions, ``again`` is a call that waits.
"""

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.calls.conftest import INPUT, OUTPUT, Guest, Registers
from tests.calls.trust_levels import CONTEXT_64, OWN_VP, SELF, context_words, enable, enter, protect

from hypercall.abi.outcome import OutcomeKind
from hypercall.errors import GuestMemoryError
from hypercall.partition.configuration import PartitionConfiguration, processors_in_order
from hypercall.partition.debug_channel import CAPACITY
from hypercall.partition.faults import GeneralProtection
from hypercall.partition.ports import SintTarget
from hypercall.partition.profiles import parse_privileges
from hypercall.partition.register_access import RegisterAccessError
from hypercall.partition.standalone import standalone_partition
from hypercall.tlfs.readings import ExecuteBits, ReadingSet
from hypercall.tlfs.registers import RegisterName

Seen = int | str | bool | None | tuple["Seen", ...]
HOLE = 0x8000_0000
BEYOND = 1 << 40
OS_ID, HYPERCALL, ASSIST_PAGE = 0x40000000, 0x40000001, 0x40000073
SCONTROL, SIMP, SINT2 = 0x40000080, 0x40000083, 0x40000092
REFERENCE_TSC = 0x40000021
DEBUG_OPTIONS = 0x400000FF
USE_HYPERCALLS = 4
CONNECTION = 0x10
MASKED = 0x10000
PROTECTED = 0x60


def make(like: str, privileges: str = "all") -> Guest:
    """A partition of two processors with the readings of a set; all gates are open by default."""
    configuration = PartitionConfiguration(
        processors=processors_in_order(2), memory_size=1 << 20, readings=ReadingSet.named(like)
    )
    box = standalone_partition(parse_privileges(privileges).apply(configuration))
    guest = Guest(box)
    for vp in guest.partition.processors:
        vp.current.apic.write_mmio(0xF0, 0x1FF)
    return guest


def raw(guest: Guest, control: int, rdx: int, r8: int = OUTPUT) -> Seen:
    """The result word of a call with these registers."""
    outcome = guest.attempt(control, rdx, r8)
    if outcome.kind is OutcomeKind.UNDEFINED_OPCODE:
        return "#UD"
    return outcome.value if outcome.kind is OutcomeKind.COMPLETE else "again"


def call(guest: Guest, control: int, *words: int, at: int = INPUT) -> Seen:
    """The status of a call with its input in memory."""
    guest.partition.memory.write(at, struct.pack(f"<{len(words)}Q", *words))
    return status(raw(guest, control, at))


def fast(guest: Guest, control: int, rdx: int = 0, r8: int = 0, *xmm: int) -> Seen:
    """The status of a call with its input in registers."""
    guest.registers.xmm = struct.pack(f"<{len(xmm)}Q", *xmm).ljust(96, b"\0")
    return status(raw(guest, control | 1 << 16, rdx, r8))


def status(result: Seen) -> Seen:
    return result & 0xFFFF if isinstance(result, int) else result


def flushed(guest: Guest) -> tuple[int, ...]:
    """The VP indexes whose translations were flushed."""
    flushes = guest.effects.named("flush_translations")
    return tuple(vp.index for (flush,) in flushes for vp in flush.targets)


def write_msr(guest: Guest, index: int, value: int) -> Seen:
    """What the MSR reads as after the write."""
    vp = guest.vp()
    try:
        guest.partition.msrs.write(vp, index, value)
    except GeneralProtection:
        return "#GP"
    return guest.partition.msrs.read(vp, index)


def with_port(like: str, target: int = 0) -> Guest:
    """A partition with a connection to SINT 2 of a processor, the SynICs of all enabled."""
    guest = make(like)
    partition = guest.partition
    port = partition.ports.create_message_port(SintTarget(target, 2))
    partition.ports.connect(CONNECTION, port)
    for vp in partition.processors:
        partition.msrs.write(vp, SCONTROL, 1)
        partition.msrs.write(vp, SIMP, 0x20001 + (vp.index << 12))
        partition.msrs.write(vp, SINT2, 0x50)
    return guest


def post(guest: Guest, *, connection: int = CONNECTION, kind: int = 1, size: int = 8) -> Seen:
    return call(guest, 0x5C, connection, kind | size << 32, *[0x1234] * 30)


def in_vtl1(like: str, privileges: str = "all") -> Guest:
    """A partition whose first processor runs in VTL 1, which protects nothing yet."""
    guest = make(like, privileges)
    enable(guest, 1)
    enter(guest, 1)
    return guest


def intercepted(like: str) -> bytes:
    """The message of a write of VTL 0 to a page that VTL 1 has closed."""
    guest = make(like)
    enable(guest, 1)
    state = guest.vp().vtls[1]
    for index, value in ((SIMP, 0x30001), (0x40000090, 0x60), (SCONTROL, 1)):
        guest.partition.msrs.write_in(state, index, value)
    state.apic.write_mmio(0xF0, 0x1FF)
    protect(guest)
    guest.partition.vsm.protect(1, [PROTECTED], 0)
    assert guest.partition.vsm.memory_violation(guest.vp(), 0x7000, PROTECTED << 12, 1, b"\x90")
    return guest.partition.memory.read(0x30000, 256, 1)


def debugged(like: str) -> Guest:
    """A partition whose guest has said that it uses the debug calls."""
    guest = make(like)
    write_msr(guest, DEBUG_OPTIONS, USE_HYPERCALLS)
    return guest


# --- the calling convention ------------------------------------------------------------------


def reserved_control_bits(like: str) -> Seen:
    guest = make(like)
    return call(guest, 0x0800_0002, 0, 3, 0), call(guest, 0x0800_BEEF)


def nested_bit(like: str) -> Seen:
    return call(make(like), 0x8000_0002, 0, 3, 0)


def rep_rules(like: str) -> Seen:
    return call(make(like), 0x1_0000_0002, 0, 3, 0)


def flush_list_rep_start(like: str) -> Seen:
    guest = make(like)
    guest.partition.memory.write(INPUT, struct.pack("<5Q", 0, 3, 0, 0x1000, 0x2000))
    return raw(guest, 0x1_0002_0000_0003, INPUT)


def page_crossing(like: str) -> Seen:
    return call(make(like), 0xB, 0xFE, 1, at=INPUT + 0xFF8)


def misalignment(like: str) -> Seen:
    return call(make(like), 0xB, 0xFE, 1, at=INPUT + 4), call(make(like), 0x5D, 0, at=INPUT + 4)


def overlap(like: str) -> Seen:
    guest = make(like)
    guest.partition.memory.write(INPUT, struct.pack("<3Q", SELF, 0, 1))
    return status(raw(guest, 0x1_0000_009A, INPUT, INPUT + 16))


def address_outside_gpa_space(like: str) -> Seen:
    return status(raw(make(like), 0xB, BEYOND))


def inaccessible_parameters(like: str) -> Seen:
    return status(raw(make(like), 0xB, HOLE))


def inaccessible_messages(like: str) -> Seen:
    guest = make(like)
    return status(raw(guest, 0x5C, HOLE)), status(raw(guest, 0x5C, BEYOND))


def real_mode_caller(like: str) -> Seen:
    guest = make(like)
    guest.registers = Registers(protected_mode=False, long_mode=False)
    return raw(guest, 0x10008, 1)


def disabled_interface(like: str) -> Seen:
    guest = make(like)
    write_msr(guest, HYPERCALL, 0)
    return raw(guest, 0x10008, 1)


def page_without_os_id(like: str) -> Seen:
    guest = make(like)
    write_msr(guest, OS_ID, 0)
    vp = guest.vp()
    return guest.partition.msrs.read(vp, HYPERCALL), write_msr(guest, HYPERCALL, 0x5001)


def hypercall_page_writable(like: str) -> Seen:
    try:
        make(like).partition.memory.write(0x1100, b"\x90")
    except GuestMemoryError:
        return "#GP"
    return "written"


def hypercall_msr_reserved_bits(like: str) -> Seen:
    return write_msr(make(like), HYPERCALL, 0x1005)


def assist_page_reserved_bits(like: str) -> Seen:
    return write_msr(make(like), ASSIST_PAGE, 0x5003)


def fast_unsupported(like: str) -> Seen:
    return fast(make(like), 0x99, SELF, 1)


def fast_post_message(like: str) -> Seen:
    return fast(make(like), 0x5C, CONNECTION)


def fast_extended(like: str) -> Seen:
    return fast(make(like), 0x8001)


def fast_xmm_calls(like: str) -> Seen:
    return fast(make(like), 0x2, 0, 3)


def fast_xmm_gate(like: str) -> Seen:
    return fast(make(like, "all,-XmmRegistersForFastHypercallInput"), 0x2, 0, 3)


def fast_xmm_32_bit(like: str) -> Seen:
    guest = make(like)
    guest.registers = Registers(long_mode=False)
    return fast(guest, 0x1_0000_0051, SELF, OWN_VP, RegisterName.KERNEL_GS_BASE, 0, 0, 0)


def fast_output_refused(like: str) -> Seen:
    guest = make(like, "all,-XmmRegistersForFastHypercallOutput")
    return fast(guest, 0x1_0000_009A, SELF)


# --- gates -----------------------------------------------------------------------------------


def missing_extended_privilege(like: str) -> Seen:
    return call(make(like, "all,-EnableExtendedHypercalls"), 0x8001)


def missing_vsm_privilege(like: str) -> Seen:
    return fast(make(like, "all,-AccessVsm"), 0xD, SELF, 1)


def recommendations(like: str) -> Seen:
    return call(make(like, "all,-HypercallForRemoteTlbFlush"), 0x2, 0, 3, 0)


def debugging_unsupported(like: str) -> Seen:
    return fast(make(like, "all,-GuestDebugging"), 0x6B, 1)


def nested_unsupported(like: str) -> Seen:
    guest = make(like, "all,-FlushGuestPhysicalAddress,-EnlightenedNptTlb")
    return fast(guest, 0xAF, 0x1000)


# --- flushes and interrupts ------------------------------------------------------------------


def reserved_fields(like: str) -> Seen:
    return call(make(like), 0x2, 0, 0x23, 0)


def ipi_target_vtl(like: str) -> Seen:
    reserved, vtl0 = 0x80 << 32 | 0xFE, 0x10 << 32 | 0xFE
    guest = make(like)
    return tuple(
        answer
        for word in (reserved, vtl0)
        for answer in (call(guest, 0xB, word, 1), fast(guest, 0xB, word, 1))
    )


def mask_zero_flush(like: str) -> Seen:
    guest = make(like)
    return call(guest, 0x2, 0, 2, 0), flushed(guest)


def empty_set_flush(like: str) -> Seen:
    guest = make(like)
    return call(guest, 0x13, 0, 2, 0, 0), flushed(guest)


def vp_set_format(like: str) -> Seen:
    return call(make(like), 0x13, 0, 2, 1, 0), call(make(like), 0x13, 0, 2, 2, 0)


def vp_set_bank_mismatch(like: str) -> Seen:
    return call(make(like), 0x13, 0, 2, 0, 1)


def invalid_vector(like: str) -> Seen:
    return call(make(like), 0xB, 1, 1)


def empty_set_ipi_before_vector(like: str) -> Seen:
    return call(make(like), 0x15, 0, 0, 0)


def ipi_to_higher_vtl(like: str) -> Seen:
    return call(make(like), 0xB, 0x11 << 32 | 0xFE, 1)


def ipi_above_vtl0(like: str) -> Seen:
    return call(in_vtl1(like), 0xB, 0xFE, 1)


def non_global_list_flush(like: str) -> Seen:
    return call(make(like), 0x1_0000_0003, 0, 7, 0, 0x1000)


def flush_address_space(like: str) -> Seen:
    return call(make(like), 0x2, 1 << 52, 1, 0)


# --- messages and the debug channel ----------------------------------------------------------


def message_payload_too_large(like: str) -> Seen:
    return post(with_port(like), size=241)


def message_type_checked(like: str) -> Seen:
    return post(with_port(like), kind=0)


def connection_id_mask(like: str) -> Seen:
    return post(with_port(like), connection=1 << 24 | CONNECTION)


def post_without_own_synic(like: str) -> Seen:
    guest = with_port(like, target=1)
    write_msr(guest, SCONTROL, 0)
    return post(guest)


def message_to_masked_sint(like: str) -> Seen:
    guest = with_port(like)
    write_msr(guest, SINT2, MASKED | 0x50)
    assert post(guest) == 0
    slot = 0x20200
    before = guest.partition.memory.read_u32(slot)
    write_msr(guest, SINT2, 0x50)
    requested = guest.vp().current.apic.pending_vector()
    return before, guest.partition.memory.read_u32(slot), requested


def debug_calls_need_option(like: str) -> Seen:
    guest = make(like)
    write_msr(guest, DEBUG_OPTIONS, 0)
    return call(guest, 0x6A, 16, 0)


def debug_post_partial(like: str) -> Seen:
    guest = debugged(like)
    channel = guest.partition.debug_channel
    posted = CAPACITY - 2
    assert channel.post(bytes(posted))
    answer = call(guest, 0x69, 5, 0)
    return answer, channel.outgoing_count - posted


def debug_remaining_count(like: str) -> Seen:
    guest = debugged(like)
    guest.partition.debug_channel.send(b"ten bytes.")
    assert call(guest, 0x6A, 4, 0) == 0
    return struct.unpack("<II", guest.output(8))


def debug_retrieve_options(like: str) -> Seen:
    return call(debugged(like), 0x6A, 16 | 2 << 32, 0)


def debug_reset_gives_connection(like: str) -> Seen:
    guest = debugged(like)
    guest.partition.debug_channel.post(b"x")
    guest.partition.memory.write(OUTPUT, b"\xee" * 24)
    answer = call(guest, 0x6B, 3)
    written = guest.output(24) != b"\xee" * 24
    return answer, written, guest.partition.debug_channel.outgoing_count


# --- extended calls --------------------------------------------------------------------------


def memory_hint_small_range(like: str) -> Seen:
    return call(make(like), 0x1_0000_8003, 0, 0x20000)


def async_memory_hint(like: str) -> Seen:
    return call(make(like), 0x1_0000_8006, 0, 0x20000)


# --- processors and trust levels -------------------------------------------------------------


def start(guest: Guest, vp: int = 1, vtl: int = 0, *, valid: bool = True) -> Seen:
    words = context_words(CONTEXT_64) if valid else (0,) * 28
    return call(guest, 0x99, SELF, vp | vtl << 32, *words)


def start_self(like: str) -> Seen:
    return start(make(like), 0)


def start_running(like: str) -> Seen:
    guest = make(like)
    return start(guest), start(guest)


def start_context_checked(like: str) -> Seen:
    return start(make(like), valid=False)


def start_higher_vtl(like: str) -> Seen:
    guest = make(like)
    enable(guest, 1)
    return start(guest, vtl=1)


def own_processor_registers(like: str) -> Seen:
    return call(make(like), 0x1_0000_0050, SELF, OWN_VP, RegisterName.CR3)


def _translate(guest: Guest, partition: int = SELF, vp: int = OWN_VP, vtl: int = 0) -> Seen:
    """The status of a translation from a VTL that is not told otherwise."""
    return call(guest, 0x52, partition, vp, 1 | vtl << 56, 0x12)


def translate_other_partition(like: str) -> Seen:
    return _translate(in_vtl1(like), partition=5, vtl=0x10)


def translate_other_processor(like: str) -> Seen:
    return _translate(in_vtl1(like), vp=1, vtl=0x10)


def translate_higher_vtl(like: str) -> Seen:
    guest = make(like)
    enable(guest, 1)
    return _translate(guest, vtl=0x11)


def translate_own_vtl(like: str) -> Seen:
    return _translate(in_vtl1(like)), _translate(in_vtl1(like), vtl=0x10)


def partition_vtl_range(like: str) -> Seen:
    return fast(make(like), 0xD, SELF, 0), fast(make(like), 0xD, SELF, 3)


def first_vp_vtl_elsewhere(like: str) -> Seen:
    guest = make(like)
    assert fast(guest, 0xD, SELF, 1) == 0
    return call(guest, 0xF, SELF, 1 | 1 << 32, *context_words(CONTEXT_64))


def protection_other_partition(like: str) -> Seen:
    guest = in_vtl1(like)
    protect(guest)
    return call(guest, 0x1_0000_000C, 42, 1, PROTECTED)


def protection_target_vtl(like: str) -> Seen:
    guest = in_vtl1(like)
    protect(guest)
    return call(guest, 0x1_0000_000C, SELF, 0x10 << 32 | 1, PROTECTED)


def user_execute_without_mbec(like: str) -> Seen:
    guest = in_vtl1(like)
    protect(guest)
    first = guest.partition.readings.protection_execute_bits is ExecuteBits.USER_FIRST
    answer = call(guest, 0x1_0000_000C, SELF, 1 | (4 if first else 8), PROTECTED)
    found = guest.partition.memory.resolve(PROTECTED, 0)
    return answer, None if found is None else int(found.permissions)


def protection_execute_bits(like: str) -> Seen:
    guest = in_vtl1(like)
    protect(guest)
    answer = call(guest, 0x1_0000_000C, SELF, 0xB, PROTECTED)
    found = guest.partition.memory.resolve(PROTECTED, 0)
    return answer, None if found is None else int(found.permissions)


def default_protection_change(like: str) -> Seen:
    guest = in_vtl1(like)
    protect(guest)
    partition = guest.partition
    try:
        partition.registers.write(guest.vp().vtls[1], RegisterName.VSM_PARTITION_CONFIG, 1)
    except RegisterAccessError as error:
        return int(error.status)
    return partition.registers.read(guest.vp().vtls[1], RegisterName.VSM_PARTITION_CONFIG)


def vsm_capabilities_mirrored(like: str) -> Seen:
    guest = make(like)
    return guest.partition.registers.read(guest.vp().vtls[0], RegisterName.VSM_CAPABILITIES)


def new_vtl_apic_enabled(like: str) -> Seen:
    guest = make(like)
    enable(guest, 1)
    apic = guest.vp().vtls[1].apic
    apic.request(0x60)
    return apic.pending_vector()


def reference_tsc_in_ram(like: str) -> Seen:
    guest = make(like)
    enable(guest, 1)
    guest.partition.msrs.write_in(guest.vp().vtls[1], REFERENCE_TSC, 0x50001)
    return tuple(guest.partition.memory.read_u32(0x50000, vtl) for vtl in (0, 1))


def entry_fills_return_registers(like: str) -> Seen:
    guest = make(like)
    enable(guest, 1)
    guest.partition.msrs.write_in(guest.vp().vtls[1], ASSIST_PAGE, 0x30001)
    guest.effects.registers |= {(0, 0, RegisterName.RAX): 0xA, (0, 0, RegisterName.RCX): 0xC}
    enter(guest, 1)
    return struct.unpack("<QQ", guest.partition.memory.read(0x30010, 16, 1))


def vina_reset_on_return(like: str) -> Seen:
    guest = in_vtl1(like)
    secure = guest.vp().vtls[1].secure
    secure.write_vina(0x300 | 0x60)
    secure.vina_asserted = True
    enter(guest, 0)
    returned = secure.vina_asserted
    enter(guest, 1)
    return returned, secure.vina_asserted


def memory_intercept_gva_valid(like: str) -> Seen:
    return intercepted(like)[16 + 45] & 1


def memory_intercept_registers(like: str) -> Seen:
    return intercepted(like)[4]


def protected_parameters_intercept(like: str) -> Seen:
    guest = make(like)
    enable(guest, 1)
    state = guest.vp().vtls[1]
    for index, value in ((SIMP, 0x30001), (0x40000090, 0x60), (SCONTROL, 1)):
        guest.partition.msrs.write_in(state, index, value)
    protect(guest)
    guest.partition.vsm.protect(1, [INPUT >> 12], 0)
    return status(raw(guest, 0xB, INPUT))


@dataclass(frozen=True)
class Demonstration:
    """What shows a reading, and what must be seen under each set."""

    show: Callable[[str], Seen]
    hyperv: Any
    kvm: Any
    xen: Any
    openvmm: Any


def _all(*rows: tuple[Callable[[str], Seen], Any, Any, Any, Any]) -> Mapping[str, Demonstration]:
    return {row[0].__name__: Demonstration(*row) for row in rows}


NO_SYSCALL = (1 << 64) - 1000

DEMONSTRATIONS = _all(
    # question, hyperv, kvm, xen, openvmm
    (reserved_control_bits, (3, 2), (3, 3), (0, 2), (0, 2)),
    (nested_bit, 3, 3, 0, 0),
    (rep_rules, 3, 3, 0, 3),
    (flush_list_rep_start, 2 << 32, 3, 2 << 32, 2 << 32),
    (page_crossing, 4, 0, 0, 3),
    (misalignment, (4, 4), (0, 4), (0, 4), (4, 4)),
    (overlap, 0, 0, 0, 0),
    (address_outside_gpa_space, 4, 3, 5, 3),
    (inaccessible_parameters, 3, 3, 5, 3),
    (inaccessible_messages, (3, 4), (0xB, 0xB), (5, 5), (3, 3)),
    (real_mode_caller, "#UD", "#UD", 0x10008, "#UD"),
    (disabled_interface, "#UD", NO_SYSCALL, "#UD", "#UD"),
    (page_without_os_id, (0x1000, 0x5000), (0x1000, 0x1000), (0x1001, 0x5001), (0x1001, 0x5001)),
    (hypercall_page_writable, "#GP", "written", "written", "#GP"),
    (hypercall_msr_reserved_bits, 0x1005, 0x1005, 0x1005, "#GP"),
    (assist_page_reserved_bits, 0x5003, 0x5003, 0x5003, "#GP"),
    (fast_unsupported, 3, 5, 5, 3),
    (fast_post_message, 3, 2, 3, 3),
    (fast_extended, 0, 5, 5, 0),
    (fast_xmm_calls, 0, 0, 5, 0),
    (fast_xmm_gate, "#UD", "#UD", 5, "#UD"),
    (fast_xmm_32_bit, 0, 0, 0, 3),
    (fast_output_refused, "#UD", "#UD", "#UD", 3),
    (missing_extended_privilege, 6, 6, 2, 2),
    (missing_vsm_privilege, 6, 2, 2, 6),
    (recommendations, 0, 6, 0, 0),
    (debugging_unsupported, 0x1E, 2, 2, 2),
    (nested_unsupported, 0x15, 2, 2, 2),
    (reserved_fields, 5, 0, 0, 5),
    (ipi_target_vtl, (5, 5, 0, 0), (0, 3, 0, 3), (5, 5, 5, 5), (5, 5, 0, 0)),
    (mask_zero_flush, (5, ()), (0, (0, 1)), (0, ()), (5, ())),
    (empty_set_flush, (5, ()), (0, ()), (0, ()), (5, ())),
    (vp_set_format, (0, 5), (0, 0), (0, 5), (5, 5)),
    (vp_set_bank_mismatch, 5, 3, 0, 5),
    (invalid_vector, 5, 3, 5, 5),
    (empty_set_ipi_before_vector, 5, 0, 5, 5),
    (ipi_to_higher_vtl, 6, 0, 5, 6),
    (ipi_above_vtl0, 0, 0, 0, 0x51),
    (non_global_list_flush, 0, 0, 0, 0),
    (flush_address_space, 5, 0, 0, 0),
    (message_payload_too_large, 5, 3, 5, 5),
    (message_type_checked, 5, 0, 5, 0),
    (connection_id_mask, 0x12, 0, 0x12, 0x12),
    (post_without_own_synic, 0, 3, 0, 0),
    (message_to_masked_sint, (1, 1, None), (1, 1, None), (1, 1, None), (0, 1, 0x50)),
    (debug_calls_need_option, 0x1B, 8, 0x1B, 0x1B),
    (debug_post_partial, (0x13, 0), (0x13, 2), (0x13, 0), (0x13, 0)),
    (debug_remaining_count, (4, 6), (4, 0), (4, 6), (4, 6)),
    (debug_retrieve_options, 0x1C, 0x1B, 0x1C, 0x1C),
    (debug_reset_gives_connection, (0, False, 0), (0, True, 1), (0, False, 0), (0, False, 0)),
    (memory_hint_small_range, 0, 0, 0, 0),
    (async_memory_hint, 0x79, 0x79, 0x79, 0x79),
    (start_self, 0xE, 0xE, 0xE, 0xE),
    (start_running, (0, 0), (0, 0), (0, 0), (0, 0x15)),
    (start_context_checked, 0x50, 0, 0x50, 0),
    (start_higher_vtl, 6, 5, 6, 6),
    (own_processor_registers, 0, 0, 0, 6),
    (translate_other_partition, 0xD, 3, 0xD, 6),
    (translate_other_processor, 0, 3, 0, 6),
    (translate_higher_vtl, 6, 3, 6, 6),
    (translate_own_vtl, (0, 0), (0, 0), (0, 0), (6, 0)),
    (partition_vtl_range, (5, 5), (5, 5), (5, 5), (6, 6)),
    (first_vp_vtl_elsewhere, 0, 0, 0, 6),
    (protection_other_partition, 0xD, 0xD, 0xD, 6),
    (protection_target_vtl, 5, 0, 5, 5),
    (user_execute_without_mbec, (0, 1), (0, 1), (0, 1), (0x50, 0xF)),
    (protection_execute_bits, (0, 3), (0, 0xF), (0, 3), (0x50, 0xF)),
    (default_protection_change, 0x50, 0x1F, 0x50, 0x50),
    (vsm_capabilities_mirrored, 0x2000C, 0x0003_4000_0000_0000, 0x2000C, 0x2000C),
    (new_vtl_apic_enabled, None, 0x60, None, None),
    (reference_tsc_in_ram, (0, 1), (1, 1), (0, 1), (0, 1)),
    (entry_fills_return_registers, (0xA, 0xC), (0xA, 0xC), (0xA, 0xC), (0, 0)),
    (vina_reset_on_return, (True, False), (True, False), (True, False), (False, False)),
    (memory_intercept_gva_valid, 1, 0, 1, 1),
    (memory_intercept_registers, 80, 240, 80, 80),
    (protected_parameters_intercept, "again", 3, 5, 3),
)
"""What must be seen of every reading, by its name."""
