"""The registers of Virtual Secure Mode by HV_REGISTER_NAME (TLFS ``vsm``)."""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from hypercall.partition.hypercall_page import (
    VTL_CALL_OFFSET_32,
    VTL_CALL_OFFSET_64,
    VTL_RETURN_OFFSET_32,
    VTL_RETURN_OFFSET_64,
)
from hypercall.partition.register_access import RegisterAccessError, RegisterWait
from hypercall.partition.register_rules import EFER_LONG_MODE_ACTIVE
from hypercall.partition.vina import notify_of_lower_interrupts
from hypercall.partition.vtl_protections import (
    given_permissions,
    includes_read_and_write,
    valid_combination,
)
from hypercall.tlfs import registers as fields
from hypercall.tlfs.bits import defined_mask
from hypercall.tlfs.registers import RegisterName
from hypercall.tlfs.status import HvStatus

if TYPE_CHECKING:
    from hypercall.partition.virtual_processor import VirtualProcessorVtl

_R = RegisterName

_CONFIG_DEFINED = defined_mask(
    fields.PARTITION_CONFIG_ENABLE_VTL_PROTECTION,
    fields.PARTITION_CONFIG_DEFAULT_VTL_PROTECTION_MASK,
    fields.PARTITION_CONFIG_ZERO_MEMORY_ON_RESET,
    fields.PARTITION_CONFIG_DENY_LOWER_VTL_STARTUP,
)
_SECURE_CONFIG_DEFINED = defined_mask(
    fields.SECURE_CONFIG_MBEC_ENABLED, fields.SECURE_CONFIG_TLB_LOCKED
)
_VINA_DEFINED = defined_mask(
    fields.VINA_VECTOR, fields.VINA_ENABLED, fields.VINA_AUTO_RESET, fields.VINA_AUTO_EOI
)
_INTERCEPT_CONTROL_DEFINED = (1 << 25) - 1
_FIRST_VECTOR = 16
_WAIT = 1


class VsmRegister(NamedTuple):
    """How a register of a VTL of a VP is read and written; None says that it cannot be."""

    read: "Callable[[VirtualProcessorVtl], int]"
    write: "Callable[[VirtualProcessorVtl, int], None] | None" = None


def _bad_value() -> RegisterAccessError:
    return RegisterAccessError(HvStatus.INVALID_REGISTER_VALUE)


def _needs_lower_vtl(state: "VirtualProcessorVtl") -> None:
    """Refuse the instance of VTL 0 of a register that is about lower VTLs."""
    if not state.vtl:
        raise RegisterAccessError(HvStatus.INVALID_PARAMETER)


# --- what there is and what is enabled -----------------------------------------------------------


def _read_code_page_offsets(state: "VirtualProcessorVtl") -> int:
    efer = state.partition.effects.read_register(state.vp, state.vtl, _R.EFER)
    if efer & EFER_LONG_MODE_ACTIVE:
        call, back = VTL_CALL_OFFSET_64, VTL_RETURN_OFFSET_64
    else:
        call, back = VTL_CALL_OFFSET_32, VTL_RETURN_OFFSET_32
    return fields.CODE_PAGE_VTL_RETURN_OFFSET.set(
        fields.CODE_PAGE_VTL_CALL_OFFSET.set(0, call), back
    )


def _read_vp_status(state: "VirtualProcessorVtl") -> int:
    vp = state.vp
    value = fields.VP_STATUS_ACTIVE_VTL.set(0, vp.active_vtl)
    mbec = state.partition.vsm.mbec_enabled(vp, vp.active_vtl)
    value = fields.VP_STATUS_ACTIVE_MBEC_ENABLED.set(value, int(mbec))
    return fields.VP_STATUS_ENABLED_VTL_SET.set(value, sum(1 << vtl for vtl in vp.vtls))


