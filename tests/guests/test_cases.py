"""The conformance cases that VTL 0 code can show, from real callers; the ids are those of the list.

An id may come several times, with a letter, for the readings of several hypervisors.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.guests.assembly import call
from tests.guests.contexts import words_of
from tests.guests.hypercalls import Caller, Row
from tests.guests.layout import INPUT as P
from tests.guests.layout import MESSAGES
from tests.guests.layout import OUTPUT as O

from hypercall.partition.configuration import (
    DEFAULT_FEATURES,
    DEFAULT_PRIVILEGES,
    PartitionConfiguration,
)
from hypercall.tlfs.privileges import (
    ExtendedCapability,
    Feature,
    NestedFeature,
    Privilege,
    Recommendation,
)
from hypercall.tlfs.readings import ReadingSet
from hypercall.tlfs.status import HvStatus

ALL = -1
ALL_ONES = (1 << 64) - 1
CAPABILITIES = int(PartitionConfiguration().extended_capabilities)
HOLE = 0xC000_0000
PARTITION = "partition"


def without(privilege: Privilege) -> dict[str, Any]:
    return {PARTITION: {"privileges": DEFAULT_PRIVILEGES & ~privilege}}


def kvm(**partition: Any) -> dict[str, Any]:
    return {"like": "kvm", PARTITION: partition}


XEN = {"like": "xen"}
KVM = {"like": "kvm"}
OPENVMM = {"like": "openvmm"}
FOUR = {"cpus": 4}


@dataclass(frozen=True)
class Case:
    """One case: what runs before a call, its result, and what the output page holds then."""

    name: str
    row: Row
    result: int
    configuration: Mapping[str, Any] = field(default_factory=dict)
    output: Sequence[int] = ()
    before: str = ""


def memory(name: str, control: int, words: Sequence[int], result: int, **rest: Any) -> Case:
    return Case(name, Row(control, words), result, **rest)


def fast(
    name: str, control: int, rdx: int, r8: int, result: int, xmm: Sequence[int] = (), **rest: Any
) -> Case:
    return Case(name, Row(control, input=rdx, output=r8, xmm=xmm), result, **rest)


NO_MBEC = {PARTITION: {"mbec": False}}
ENABLE_VTL_1 = call(0x1000D, ALL, 1)
NO_DEBUGGING = {PARTITION: {"features": DEFAULT_FEATURES & ~Feature.GUEST_DEBUGGING}}
NESTED = {PARTITION: {"nested_features": NestedFeature.FLUSH_GUEST_PHYSICAL_ADDRESS}}
EPT_POINTER = 0x600000 | 0x1E
CAPABILITY = "extended_capabilities"
OLDER_HOST = {
    PARTITION: {
        "readings": ReadingSet.named("hyperv").changed(
            memory_hint_small_range=HvStatus.INVALID_PARAMETER
        )
    }
}
NO_RECOMMENDATIONS = kvm(recommendations=Recommendation(0))
MESSAGE = (0x10, 0x8_1234_5678, 0x1111_1111_1111_1111)
LIST_509 = (0, 3, 0, *range(0x400000, 0x400000 + 509 * 4096, 4096))

CASES = (
    memory("A017", 0xBEEF, (), 2),
    Case("A018", Row(0x1_0000_009A, (), P + 4), 4),
    Case("A019", Row(0x1_0000_009A, (ALL, 0, 0), P, O + 4), 4),
    Case("A020", Row(0xB, (), P + 0xFF8), 4),
    Case("A020-openvmm", Row(0xB, (), P + 0xFF8), 3, OPENVMM),
    Case("A021", Row(0x4_0000_009A, (ALL, 0, 0, 0), P, O + 0xFF8), 4),
    Case("A021-openvmm", Row(0x4_0000_009A, (ALL, 0, 0, 0), P, O + 0xFF8), 3, OPENVMM),
    memory("A031", 0x5C, (0, 0, 0), 6, configuration=without(Privilege.POST_MESSAGES)),
    memory("A032", 0x5C, MESSAGE, 3, configuration=KVM),
    memory("A033", 0x5D, (0,), 6, configuration=without(Privilege.SIGNAL_EVENTS)),
    memory("A037", 0x2, (0, 0, 0), 6, configuration=NO_RECOMMENDATIONS),
    memory("A039", 0x13, (0, 0, 0, 0), 6, configuration=NO_RECOMMENDATIONS),
    memory("A041", 0xB, (0, 0), 6, configuration=NO_RECOMMENDATIONS),
    memory("A043", 0x15, (0, 0, 0), 0, configuration=KVM),
    memory("A043-hyperv", 0x15, (0, 0, 0), 5),
    fast("A044", 0x10008, 0, 0, 6, configuration=KVM),
    memory("A048", 0x8001, (), 6, configuration=without(Privilege.ENABLE_EXTENDED_HYPERCALLS)),
    fast("A049", 0x18001, 0, 0, 5, configuration=KVM),
    memory("A050", 0x8001, (), 0, output=(CAPABILITIES,)),
    fast("A052", 0x1000B, 0xFE, 1 << 2, 0, configuration=FOUR),
    memory("A053", 0x2_0015, (0xFE, 0, 1, 4), 0, configuration=FOUR),
    fast("A056", 0x3_0015, 0xFE, 0, 0, (2, 2), configuration=FOUR),
    memory("A057", 0x4_0015, (0xFE, 0, 3, 4, 2), 0, configuration=FOUR),
    memory("A059", 0x15, (0xFE, 1, 0), 0, configuration=FOUR),
    memory("A062", 0x2, (0, 3, 0), 0),
    memory("A064", 0x1_0000_0003, (0, 3, 0, 0x400000), 0x1_0000_0000),
    memory("A067", 0x1_0002_0014, (0, 2, 0, 2, 2, 0x400000), 0x1_0000_0000),
    memory("A068", 0x1_0000_0014, (0, 2, 1, 0, 0x400000), 0x1_0000_0000),
    fast("A069", 0x10002, 0, 2, 0, (4, 0)),
    fast("A070", 0x1_0001_0003, 0, 2, 0x1_0000_0000, (4, 0x400000)),
    fast("A071", 0x3_0013, 0, 2, 0, (0, 2, 2, 0)),
    fast("A082", 0x1000D, 42, 1, 0xD),
    fast("A084", 0x1000D, ALL_ONES, 3, 5),
    fast("A084-openvmm", 0x1000D, ALL_ONES, 3, 6, configuration=OPENVMM),
    fast("A085", 0x1000D, ALL_ONES, 0x101, 5, configuration=NO_MBEC),
    fast("A086", 0x1000D, ALL_ONES, 1, 0),
    memory("A087", 0xF, (42, 1 << 32, *words_of()), 0xD, before=ENABLE_VTL_1),
    memory("A088", 0xF, (ALL, 0x1_FFFF_FFFF, *words_of()), 0xE, before=ENABLE_VTL_1),
    memory("A089", 0xF, (ALL, 0, *words_of()), 5, before=ENABLE_VTL_1),
    memory("A114", 0xF, (ALL, 1 << 32, *words_of()), 0x51),
    memory("B003", 0x0800_0002, (0, 3, 0), 3),
    memory("B005", 0x1000_0000_0000_0002, (0, 3, 0), 3),
    memory("B006", 0x8000_0002, (0, 3, 0), 3),
    memory("B006-openvmm", 0x8000_0002, (0, 3, 0), 0, configuration=OPENVMM),
    Case("B018", Row(0x10002, input=0, output=3, xmm=(0, 0, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9)), 0),
    Case("B020", Row(0x2, (0, 3, 0), P, 0x123), 0),
    Case("B021", Row(0x2, (), HOLE), 3),
    Case("B022", Row(0x5C, (), P + 4), 6, without(Privilege.POST_MESSAGES)),
    memory("B034", 0x2, (0x1000, 0x20, 1), 5),
    memory("B034-kvm", 0x2, (0x1000, 0x20, 1), 0, configuration=KVM),
    memory("B036", 0x2, (1 << 52, 1, 0), 5),
    memory("B037", 0x2, (-1, 3, 0), 0),
    memory("B038", 0x2, (0x1000, 0, 1 << 63), 0, configuration=FOUR),
    fast("B039", 0x10002, 0x1000, 0, 5, (1, 0), configuration=XEN),
    memory("B040", 0x2, (0, 3, 0), 0),
    memory("B043", 0x1_0000_0003, (0, 3, 0, 0x8000_0000_0000), 0x1_0000_0000),
    memory("B045", 0x1_0000_0003, (0, 0xB, 0, 0x400800), 0x1_0000_0000),
    memory("B046", 0x1_0000_0003, (0, 0xB, 0, 0x4000_1800), 0x1_0000_0000),
    memory("B047", 0x1_0002_0000_0003, (0, 3, 0, 0x1000, 0x2000), 3, configuration=KVM),
    memory("B047-hyperv", 0x1_0002_0000_0003, (0, 3, 0, 0x1000, 0x2000), 0x2_0000_0000),
    memory("B048", 0x1FD_0000_0003, LIST_509, 0x1FD_0000_0000),
    memory("B052", 0x1_0000_0008, (), 3),
    fast("B053", 0x10008, 1, 0, 0),
    memory("B054", 0xB, (0x0F, 1), 5),
    memory("B054-kvm", 0xB, (0x0F, 1), 3, configuration=KVM),
    memory("B055", 0xB, (0x10, 1), 0),
    memory("B056", 0xB, (0x100, 1), 5),
    memory("B056-kvm", 0xB, (0x100, 1), 3, configuration=KVM),
    memory("B057", 0xB, (0xFE, 0), 0),
    memory("B058", 0xB, (0x1_0000_0000_00FE, 1), 5),
    memory("B060", 0xB, (0x20_0000_00FE, 1), 5),
    memory("B062", 0xB, (0x01_0000_00FE, 1), 0),
    fast("B063", 0x1000B, 0x1_0000_00FE, 1, 3, configuration=KVM),
    fast("B063-xen", 0x1000B, 0x1_0000_00FE, 1, 5, configuration=XEN),
    fast("B078", 0x1000D, ALL_ONES, 1, 0x51, before=ENABLE_VTL_1),
    memory("B087", 0xF, (ALL, 1 << 32, *words_of()), 0x51),
    memory("B088", 0xF, (ALL, 0x11 << 32, *words_of()), 5),
    memory("B106", 0x13, (0, 2, 0, 1, 1), 5),
    memory("B106-kvm", 0x13, (0, 2, 0, 1, 1), 3, configuration=KVM),
    memory("B107", 0x2_0013, (0, 2, 2, 1, 1), 5),
    memory("B107-kvm", 0x2_0013, (0, 2, 2, 1, 1), 0, configuration=KVM),
    memory("B108", 0x13, (0, 2, 1, 0), 0),
    memory("B108-openvmm", 0x13, (0, 2, 1, 0), 5, configuration=OPENVMM),
    memory("B109", 0x13, (0, 2, 0, 0), 5),
    memory("B109-kvm", 0x13, (0, 2, 0, 0), 0, configuration=KVM),
    memory("B110", 0x13, (0, 3, 0, 0), 0),
    fast("B112", 0xA_0003_0014, 0, 2, 3),
    fast("B113", 0x3_0015, 0xFE, 0, 5, (1, 1), configuration=XEN),
    memory("B114", 0x2_0015, (8, 0, 1, 1), 5),
    memory("B114-kvm", 0x2_0015, (8, 0, 1, 1), 3, configuration=KVM),
    memory("B115", 0x5C, (0x10, 0xF1_1234_5678, *[0x11] * 30), 5),
    fast("B123", 0x1005C, 0x10, 0x8_1234_5678, 3),
    Case("B124", Row(0x5C, (), P + 1), 4),
    memory("B142", 0x99, (-1, 0, *words_of()), 0xE),
    memory(
        "B146",
        0x99,
        (-1, 1, *words_of(cr0=0x8000_0010)),
        0x50,
        configuration=FOUR,
    ),
    memory("B148", 0x1_0000_0099, (-1, 1, *words_of()), 3, configuration=FOUR),
    memory(
        "B149",
        0x2_0000_009A,
        (-1, 0, 3 | 0xDEAD << 32),
        0x1_0000_0005,
        configuration=FOUR,
        output=(3,),
    ),
    memory("B151", 0x9A, (-1, 0, 0), 3),
    memory("B153", 0x1_0000_009A, (-1, 1, 0), 6),
    memory(
        "B154",
        0x2_0000_009A,
        (-1, 0, 2 | 1 << 32),
        0x2_0000_0000,
        configuration=FOUR,
        output=(2 | 1 << 32,),
    ),
    memory(
        "A050-other",
        0x8001,
        (),
        0,
        configuration={PARTITION: {CAPABILITY: ExtendedCapability(0xB)}},
        output=(0xB,),
    ),
    memory("B126", 0x69, (0xFF9, 0), 5),
    memory("B127", 0x69, (0,), 0, output=(0,)),
    fast("B130", 0x10069, 0, 0, 5, configuration=KVM),
    memory("B131", 0x69, (0,), 0x1E, configuration=NO_DEBUGGING),
    memory("B131-kvm", 0x69, (0,), 2, configuration=KVM | NO_DEBUGGING),
    memory("B133", 0x6A, (0x2_0000_0100, 0), 0x1C),
    memory("B133-kvm", 0x6A, (0x2_0000_0100, 0), 0x1B, configuration=KVM, output=(0x100 << 32,)),
    memory("B135", 0x6A, (0x1_0000_0100, 1_000_000), 0x1B),
    memory("B136", 0x6A, (0x100, 0), 8, configuration={PARTITION: {"debug_channel_id": 0}}),
    fast("B137", 0x1006B, 0, 0, 5),
    fast("B138", 0x1006B, 3, 0, 0x1B),
    memory("B140", 0x6B, (0,), 0, configuration=KVM, output=(0, 0, 0)),
    fast("B156", 0x100AF, 0x1000, 0, 0x15),
    fast("B156-kvm", 0x100AF, 0x1000, 0, 2, configuration=KVM),
    memory("B157", 0xAF, (EPT_POINTER, 0), 0, configuration=NESTED),
    memory(
        "B158",
        0x3_0000_00B0,
        (EPT_POINTER, 0, 0x200000, 0x400001, 0x800000),
        0x3_0000_0000,
        configuration=NESTED,
    ),
    memory("B159", 0x1_0000_00B0, (EPT_POINTER, 0, 0x2007FF), 0x1_0000_0000, configuration=NESTED),
    memory("B166", 0x1_0000_8003, (2, 0x600000), 5, configuration=OLDER_HOST),
    memory("B166-newer", 0x1_0000_8003, (2, 0x600000), 0x1_0000_0000),
    memory("B167", 0x1FF_0000_8003, (0, *[0x600000] * 511), 0x1FF_0000_0000),
    memory("B169", 0x8004, (2, 0x1000, 1), 5),
    Case("B164", Row(0x8002, (), P, O + 0x10), 4),
    memory(
        "B170",
        0x8006,
        (0, 0x4000_0800),
        2,
        configuration={PARTITION: {"extended_capabilities": ExtendedCapability(0)}},
    ),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_case(case: Case) -> None:
    settings = dict(case.configuration)
    cpus = settings.pop("cpus", 1)
    calls = Caller(before=case.before, cpus=cpus, configuration=settings).make(case.row)
    assert calls.only.result == case.result
    assert calls.output(len(case.output)) == list(case.output)


# The order of checks and the rule that memory decides nothing must hold for 32-bit callers too.
_OF_32_BIT_CALLERS = [
    case for case in CASES if case.row.input >> 32 == 0 and case.row.output >> 32 == 0
]


@pytest.mark.parametrize("case", _OF_32_BIT_CALLERS, ids=lambda case: case.name)
def test_case_of_a_32_bit_caller(case: Case) -> None:
    settings = dict(case.configuration)
    cpus = settings.pop("cpus", 1)
    calls = Caller("32", before=case.before, cpus=cpus, configuration=settings).make(case.row)
    assert calls.only.result == case.result
    assert calls.output(len(case.output)) == list(case.output)


def test_the_words_of_a_call_go_where_the_case_says() -> None:
    calls = Caller().make(Row(0x5C, MESSAGE))
    assert calls.only.status == 0x12  # INVALID_CONNECTION_ID: connection 0x10 is read from it
    assert calls.run.memory(P, 24) == struct.pack("<3Q", *MESSAGE)
    assert MESSAGES > P


def test_input_in_xmm_without_the_feature_is_an_undefined_opcode() -> None:
    features = Feature(0)
    caller = Caller(configuration={PARTITION: {"features": features}})
    two_registers, in_xmm = caller.make(
        Row(0x1000B, input=0x40, output=1), Row(0x10002, input=0, output=3)
    ).answers
    assert two_registers.result == 0
    assert in_xmm.vector == 6
