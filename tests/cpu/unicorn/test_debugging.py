"""Stops for a debugger, which must leave a run as it would be without them."""

from collections.abc import Iterable

import pytest
from tests.cpu.rig import CODE, Rig

READ, WRITE = 1, 2
BREAKPOINT, STEP, WATCHPOINT, TARGET = 1, 2, 3, 4
BETWEEN = 1 << 64
# Reads the clock in the middle of blocks, has flags live over them, repeats a string instruction,
# and makes exits.
PROGRAM = """
    mov ecx, 12
    mov edi, 0x9000
again:
    rdtsc
    mov [edi], eax
    add edi, 4
    push ecx
    mov ebx, ecx
    and ebx, 3
    jz skip
    add eax, ebx
    adc edx, 7
    pushfd
    pop esi
    mov [edi], esi
    add edi, 4
skip:
    mov eax, 0x5a5a5a5a
    mov ecx, 40
    push edi
    mov edi, 0xb000
    rep stosd
    pop edi
    cpuid
    pop ecx
    dec ecx
    jnz again
    hlt
"""

Stop = tuple[int, int, tuple[int, int], int]


def outcome(rig: Rig) -> tuple[object, ...]:
    """Everything that a run can have changed."""
    engine = rig.engine
    registers = [engine.get_general(0, number) for number in range(8)]
    memory = bytes(rig.ram[0x6000:0xC000])
    return engine.count, registers, engine.get_rip(0), engine.get_rflags(0), memory


def debug(
    rig: Rig,
    breakpoints: Iterable[int] = (),
    watchpoints: Iterable[tuple[int, int, int]] = (),
    step: bool = False,
    end: int | None = None,
) -> list[Stop]:
    """Run the code to its end with stops; return (kind, RIP, position, data address) of each."""
    engine = rig.engine
    engine.switch(0)
    engine.set_rip(0, CODE)
    engine.limit = engine.count + 100_000
    engine.set_breakpoints(breakpoints)
    engine.set_watchpoints(watchpoints)
    engine.set_step(step)
    stops: list[Stop] = []
    here = None
    while True:
        engine.begin_step()
        engine.pass_instruction(here)
        engine.run()
        stop = engine.debug_stop
        if stop is None:
            break
        here = engine.get_rip(0)
        stops.append((stop[0], here, engine.position, stop[1]))
        if here == end:
            break
        assert len(stops) < 5000
    return stops


def unbroken() -> tuple[tuple[object, ...], bytes]:
    rig = Rig()
    code = rig.code(PROGRAM)
    assert debug(rig) == []
    return outcome(rig), code


def test_a_breakpoint_anywhere_leaves_the_run_as_it_is() -> None:
    expected, code = unbroken()
    hit = set()
    for offset in range(len(code)):
        rig = Rig()
        rig.code(PROGRAM)
        stops = debug(rig, breakpoints=[CODE + offset])
        assert outcome(rig) == expected, hex(offset)
        assert {stop[:2] for stop in stops} <= {(BREAKPOINT, CODE + offset)}
        if stops:
            hit.add(offset)
    # Those and only those where one of the 26 instructions begins.
    assert len(hit) == 26
    assert {0, 5, 10} <= hit
    assert not {1, 2, 3, 4, 6} & hit


def test_steps_leave_the_run_as_it_is_and_positions_ascend() -> None:
    expected, code = unbroken()
    rig = Rig()
    rig.code(PROGRAM)
    stops = debug(rig, step=True, end=CODE + len(code))
    assert outcome(rig) == expected
    assert {stop[0] for stop in stops} == {STEP}
    positions = [stop[2] for stop in stops]
    assert positions == sorted(set(positions))
    assert [stop[1] for stop in stops[:4]] == [CODE + 5, CODE + 10, CODE + 12, CODE + 14]


def test_every_iteration_of_a_repeated_instruction_can_be_stopped_at() -> None:
    rig = Rig()
    rig.code("mov ecx, 4\nmov edi, 0xb000\nrep stosd\nhlt")
    stops = debug(rig, breakpoints=[CODE + 10])
    # The first, the iterations in one go, and the last one, with nothing left to do.
    assert {stop[1] for stop in stops} == {CODE + 10}
    assert rig.engine.get_general(0, 7) == 0xB010


