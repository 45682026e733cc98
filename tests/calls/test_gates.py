"""Every gate that a call declares: closed, it is refused; open, it is not refused that way."""

from collections.abc import Iterator

import pytest

from hypercall.abi.outcome import OutcomeKind
from hypercall.calls import HANDLERS
from hypercall.oracle import INPUT_GPA, OUTPUT_GPA, Answer, Oracle
from hypercall.partition.configuration import PartitionConfiguration, processors_in_order
from hypercall.partition.profiles import parse_privileges
from hypercall.tlfs.calls import DECLARATIONS
from hypercall.tlfs.declaration import CallClass, CallDeclaration, Family
from hypercall.tlfs.privileges import Privilege
from hypercall.tlfs.readings import SET_NAMES, Enforcement, ReadingSet
from hypercall.tlfs.status import HvStatus

SERVED = [
    each
    for each in DECLARATIONS
    if each.code in HANDLERS or each.call_class is CallClass.VTL_SWITCH
]


def make(declaration: CallDeclaration, like: str, privileges: str) -> Answer:
    configuration = PartitionConfiguration(
        processors=processors_in_order(2), memory_size=1 << 20, readings=ReadingSet.named(like)
    )
    oracle = Oracle(configuration=parse_privileges(privileges).apply(configuration))
    control = declaration.code | (1 << 32 if declaration.is_rep else 0)
    return oracle.call_registers(control, INPUT_GPA, OUTPUT_GPA)


def privileges() -> Iterator[tuple[CallDeclaration, Privilege]]:
    for declaration in SERVED:
        for privilege in Privilege.__members__.values():
            if privilege & declaration.privilege:
                yield declaration, privilege


def by_name(value: object) -> str:
    if isinstance(value, CallDeclaration):
        return value.name
    return str(getattr(value, "name", value))


@pytest.mark.parametrize("like", SET_NAMES)
@pytest.mark.parametrize(("declaration", "privilege"), list(privileges()), ids=by_name)
def test_without_its_privilege(
    declaration: CallDeclaration, privilege: Privilege, like: str
) -> None:
    answer = make(declaration, like, f"all,-{privilege.name}")
    if declaration.call_class is CallClass.VTL_SWITCH:
        assert answer.kind is OutcomeKind.UNDEFINED_OPCODE
        return
    readings = ReadingSet.named(like)
    expected = HvStatus.ACCESS_DENIED
    if declaration.family is Family.EXTENDED:
        expected = readings.missing_extended_privilege
    elif privilege in (
        Privilege.ACCESS_VSM,
        Privilege.ACCESS_VP_REGISTERS,
        Privilege.START_VIRTUAL_PROCESSOR,
    ):
        expected = readings.missing_vsm_privilege
    assert answer.status is expected


@pytest.mark.parametrize(
    "declaration", [each for each in SERVED if each.privilege], ids=lambda each: each.name
)
def test_with_its_privilege(declaration: CallDeclaration) -> None:
    answer = make(declaration, "hyperv", "all")
    if declaration.call_class is not CallClass.VTL_SWITCH:
        assert answer.status is not HvStatus.INVALID_HYPERCALL_CODE


@pytest.mark.parametrize(
    "declaration", [each for each in SERVED if each.capability], ids=lambda each: each.name
)
def test_without_its_capability(declaration: CallDeclaration) -> None:
    names = [
        member.name
        for member in type(declaration.capability).__members__.values()
        if member & declaration.capability
    ]
    assert names
    closed = ",".join(f"-{name}" for name in names)
    assert make(declaration, "hyperv", f"all,{closed}").status is HvStatus.INVALID_HYPERCALL_CODE


@pytest.mark.parametrize("like", SET_NAMES)
@pytest.mark.parametrize(
    "declaration", [each for each in SERVED if each.nested_feature], ids=lambda each: each.name
)
def test_without_its_nested_feature(declaration: CallDeclaration, like: str) -> None:
    closed = make(declaration, like, "all,-FlushGuestPhysicalAddress,-EnlightenedNptTlb")
    assert closed.status is ReadingSet.named(like).nested_unsupported
    opened = make(declaration, like, "all")
    assert opened.status is HvStatus.SUCCESS


@pytest.mark.parametrize("like", SET_NAMES)
@pytest.mark.parametrize(
    "declaration", [each for each in SERVED if each.recommendation], ids=lambda each: each.name
)
def test_without_its_recommendation(declaration: CallDeclaration, like: str) -> None:
    names = [
        member.name
        for member in type(declaration.recommendation).__members__.values()
        if member & declaration.recommendation
    ]
    gate = ReadingSet.named(like).recommendations is Enforcement.GATE
    for name in names:
        answer = make(declaration, like, f"all,-{name}")
        assert (answer.status is HvStatus.ACCESS_DENIED) is gate
    assert make(declaration, like, "all").status is not HvStatus.ACCESS_DENIED


@pytest.mark.parametrize("like", SET_NAMES)
@pytest.mark.parametrize(
    "declaration",
    [each for each in SERVED if each.family is Family.DEBUGGING],
    ids=lambda each: each.name,
)
def test_without_debugging(declaration: CallDeclaration, like: str) -> None:
    answer = make(declaration, like, "all,-GuestDebugging")
    assert answer.status is ReadingSet.named(like).debugging_unsupported
