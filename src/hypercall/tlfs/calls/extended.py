"""The extended calls, with bit 15 of the code set.

Sources: TLFS ``hypercalls/HvExtCall*``, TLFS 6.0b pages 28-29 and 92, Linux
``drivers/hv/hv_balloon.c``.
"""

from hypercall.tlfs.declaration import (
    CallClass,
    CallDeclaration,
    Family,
    FastForm,
    StatusCondition,
)
from hypercall.tlfs.layout import Field, FieldKind, Structure
from hypercall.tlfs.privileges import ExtendedCapability, Privilege
from hypercall.tlfs.status import HvStatus

_PRIVILEGE = Privilege.ENABLE_EXTENDED_HYPERCALLS
_DENIED = StatusCondition(
    HvStatus.ACCESS_DENIED, "no EnableExtendedHypercalls (Xen, OpenVMM: 2)", "KVM"
)
_NOT_ADVERTISED = StatusCondition(
    HvStatus.INVALID_HYPERCALL_CODE, "its capability is off", "inferred"
)
_HEAT_HEADER = Structure(
    "HV_MEMORY_HINT",
    (
        Field(
            "heat",
            0,
            8,
            FieldKind.HEX,
            note="bits 1:0 type (0 cold, 1 hot, 2 cold discard), 63:2 RsvdZ",
        ),
    ),
)
_GPA_RANGE = Structure("HV_GPA_PAGE_RANGE", (Field("gpa_range", 0, 8, FieldKind.GPA_RANGE),))

EXTENDED_CALLS = (
    CallDeclaration(
        code=0x8001,
        name="HvExtCallQueryCapabilities",
        family=Family.EXTENDED,
        call_class=CallClass.SIMPLE,
        section="TLFS hypercalls/HvExtCallQueryCapabilities",
        summary="Tells which extended calls there are.",
        output=Structure(
            "HV_OUTPUT_QUERY_CAPABILITIES",
            (Field("capabilities", 0, 8, FieldKind.FLAGS, ExtendedCapability),),
        ),
        privilege=_PRIVILEGE,
        statuses=(StatusCondition(HvStatus.SUCCESS, "done", "TLFS"), _DENIED),
        known=(
            "Capability bits 1 to 5 have other meanings in some headers; they are numbered here as"
            " in the TLFS, and bit 8 as in Linux."
        ),
    ),
    CallDeclaration(
        code=0x8002,
        name="HvExtCallGetBootZeroedMemory",
        family=Family.EXTENDED,
        call_class=CallClass.SIMPLE,
        section="TLFS hypercalls/HvExtCallGetBootZeroedMemory",
        summary="Lists memory that is known to be zero still.",
        output=Structure(
            "HV_OUTPUT_GET_BOOT_ZEROED_MEMORY",
            (
                Field("range_count", 0, 8, note="at most 255"),
                Field(
                    "ranges",
                    8,
                    4080,
                    FieldKind.ZEROED_RANGES,
                    note="pairs of u64: start GPA page, page count",
                ),
            ),
        ),
        fast=FastForm.NO,
        privilege=_PRIVILEGE,
        capability=ExtendedCapability.GET_BOOT_ZEROED_MEMORY,
        statuses=(StatusCondition(HvStatus.SUCCESS, "done", "TLFS"), _DENIED, _NOT_ADVERTISED),
        known="TLFS 6.0b p92 has another output of 16 bytes, one range; the web edition's is used.",
    ),
    CallDeclaration(
        code=0x8003,
        name="HvExtCallMemoryHeatHint",
        family=Family.EXTENDED,
        call_class=CallClass.REP,
        section="TLFS hypercalls/overview, name and code only",
        summary="Hints which memory is hot, cold, or may be dropped.",
        header=_HEAT_HEADER,
        element=_GPA_RANGE,
        fast=FastForm.NO,
        privilege=_PRIVILEGE,
        capability=(
            ExtendedCapability.MEMORY_HEAT_HINT | ExtendedCapability.MEMORY_COLD_DISCARD_HINT
        ),
        statuses=(
            StatusCondition(HvStatus.SUCCESS, "done", "Linux"),
            StatusCondition(
                HvStatus.INVALID_PARAMETER,
                "an unknown type, or a range that the host does not take",
                "Linux; a log of a real host",
            ),
            StatusCondition(
                HvStatus.ACCESS_DENIED, "a page to discard that a higher VTL protects", "inferred"
            ),
            _DENIED,
            _NOT_ADVERTISED,
        ),
        known=(
            "The TLFS lists it as simple and says no more. Linux makes a rep call of it, and a log"
            " of a real host shows reps completed beside the status, so a rep call it is. Linux"
            " asks for capability bit 8 before it sends a cold discard."
        ),
    ),
    CallDeclaration(
        code=0x8004,
        name="HvExtCallEpfSetup",
        family=Family.EXTENDED,
        call_class=CallClass.SIMPLE,
        section="TLFS hypercalls/overview, name and code only",
        summary="Sets up enlightened page faults and their completion queue.",
        header=Structure(
            "HV_EXT_INPUT_EPF_SETUP",
            (
                Field("version", 0, 4, note="1"),
                Field("mode", 4, 4, note="0 is NT"),
                Field("completion_queue_gpa_page", 8, 8, FieldKind.GPA_PAGE),
                Field("page_count", 16, 8),
            ),
        ),
        output=Structure("HV_EXT_OUTPUT_EPF_SETUP", (Field("completion_queue_page_count", 0, 8),)),
        fast=FastForm.NO,
        privilege=_PRIVILEGE,
        capability=ExtendedCapability.EPF_SETUP,
        statuses=(
            StatusCondition(HvStatus.SUCCESS, "set up", "inferred"),
            StatusCondition(HvStatus.INVALID_PARAMETER, "a bad version, mode or queue", "inferred"),
            _DENIED,
            _NOT_ADVERTISED,
        ),
        known=(
            "Name, code and capability bit are documented; the layout is a header's, the meaning"
            " is read from its field names, the statuses are inferred."
        ),
    ),
    CallDeclaration(
        code=0x8006,
        name="HvExtCallMemoryHeatHintAsync",
        family=Family.EXTENDED,
        call_class=CallClass.REP,
        section="TLFS hypercalls/overview, name and code only",
        summary="Hints like HvExtCallMemoryHeatHint without waiting for it to be done.",
        header=_HEAT_HEADER,
        element=_GPA_RANGE,
        fast=FastForm.NO,
        privilege=_PRIVILEGE,
        capability=ExtendedCapability.MEMORY_HEAT_HINT_ASYNC,
        statuses=(
            StatusCondition(HvStatus.CALL_PENDING, "taken, and not done yet", "inferred"),
            StatusCondition(HvStatus.INVALID_PARAMETER, "as HvExtCallMemoryHeatHint", "inferred"),
            StatusCondition(HvStatus.ACCESS_DENIED, "as HvExtCallMemoryHeatHint", "inferred"),
            _DENIED,
            _NOT_ADVERTISED,
        ),
        known=(
            "Only name, code and capability bit are public. Everything else is inferred from"
            " HvExtCallMemoryHeatHint."
        ),
    ),
)
