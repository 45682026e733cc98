from dataclasses import replace

import pytest
from tests.initial_contexts import CODE_32, CODE_64, DATA, LOCAL, LONG, PROTECTED, TASK

from hypercall.partition import register_rules as rules
from hypercall.tlfs.initial_context import InitialVpContext, SegmentRegister, TableRegister

NULL = SegmentRegister()


@pytest.mark.parametrize(
    "context",
    [
        LONG,
        PROTECTED,
        replace(LONG, ds=NULL, es=NULL, fs=NULL, gs=NULL),
        replace(LONG, ss=NULL, ldtr=NULL),
        replace(LONG, cs=CODE_32),
        replace(LONG, rip=0xFFFFFFFF81000000, rsp=0xFFFF800000000000),
        replace(LONG, pat=0, efer=0xD01),
    ],
)
def test_contexts_that_can_run(context: InitialVpContext) -> None:
    assert rules.valid_initial_context(context, 40)


NON_CANONICAL = 0x0000800000000000


@pytest.mark.parametrize(
    "change",
    [
        {"cr0": 0x80000010},
        {"cr0": 0x10},
        {"cr0": LONG.cr0 | 1 << 32},
        {"cr0": LONG.cr0 | 1 << 29},
        {"cr3": 1 << 40},
        {"cr3": 1 << 63},
        {"cr4": 0},
        {"cr4": 0x20 | 1 << 12},
        {"cr4": 0x20 | 1 << 40},
        {"efer": 0xD00 | 1 << 12},
        {"efer": 0x900},
        {"efer": 0x500, "cr0": 0x11},
        {"rflags": 0},
        {"rflags": 2 | 1 << 3},
        {"rflags": 2 | 1 << 17},
        {"rflags": 2 | 1 << 40},
        {"pat": 2},
        {"rip": NON_CANONICAL},
        {"rsp": NON_CANONICAL},
        {"cs": NULL},
        {"cs": DATA},
        {"cs": replace(CODE_64, attributes=0xE09B)},
        {"cs": replace(CODE_64, attributes=0xA19B)},
        {"ss": CODE_64},
        {"ds": replace(DATA, attributes=0xC493)},
        {"tr": NULL},
        {"tr": replace(TASK, attributes=0x89)},
        {"ldtr": replace(LOCAL, attributes=0x8B)},
        {"fs": replace(DATA, base=NON_CANONICAL)},
        {"idtr": TableRegister(0, NON_CANONICAL)},
        {"gdtr": TableRegister(0, NON_CANONICAL)},
    ],
)
def test_contexts_that_cannot_run(change: dict[str, object]) -> None:
    assert not rules.valid_initial_context(replace(LONG, **change), 40)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [{"cs": CODE_64}, {"rip": 1 << 32}, {"rsp": 1 << 32}, {"cr4": 1 << 17}, {"efer": 0x400}],
)
def test_protected_mode_contexts_that_cannot_run(change: dict[str, object]) -> None:
    context = replace(PROTECTED, **change)  # type: ignore[arg-type]
    assert not rules.valid_initial_context(context, 40)


@pytest.mark.parametrize(
    ("address", "valid"),
    [
        (0, True),
        (0x00007FFFFFFFFFFF, True),
        (0x0000800000000000, False),
        (0xFFFF7FFFFFFFFFFF, False),
        (0xFFFF800000000000, True),
        (0xFFFFFFFFFFFFFFFF, True),
    ],
)
def test_canonical_addresses(address: int, valid: bool) -> None:
    assert rules.canonical(address) is valid