def _read_partition_status(state: "VirtualProcessorVtl") -> int:
    partition = state.partition
    maximum = partition.configuration.vtl_count - 1
    enabled = sum(1 << vtl for vtl in partition.vtls)
    mbec = sum(1 << vtl for vtl, each in partition.vtls.items() if each.mbec)
    value = fields.PARTITION_STATUS_ENABLED_VTL_SET.set(0, enabled)
    value = fields.PARTITION_STATUS_MAXIMUM_VTL.set(value, maximum)
    return fields.PARTITION_STATUS_MBEC_ENABLED_VTL_SET.set(value, mbec)


def _read_capabilities(state: "VirtualProcessorVtl") -> int:
    configuration = state.partition.configuration
    value = fields.CAPABILITIES_DR6_SHARED.set(0, int(configuration.dr6_shared))
    value = fields.CAPABILITIES_DENY_LOWER_VTL_STARTUP.set(value, 1)
    mask = (1 << configuration.vtl_count) - 2 if configuration.mbec else 0
    value = fields.CAPABILITIES_MBEC_VTL_MASK.set(value, mask)
    if configuration.readings.vsm_capabilities_mirrored:
        # Fields change places; the number in the mask stays as it is.
        value = (
            fields.CAPABILITIES_DR6_SHARED.get(value) << 63
            | mask << 47
            | fields.CAPABILITIES_DENY_LOWER_VTL_STARTUP.get(value) << 46
        )
    return value


# --- what a VTL configures ------------------------------------------------------------------------


def _read_partition_config(state: "VirtualProcessorVtl") -> int:
    _needs_lower_vtl(state)
    return state.partition.vtls[state.vtl].config


def _write_partition_config(state: "VirtualProcessorVtl", value: int) -> None:
    """Set VsmPartitionConfig.

    Once protections are enabled they stay so, and the default mask stays as it is.
    """
    _needs_lower_vtl(state)
    shared = state.partition.vtls[state.vtl]
    enable = fields.PARTITION_CONFIG_ENABLE_VTL_PROTECTION
    mask_field = fields.PARTITION_CONFIG_DEFAULT_VTL_PROTECTION_MASK
    readings = state.partition.readings
    if value & ~_CONFIG_DEFINED:
        raise _bad_value()
    if enable.get(shared.config) and mask_field.get(value) != mask_field.get(shared.config):
        refusal = readings.default_protection_change
        if refusal is not None:
            raise RegisterAccessError(refusal)
        value = mask_field.set(value, mask_field.get(shared.config))
    mask = given_permissions(
        mask_field.get(value), readings.protection_execute_bits, mbec=shared.mbec
    )
    if enable.get(shared.config):
        if not enable.get(value):
            raise _bad_value()
    elif not includes_read_and_write(mask) or not valid_combination(mask, mbec=shared.mbec):
        raise _bad_value()
    was_enabled = enable.get(shared.config)
    shared.config = value
    if enable.get(value) and not was_enabled:
        state.partition.vsm.set_default_protection(state.vtl, mask)


def _read_secure_config(lower: int, state: "VirtualProcessorVtl") -> int:
    _check_lower(lower, state)
    return state.secure.config.get(lower, 0)


def _write_secure_config(lower: int, state: "VirtualProcessorVtl", value: int) -> None:
    _check_lower(lower, state)
    mbec = fields.SECURE_CONFIG_MBEC_ENABLED
    if value & ~_SECURE_CONFIG_DEFINED:
        raise _bad_value()
    if mbec.get(value) and not state.partition.vtls[state.vtl].mbec:
        raise _bad_value()
    old = state.secure.config.get(lower, 0)
    state.secure.config[lower] = value
    if mbec.get(old) != mbec.get(value):
        state.partition.effects.protection_changed(lower, None)
    if old & ~value & fields.SECURE_CONFIG_TLB_LOCKED.mask:
        state.partition.vsm.wake_waiters()


