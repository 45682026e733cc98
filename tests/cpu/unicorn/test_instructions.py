import pytest
from tests.cpu.rig import CODE
from tests.cpu.unicorn.gates import gated, taken


def breakpoint_at(address: int) -> str:
    """Code that sets a breakpoint of the guest's own."""
    return f"mov eax, {address:#x}\nmov dr0, eax\nmov eax, 2\nmov dr7, eax"


@pytest.mark.parametrize("owner", [0, 1])
def test_a_breakpoint_stops_the_processor_that_set_it_and_no_other(owner: int) -> None:
    rig = gated()
    other = 1 - owner
    rig.run(f"{breakpoint_at(CODE + 0x101)}", owner)
    rig.code("nop\nnop\ninc ebx\nhlt", CODE + 0x100)
    rig.run(f"jmp {CODE + 0x100:#x}", other)
    assert taken(rig) == {}
    assert rig.engine.get_rip(other) == CODE + 0x104
    assert rig.engine.get_general(other, 3) == 1
    rig.run(None, owner)
    assert taken(rig) == {1: 1}
    assert rig.engine.get_general(owner, 3) == 0


def test_processors_have_breakpoints_at_the_same_place() -> None:
    rig = gated()
    rig.run(breakpoint_at(CODE + 1), 0)
    rig.run(breakpoint_at(CODE + 1), 1)
    for context in (0, 1):
        rig.run("nop\nnop", context)
        assert taken(rig) == {1: context + 1}
    rig.run("xor eax, eax\nmov dr7, eax", 0)
    rig.run("nop\nnop", 0)
    assert taken(rig) == {1: 2}
    rig.run("nop\nnop", 1)
    assert taken(rig) == {1: 3}
