"""A set of readings: the decisions that a partition works by."""

from dataclasses import dataclass, fields, replace
from typing import Any, Self

from hypercall.errors import InputError
from hypercall.tlfs.readings.calling_convention import ReservedControlBits
from hypercall.tlfs.readings.debugging import DebugRemainder
from hypercall.tlfs.readings.gates import Enforcement
from hypercall.tlfs.readings.overlay_pages import PageWithoutOsId
from hypercall.tlfs.readings.reading import SET_NAMES
from hypercall.tlfs.readings.register_form import FastXmmGate
from hypercall.tlfs.readings.table import READINGS
from hypercall.tlfs.readings.targets import EmptyMask, IpiTargetVtl, ReservedFields, SetFormat
from hypercall.tlfs.readings.virtual_trust_levels import ExecuteBits, ProtectionTarget
from hypercall.tlfs.status import HvStatus


@dataclass(frozen=True, slots=True)
class ReadingSet:
    """The decisions of a partition as plain attributes; `READINGS` says what each is about."""

    name: str
    reserved_control_bits: ReservedControlBits
    nested_bit: HvStatus | None
    rep_rules: bool
    flush_list_rep_start: HvStatus | None
    page_crossing: HvStatus | None
    misalignment: HvStatus | None
    overlap: HvStatus | None
    address_outside_gpa_space: HvStatus
    inaccessible_parameters: HvStatus
    inaccessible_messages: HvStatus | None
    real_mode_caller: bool
    disabled_interface: int | None
    page_without_os_id: PageWithoutOsId
    hypercall_page_writable: bool
    hypercall_msr_reserved_bits: bool
    assist_page_reserved_bits: bool
    fast_post_message: HvStatus
    fast_unsupported: HvStatus
    fast_extended: HvStatus | None
    fast_xmm_calls: HvStatus | None
    fast_xmm_gate: FastXmmGate
    fast_xmm_32_bit: bool
    fast_output_refused: HvStatus | None
    missing_extended_privilege: HvStatus
    recommendations: Enforcement
    reserved_fields: ReservedFields
    ipi_target_vtl: IpiTargetVtl
    mask_zero_flush: EmptyMask
    empty_set_flush: EmptyMask
    vp_set_format: SetFormat
    vp_set_bank_mismatch: HvStatus | None
    invalid_vector: HvStatus
    empty_set_ipi_before_vector: bool
    ipi_to_higher_vtl: HvStatus | None
    ipi_above_vtl0: HvStatus | None
    non_global_list_flush: HvStatus | None
    flush_address_space: HvStatus | None
    message_payload_too_large: HvStatus
    message_type_checked: bool
    connection_id_mask: int
    post_without_own_synic: HvStatus | None
    message_to_masked_sint: bool
    start_self: HvStatus
    start_running: HvStatus | None
    start_context_checked: bool
    own_processor_registers: HvStatus | None
    debugging_unsupported: HvStatus
    debug_calls_need_option: bool
    debug_post_partial: bool
    debug_remaining_count: DebugRemainder
    debug_retrieve_options: bool
    debug_reset_gives_connection: bool
    nested_unsupported: HvStatus
    memory_hint_small_range: HvStatus | None
    async_memory_hint: HvStatus
    partition_vtl_range: HvStatus
    missing_vsm_privilege: HvStatus
    first_vp_vtl_elsewhere: HvStatus | None
    protection_other_partition: HvStatus
    protection_target_vtl: ProtectionTarget
    user_execute_without_mbec: bool
    protection_execute_bits: ExecuteBits
    default_protection_change: HvStatus | None
    vsm_capabilities_mirrored: bool
    new_vtl_apic_enabled: bool
    reference_tsc_in_ram: bool
    start_higher_vtl: HvStatus
    entry_fills_return_registers: bool
    vina_reset_on_return: bool
    memory_intercept_gva_valid: bool
    memory_intercept_registers: bool
    protected_parameters_intercept: bool
    translate_other_partition: HvStatus
    translate_other_processor: HvStatus | None
    translate_higher_vtl: HvStatus
    translate_own_vtl: HvStatus | None

    @classmethod
    def named(cls, name: str) -> Self:
        """Return the set of that name.

        Raises:
            InputError: if there is no such set.
        """
        if name not in SET_NAMES:
            raise InputError(f"no reading set is named {name!r}; there are {', '.join(SET_NAMES)}")
        return cls(name=name, **{reading.name: reading.variants[name] for reading in READINGS})

    def changed(self, **decisions: Any) -> Self:
        """Return the set with some decisions taken otherwise.

        Raises:
            TypeError: for a decision that does not exist.
        """
        return replace(self, **decisions)

    def decisions(self) -> dict[str, Any]:
        """Return every decision by name."""
        return {item.name: getattr(self, item.name) for item in fields(self) if item.name != "name"}
