"""Every status of every call's table is got by a guest, and no guest gets another."""

import random
from collections import Counter

import pytest
from tests.calls.conftest import INPUT as INPUT_GPA
from tests.calls.conftest import OUTPUT as OUTPUT_GPA
from tests.calls.conftest import Guest
from tests.calls.trust_levels import CONTEXT_64, enable, enter, protect
from tests.guests.hypercalls import Caller, Row
from tests.guests.layout import INPUT, OUTPUT
from tests.guests.statuses import SCENARIOS, Scenario

from hypercall.abi.outcome import OutcomeKind
from hypercall.partition.configuration import PartitionConfiguration, processors_in_order
from hypercall.partition.device_interrupts import InterruptEntry
from hypercall.partition.ports import SintTarget
from hypercall.partition.profiles import parse_privileges
from hypercall.partition.standalone import standalone_partition
from hypercall.tlfs.calls import DECLARATIONS
from hypercall.tlfs.declaration import CallClass, CallDeclaration
from hypercall.tlfs.layout import Field, FieldKind, Structure
from hypercall.tlfs.status import HvStatus

COMMON = {
    HvStatus.INVALID_HYPERCALL_CODE,
    HvStatus.INVALID_HYPERCALL_INPUT,
    HvStatus.INVALID_ALIGNMENT,
}
WITH_RESULT = [each for each in DECLARATIONS if each.call_class is not CallClass.VTL_SWITCH]
GATES = {HvStatus.ACCESS_DENIED, HvStatus.INVALID_HYPERCALL_CODE}
PARTITIONS, CALLS = 12, 60


def listed(declaration: CallDeclaration) -> set[HvStatus]:
    return {each.status for each in declaration.statuses}


def test_each_status_of_each_table_has_a_scenario() -> None:
    """As many as the table has rows of that status."""
    rows = Counter(
        (declaration.code, each.status)
        for declaration in DECLARATIONS
        for each in declaration.statuses
    )
    assert Counter((each.code, each.status) for each in SCENARIOS) == rows


def test_calls_without_a_result_have_no_statuses() -> None:
    for declaration in DECLARATIONS:
        is_switch = declaration.call_class is CallClass.VTL_SWITCH
        assert is_switch is not bool(declaration.statuses)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda each: each.name)
def test_a_guest_gets_the_status(scenario: Scenario) -> None:
    assert scenario.run() == scenario.status


def test_what_every_call_can_have() -> None:
    """A wrong rep count, and parameters that are not aligned."""
    rows = []
    for declaration in WITH_RESULT:
        wrong_reps = declaration.code | (0 if declaration.is_rep else 1 << 32)
        right_reps = declaration.code | (1 << 32 if declaration.is_rep else 0)
        rows += [Row(wrong_reps), Row(right_reps, input=INPUT + 1, output=OUTPUT + 1)]
    caller = Caller(configuration={"privileges": "all"})
    statuses = [
        answer.status
        for start in range(0, len(rows), 8)
        for answer in caller.make(*rows[start : start + 8]).answers
    ]
    assert statuses == [HvStatus.INVALID_HYPERCALL_INPUT, HvStatus.INVALID_ALIGNMENT] * len(
        WITH_RESULT
    )


def test_what_is_no_call() -> None:
    assert Caller().make(Row(0xBEEF)).only.status == HvStatus.INVALID_HYPERCALL_CODE


