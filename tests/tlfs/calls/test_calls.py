"""All declarations against the numbers of the specification."""

import pytest

from hypercall.tlfs.calls import DECLARATIONS, Call
from hypercall.tlfs.declaration import CallClass, CallDeclaration, FastForm
from hypercall.tlfs.privileges import Privilege

SIMPLE, REP, SWITCH = CallClass.SIMPLE, CallClass.REP, CallClass.VTL_SWITCH

# code, class, header, element, output, output element, variable header, register form
EXPECTED = [
    (0x0001, SIMPLE, 8, 0, 0, 0, False, True),
    (0x0002, SIMPLE, 24, 0, 0, 0, False, True),
    (0x0003, REP, 24, 8, 0, 0, False, True),
    (0x0008, SIMPLE, 8, 0, 0, 0, False, True),
    (0x000B, SIMPLE, 16, 0, 0, 0, False, True),
    (0x000C, REP, 16, 8, 0, 0, False, True),
    (0x000D, SIMPLE, 16, 0, 0, 0, False, True),
    (0x000E, SIMPLE, 16, 0, 0, 0, False, True),
    (0x000F, SIMPLE, 240, 0, 0, 0, False, False),
    (0x0010, SIMPLE, 16, 0, 0, 0, False, True),
    (0x0011, SWITCH, 0, 0, 0, 0, False, True),
    (0x0012, SWITCH, 0, 0, 0, 0, False, True),
    (0x0013, SIMPLE, 32, 0, 0, 0, True, True),
    (0x0014, REP, 32, 8, 0, 0, True, True),
    (0x0015, SIMPLE, 24, 0, 0, 0, True, True),
    (0x0050, REP, 16, 4, 0, 16, False, True),
    (0x0051, REP, 16, 32, 0, 0, False, True),
    (0x0052, SIMPLE, 32, 0, 16, 0, False, True),
    (0x005C, SIMPLE, 256, 0, 0, 0, False, False),
    (0x005D, SIMPLE, 8, 0, 0, 0, False, True),
    (0x0069, SIMPLE, 8, 0, 8, 0, False, False),
    (0x006A, SIMPLE, 16, 0, 8, 0, False, False),
    (0x006B, SIMPLE, 8, 0, 0, 0, False, True),
    (0x007E, SIMPLE, 56, 0, 0, 0, True, True),
    (0x0099, SIMPLE, 240, 0, 0, 0, False, False),
    (0x009A, REP, 16, 4, 0, 4, False, True),
    (0x00AF, SIMPLE, 16, 0, 0, 0, False, True),
    (0x00B0, REP, 16, 8, 0, 0, False, True),
    (0x8001, SIMPLE, 0, 0, 8, 0, False, True),
    (0x8002, SIMPLE, 0, 0, 4088, 0, False, False),
    (0x8003, REP, 8, 8, 0, 0, False, False),
    (0x8004, SIMPLE, 24, 0, 8, 0, False, False),
    (0x8006, REP, 8, 8, 0, 0, False, False),
]


def _shape(declaration: CallDeclaration) -> tuple[object, ...]:
    def size(name: str) -> int:
        structure = getattr(declaration, name)
        return 0 if structure is None else int(structure.size)

    return (
        declaration.code,
        declaration.call_class,
        size("header"),
        size("element"),
        size("output"),
        size("output_element"),
        declaration.variable_header is not None,
        declaration.fast is FastForm.YES,
    )


def test_shapes_of_all_calls() -> None:
    assert [_shape(declaration) for declaration in DECLARATIONS] == EXPECTED


@pytest.mark.parametrize("declaration", list(DECLARATIONS), ids=lambda each: each.name)
def test_the_enumeration_has_the_call_by_its_name(declaration: CallDeclaration) -> None:
    assert DECLARATIONS.find(Call(declaration.code).name) is declaration


def test_the_enumeration_has_no_other_calls() -> None:
    assert sorted(Call) == list(DECLARATIONS.by_code)


def test_all_but_one_are_of_the_reference_table() -> None:
    beside = [each.code for each in DECLARATIONS if not each.in_reference_table]
    assert beside == [0x52]
    assert len(DECLARATIONS) - len(beside) == 32


@pytest.mark.parametrize(
    ("code", "privilege"),
    [
        (0x5C, Privilege.POST_MESSAGES),
        (0x5D, Privilege.SIGNAL_EVENTS),
        (0x50, Privilege.ACCESS_VP_REGISTERS),
        (0x0C, Privilege.ACCESS_VSM),
        (0x99, Privilege.START_VIRTUAL_PROCESSOR),
        (0x69, Privilege.DEBUGGING),
        (0x8003, Privilege.ENABLE_EXTENDED_HYPERCALLS),
        (0x02, Privilege(0)),
    ],
)
def test_privileges(code: int, privilege: Privilege) -> None:
    assert DECLARATIONS.by_code[code].privilege == privilege