def _check_lower(lower: int, state: "VirtualProcessorVtl") -> None:
    """Refuse a VTL that is not below the one that configures it, or not enabled on the VP."""
    if lower >= state.vtl or lower not in state.vp.vtls:
        raise RegisterAccessError(HvStatus.INVALID_PARAMETER)


def _read_vina(state: "VirtualProcessorVtl") -> int:
    _needs_lower_vtl(state)
    return state.secure.vina


def _write_vina(state: "VirtualProcessorVtl", value: int) -> None:
    _needs_lower_vtl(state)
    enabled = fields.VINA_ENABLED.get(value)
    if value & ~_VINA_DEFINED or (enabled and fields.VINA_VECTOR.get(value) < _FIRST_VECTOR):
        raise _bad_value()
    state.secure.write_vina(value)
    if state.vp.active_vtl == state.vtl:
        notify_of_lower_interrupts(state.vp)


def _write_wait_for_tlb_lock(state: "VirtualProcessorVtl", value: int) -> None:
    """Wait until no other processor holds the TLB of a lower VTL locked (inferred)."""
    if value & ~_WAIT:
        raise _bad_value()
    if value and state.partition.vsm.must_wait_for_locks(state):
        raise RegisterWait


# --- what a VTL intercepts ------------------------------------------------------------------------


def _intercept_owner(state: "VirtualProcessorVtl") -> None:
    """Refuse VTL 0, which has nobody whose accesses it could intercept (OpenVMM)."""
    if not state.vtl:
        raise RegisterAccessError(HvStatus.ACCESS_DENIED)


def _read_intercept(name: str, state: "VirtualProcessorVtl") -> int:
    _intercept_owner(state)
    value: int = getattr(state.secure, name)
    return value


def _write_intercept(name: str, state: "VirtualProcessorVtl", value: int) -> None:
    _intercept_owner(state)
    if name == "intercept_control" and value & ~_INTERCEPT_CONTROL_DEFINED:
        raise _bad_value()
    setattr(state.secure, name, value)
    if name == "intercept_control":
        state.partition.vsm.intercepts_changed(state.vp)


def _intercept_register(name: str) -> VsmRegister:
    return VsmRegister(partial(_read_intercept, name), partial(_write_intercept, name))


def _secure_config_register(lower: int) -> VsmRegister:
    return VsmRegister(partial(_read_secure_config, lower), partial(_write_secure_config, lower))


VSM_REGISTERS: Mapping[int, VsmRegister] = MappingProxyType(
    {
        _R.VSM_CODE_PAGE_OFFSETS: VsmRegister(_read_code_page_offsets),
        _R.VSM_VP_STATUS: VsmRegister(_read_vp_status),
        _R.VSM_PARTITION_STATUS: VsmRegister(_read_partition_status),
        _R.VSM_CAPABILITIES: VsmRegister(_read_capabilities),
        _R.VSM_PARTITION_CONFIG: VsmRegister(_read_partition_config, _write_partition_config),
        _R.VSM_VINA: VsmRegister(_read_vina, _write_vina),
        _R.VSM_VP_WAIT_FOR_TLB_LOCK: VsmRegister(lambda state: 0, _write_wait_for_tlb_lock),
        _R.CR_INTERCEPT_CONTROL: _intercept_register("intercept_control"),
        _R.CR_INTERCEPT_CR0_MASK: _intercept_register("cr0_mask"),
        _R.CR_INTERCEPT_CR4_MASK: _intercept_register("cr4_mask"),
        _R.CR_INTERCEPT_IA32_MISC_ENABLE_MASK: _intercept_register("misc_enable_mask"),
        **{
            _R.VSM_VP_SECURE_CONFIG_VTL0 + lower: _secure_config_register(lower)
            for lower in range(_R.VSM_VP_SECURE_CONFIG_VTL14 - _R.VSM_VP_SECURE_CONFIG_VTL0 + 1)
        },
    }
)
"""The registers of Virtual Secure Mode by name; they need the privilege AccessVsm."""