@pytest.mark.parametrize("declaration", WITH_RESULT, ids=lambda each: each.name)
def test_no_other_status_comes_of_arbitrary_input(declaration: CallDeclaration) -> None:
    """Fields of likely and unlikely values, from VTL 0 and VTL 1, as the specification is read."""
    chance = random.Random(declaration.code)
    seen: set[HvStatus] = set()
    for _ in range(PARTITIONS):
        guest = _partition(chance)
        for _ in range(CALLS):
            parts = [_pack(chance, declaration.header)]
            banks = chance.choice((0, 1, 1, 2)) if declaration.variable_header else 0
            parts += [chance.choice((1, 3)).to_bytes(8, "little")] * banks
            if declaration.element is not None:
                parts.append(_pack(chance, declaration.element))
            guest.partition.memory.write(INPUT_GPA, b"".join(parts).ljust(0x800, b"\0"))
            control = declaration.code | (1 << 32 if declaration.is_rep else 0) | banks << 17
            outcome = guest.attempt(control, INPUT_GPA, OUTPUT_GPA)
            if outcome.kind is OutcomeKind.COMPLETE:
                seen.add(HvStatus(outcome.value & 0xFFFF))
    assert seen <= listed(declaration) | COMMON
    assert len(seen) > 1 or len(listed(declaration) - GATES) == 1


def _partition(chance: random.Random) -> Guest:
    """A partition of two processors whose first one runs in one of its VTLs, with some ports."""
    configuration = PartitionConfiguration(processors=processors_in_order(2), memory_size=1 << 20)
    guest = Guest(standalone_partition(parse_privileges("all").apply(configuration)))
    highest = chance.randrange(3)
    for vtl in range(1, highest + 1):
        enable(guest, vtl, vps=(0, 1) if chance.randrange(2) else (0,))
    enter(guest, chance.randrange(highest + 1))
    if guest.vp().active_vtl and chance.randrange(2):
        protect(guest, guest.vp().active_vtl)
    ports = guest.partition.ports
    ports.connect(0, ports.create_host_message_port(), minimum_vtl=chance.randrange(2))
    ports.connect(1, ports.create_host_event_port(print_nothing, flag_count=2))
    ports.connect(2, ports.create_message_port(SintTarget(1, 3, chance.randrange(2))))
    ports.connect(3, ports.create_event_port(SintTarget(0, 3, chance.randrange(2)), flag_count=2))
    guest.partition.device_interrupts.add_device(1, [InterruptEntry(0x60, False, (0,))])
    guest.partition.debug_channel.send(bytes(chance.randrange(3)))
    return guest


def print_nothing(event: object) -> None:
    """Take an event."""


def _pack(chance: random.Random, structure: Structure) -> bytes:
    """The bytes of a structure, the fields of a processor's first registers valid or not."""
    fields = {each.name for each in structure.values}
    valid = CONTEXT_64.pack() if "rip" in fields else b""
    values: dict[str, int | bytes] = {
        each.name: _value(chance, each)
        for each in structure.values
        if not valid or each.offset < structure.size - len(valid) or not chance.randrange(20)
    }
    packed = structure.pack(**values)
    if not valid or not chance.randrange(3):
        return packed
    return packed[: -len(valid)] + valid


def _value(chance: random.Random, field: Field) -> int | bytes:
    """A value that a guest would give, or a wrong one."""
    if not field.is_integer:
        return chance.randbytes(field.size)
    bits = 8 * field.size
    if not chance.randrange(12):
        return chance.getrandbits(bits)
    likely: tuple[int, ...]
    match field.kind:
        case FieldKind.PARTITION_ID:
            likely = (-1, -1, -1, 5)
        case FieldKind.VP_INDEX:
            likely = (0, 1, 0xFFFFFFFE, 77)
        case FieldKind.HV_VTL:
            likely = (0, 1, 2, 9)
        case FieldKind.HV_INPUT_VTL:
            likely = (0, 0, 0x10, 0x11, 0x12, 0x1F)
        case FieldKind.REGISTER_NAME:
            likely = (0x20010, 0x40002, 0xD0003, 0xDEAD)
        case FieldKind.ENUMERATION | FieldKind.FLAGS:
            likely = (0, 1, 2, 3, 4)
        case _:
            likely = (0, 1, 2, 3, 0x61, 0xFEE00000, 0x10000)
    return chance.choice(likely) % (1 << bits)