@pytest.mark.parametrize("kinds", [READ, WRITE, READ | WRITE])
def test_watchpoints_leave_the_run_as_it_is(kinds: int) -> None:
    expected, _ = unbroken()
    rig = Rig()
    rig.code(PROGRAM)
    stops = debug(rig, watchpoints=[(0x6FFC, 4, kinds)])
    assert outcome(rig) == expected
    # Each iteration pushes three words to that place at most, and pops them.
    assert len(stops) == {READ: 12, WRITE: 12, READ | WRITE: 24}[kinds]
    assert {stop[0] for stop in stops} == {WATCHPOINT}
    assert {stop[3] for stop in stops} == {0x6FFC}


@pytest.mark.parametrize(
    ("instruction", "kinds", "address"),
    [
        ("mov [0x9000], eax", WRITE, 0x9000),
        ("mov byte ptr [0x9003], al", WRITE, 0x9003),
        ("mov [0x8ffe], eax", WRITE, 0x9000),
        ("mov ebx, [0x9000]", READ, 0x9000),
        ("mov ebx, [0x9002]", READ, 0x9002),
        ("lock add dword ptr [0x9000], eax", WRITE, 0x9000),
        ("add dword ptr [0x9000], eax", READ, 0x9000),
        ("movups [0x8ff8], xmm0", WRITE, 0x9000),
        ("fnstcw [0x9001]", WRITE, 0x9001),
    ],
)
def test_a_watchpoint_stops_behind_the_access(instruction: str, kinds: int, address: int) -> None:
    rig = Rig()
    rig.engine.set_control(0, 4, 0x200)
    code = rig.code(f"mov eax, 7\n{instruction}\nnop\nnop\nhlt")
    stops = debug(rig, watchpoints=[(0x9000, 4, kinds)])
    assert [(kind, rip, data) for kind, rip, _, data in stops] == [
        (WATCHPOINT, CODE + len(code) - 3, address)
    ]


@pytest.mark.parametrize(
    ("instruction", "kinds"),
    [
        ("mov [0x9000], eax", READ),
        ("mov ebx, [0x9000]", WRITE),
        ("mov [0x9004], eax", READ | WRITE),
        ("mov [0x8ffc], eax", READ | WRITE),
        ("lea eax, [0x9000]", READ | WRITE),
        ("lock add dword ptr [0x9008], eax", READ | WRITE),
    ],
)
def test_a_watchpoint_passes_over_other_accesses(instruction: str, kinds: int) -> None:
    rig = Rig()
    rig.code(f"mov eax, [0x9000]\n{instruction}\n{instruction}\nnop\nhlt")
    # The page is in the TLB already when the watchpoint is set.
    rig.run()
    first = [stop for stop in debug(rig, watchpoints=[(0x9000, 4, kinds)]) if stop[1] > CODE + 5]
    assert first == []


def test_a_watchpoint_is_found_in_every_context() -> None:
    rig = Rig(contexts=2)
    rig.code("mov eax, 1\nmov [0x9000], eax\nhlt")
    rig.run()
    rig.run(context=1)
    rig.engine.set_watchpoints([(0x9000, 4, WRITE)])
    for context in (1, 0):
        rig.run(context=context)
        assert rig.engine.debug_stop == (WATCHPOINT, 0x9000, WRITE)
        rig.run(context=context)
    rig.engine.set_watchpoints([])
    rig.run()
    assert rig.engine.debug_stop is None


