"""The call that translates virtual addresses, most often those of a lower VTL."""

from hypercall.abi.reply import Reply
from hypercall.calls.registration import serves
from hypercall.calls.target_vtl import input_vtl_status
from hypercall.partition import gva_translation
from hypercall.partition.virtual_processor import VirtualProcessor, VirtualProcessorVtl
from hypercall.tlfs.call_flags import TranslateGvaFlags
from hypercall.tlfs.calls import DECLARATIONS, Call
from hypercall.tlfs.identifiers import PAGE_SHIFT
from hypercall.tlfs.privileges import Feature
from hypercall.tlfs.readings import ReservedFields
from hypercall.tlfs.registers import SECURE_CONFIG_TLB_LOCKED
from hypercall.tlfs.status import HvStatus

_F = TranslateGvaFlags
_OFFERED = (
    _F.VALIDATE_READ
    | _F.VALIDATE_WRITE
    | _F.VALIDATE_EXECUTE
    | _F.PRIVILEGE_EXEMPT
    | _F.SET_PAGE_TABLE_BITS
    | _F.TLB_FLUSH_INHIBIT
)
_OFFERED_BY_CPUID = _F.SUPERVISOR_ACCESS | _F.USER_ACCESS | _F.ENFORCE_SMAP | _F.OVERRIDE_SMAP
_EXCLUSIVE = (
    _F.SUPERVISOR_ACCESS | _F.USER_ACCESS,
    _F.ENFORCE_SMAP | _F.OVERRIDE_SMAP,
)
_PAGE_NUMBER_BITS = 64 - PAGE_SHIFT


@serves(Call.TRANSLATE_VIRTUAL_ADDRESS)
def translate_virtual_address(
    vp: VirtualProcessor,
    partition_id: int,
    vp_index: int,
    control_flags: int,
    input_vtl: int,
    gva_page: int,
) -> Reply | HvStatus:
    """Translate an address by the page tables of a VTL of a processor.

    Whether there is a translation is told in the output; the status is about the call itself.
    """
    target = _target(vp, partition_id, vp_index, input_vtl)
    if isinstance(target, HvStatus):
        return target
    flags = TranslateGvaFlags(control_flags)
    if not _allowed(vp, flags) or gva_page >> _PAGE_NUMBER_BITS:
        return HvStatus.INVALID_PARAMETER
    if flags & _F.TLB_FLUSH_INHIBIT and not _lock_translations(vp, target):
        return HvStatus.INVALID_PARAMETER
    found = gva_translation.translate(target, gva_page << PAGE_SHIFT, flags)
    output = DECLARATIONS.by_code[Call.TRANSLATE_VIRTUAL_ADDRESS].output
    assert output is not None, "the call is declared with an output"
    return Reply(
        HvStatus.SUCCESS,
        output.pack(
            result_code=found.code,
            cache_type=found.cache_type,
            overlay_page=found.overlay,
            gpa_page=found.gpa_page,
        ),
    )


def _target(
    vp: VirtualProcessor, partition_id: int, vp_index: int, input_vtl: int
) -> VirtualProcessorVtl | HvStatus:
    """Return the VTL of the VP whose tables are meant, or why there is none."""
    partition = vp.partition
    readings = partition.readings
    if not partition.is_own_id(partition_id):
        return readings.translate_other_partition
    target = partition.find_vp(vp_index, vp)
    if target is not vp and readings.translate_other_processor is not None:
        return readings.translate_other_processor
    if target is None:
        return HvStatus.INVALID_VP_INDEX
    status, vtl = input_vtl_status(vp, input_vtl, above=readings.translate_higher_vtl)
    if status:
        return status
    if vtl == vp.active_vtl and readings.translate_own_vtl is not None:
        return readings.translate_own_vtl
    state = target.vtls.get(vtl)
    return HvStatus.INVALID_VTL_STATE if state is None else state


def _allowed(vp: VirtualProcessor, flags: TranslateGvaFlags) -> bool:
    """Return whether the flags mean something here."""
    partition = vp.partition
    offered = _OFFERED
    if partition.configuration.features & Feature.TRANSLATE_GVA_FLAGS:
        offered |= _OFFERED_BY_CPUID
    if int(flags) & ~int(offered) and partition.readings.reserved_fields is ReservedFields.REFUSE:
        return False
    return not any(flags & pair == pair for pair in _EXCLUSIVE)


def _lock_translations(vp: VirtualProcessor, target: VirtualProcessorVtl) -> bool:
    """Lock the TLB of a lower VTL of the caller until its own VTL returns; False if it is none."""
    if target.vp is not vp or target.vtl >= vp.active_vtl:
        return False
    config = vp.current.secure.config
    config[target.vtl] = SECURE_CONFIG_TLB_LOCKED.set(config.get(target.vtl, 0), 1)
    return True