def test_an_interrupt_that_comes_within_a_block_waits_for_its_end() -> None:
    def run(breakpoints: list[int]) -> tuple[object, ...]:
        rig = Rig()
        gate = CODE + 0x100
        entry = (gate & 0xFFFF) | 8 << 16 | 0x8E00 << 32 | (gate >> 16) << 48
        rig.ram[0x5000 + 8 * 0x20 : 0x5008 + 8 * 0x20] = entry.to_bytes(8, "little")
        descriptors = (0, 0x00CF9B000000FFFF, 0x00CF93000000FFFF)
        for number, value in enumerate(descriptors):
            rig.ram[0x4000 + 8 * number : 0x4008 + 8 * number] = value.to_bytes(8, "little")
        rig.engine.set_segment(0, 8, 0, 0x4000, 0x17, 0)
        rig.engine.set_segment(0, 9, 0, 0x5000, 0x7FF, 0)
        rig.engine.set_rflags(0, 0x202)

        def write_port(port: int, size: int, value: int) -> None:
            rig.exits.vectors.append(0x20)
            rig.engine.set_interrupt(0, True)

        rig.replace(write_port=write_port)
        rig.code("mov [0x9000], ebx\nhlt", CODE + 0x100)
        rig.code("mov ebx, 0\nout 0x80, al\ninc ebx\ninc ebx\ninc ebx\njmp next\nnext:\nhlt")
        debug(rig, breakpoints)
        return rig.ram[0x9000], rig.engine.count

    expected = run([])
    assert expected[0] == 3
    assert run([CODE + 7]) == expected
    assert run([CODE + 7, CODE + 8, CODE + 9]) == expected


def test_a_run_can_go_to_a_position() -> None:
    rig = Rig()
    code = rig.code(PROGRAM)
    stops = debug(rig, step=True, end=CODE + len(code))
    for kind, rip, position, _ in (stops[40], stops[7], stops[-2]):
        assert kind == STEP
        rig = Rig()
        rig.code(PROGRAM)
        rig.engine.set_rip(0, CODE)
        rig.engine.limit = 100_000
        rig.engine.set_target(position)
        rig.engine.run()
        assert rig.engine.debug_stop is not None
        assert (rig.engine.debug_stop[0], rig.engine.get_rip(0)) == (TARGET, rip)
        assert rig.engine.position == position


def test_the_block_before_a_target_is_tracked() -> None:
    rig = Rig()
    rig.code("nop\njmp next\nnext:\nnop\nnop\nhlt")
    stops = debug(rig, breakpoints=[CODE + 4])
    position = stops[0][2]
    rig = Rig()
    rig.code("nop\njmp next\nnext:\nnop\nnop\nhlt")
    rig.engine.set_rip(0, CODE)
    rig.engine.limit = 100_000
    rig.engine.set_target(position)
    rig.engine.track([0])
    rig.engine.run()
    # In the same block there is an instruction before; the block before that has three bytes.
    assert rig.engine.previous_instruction == CODE + 3
    assert rig.engine.previous_block == 3


def test_a_new_instruction_pointer_begins_a_block() -> None:
    rig = Rig()
    rig.code("nop\nnop\nnop\nnop\nhlt")
    engine = rig.engine
    engine.set_rip(0, CODE)
    engine.limit = 1000
    engine.set_breakpoints([CODE + 2])
    engine.run()
    assert engine.position == (5, CODE + 2)
    engine.set_rip(0, CODE + 3)
    assert engine.position == (5, BETWEEN)
    engine.run()
    assert engine.count == 7


def test_range_steps_end_outside_of_the_range() -> None:
    rig = Rig()
    rig.code("nop\nnop\nnop\nnop\nhlt")
    engine = rig.engine
    engine.set_rip(0, CODE)
    engine.limit = 1000
    engine.set_step(True, CODE, CODE + 3)
    engine.begin_step()
    engine.run()
    assert engine.get_rip(0) == CODE + 3


def test_watchpoints_are_checked() -> None:
    rig = Rig()
    with pytest.raises(ValueError, match="empty"):
        rig.engine.set_watchpoints([(0, 0, 1)])
    with pytest.raises(ValueError, match="too many"):
        rig.engine.set_watchpoints([(16 * number, 1, 1) for number in range(33)])


def test_the_x87_registers_come_and_go() -> None:
    rig = Rig()
    rig.run("fninit\nfld1\nfldz")
    control, status, tags, registers = rig.engine.get_x87(0)
    assert control == 0x37F
    assert status >> 11 & 7 == 6
    assert tags == 0b11000000
    assert registers[0] == bytes(10)
    assert registers[1] == bytes.fromhex("0000000000000080ff3f")
    rig.engine.set_x87_register(0, 0, registers[1])
    rig.run("fstp dword ptr [0x9000]")
    assert rig.ram[0x9000:0x9004] == bytes.fromhex("0000803f")
    with pytest.raises(ValueError, match="10 bytes"):
        rig.engine.set_x87_register(0, 0, b"")
