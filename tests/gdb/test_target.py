import pytest
from tests.gdb.guest import COUNTER, TICK, make_machine

from hypercall.errors import InputError
from hypercall.gdb.target import Point, Target
from hypercall.machine.machine import Machine
from hypercall.partition.memory import Permission


def test_memory_is_read_by_the_page_tables_of_a_thread(machine: Machine, target: Target) -> None:
    assert target.read_memory(1, TICK, 1) == b"\xb9"
    engine = machine.debugging.engine
    # Without its tables a processor sees nothing.
    engine.set_control(0, 3, 0x80_0000)
    with pytest.raises(InputError, match=f"no memory at {TICK:#x}"):
        target.read_memory(1, TICK, 1)
    with pytest.raises(InputError, match="no memory"):
        target.write_memory(1, TICK, b"\x90")
    assert target.translate(1, 1 << 64) is None
    assert target.read_memory(1, TICK, 0) == b""


def test_permissions_do_not_bind_a_debugger(machine: Machine, target: Target) -> None:
    overlay = machine.partition.memory.map_overlay(0, 0x900, Permission(0))
    target.write_memory(1, COUNTER + 4, b"abcd")
    assert target.read_memory(1, COUNTER + 4, 4) == b"abcd"
    assert bytes(overlay.view[4:8]) == b"abcd"


def test_devices_are_not_read(target: Target) -> None:
    assert target.physical_view(0xFEE0_0000, 4, 0) is None
    assert target.physical_view(1 << 60, 4, 0) is None
    with pytest.raises(InputError, match="no memory"):
        target.read_memory(1, 0xFEE0_0020, 4)


def test_a_write_that_ends_where_there_is_nothing_is_not_begun(target: Target) -> None:
    end = 16 << 20
    with pytest.raises(InputError, match=f"no memory at {end:#x}"):
        target.write_memory(1, end - 2, b"abcd")
    assert target.read_memory(1, end - 2, 2) == b"\0\0"
    assert target.read_memory(1, end - 2, 4) == b"\0\0"


def test_breakpoints_are_kept_by_what_they_are(target: Target) -> None:
    target.insert(Point(0, TICK, 1))
    target.insert(Point(1, TICK, 1))
    assert target.breakpoint_at(TICK) == Point(0, TICK, 1)
    target.remove(Point(0, TICK, 1))
    assert target.breakpoint_at(TICK) == Point(1, TICK, 1)
    target.remove(Point(3, TICK, 1))
    target.remove_all()
    assert target.breakpoint_at(TICK) is None
    assert target.machine.debugging.breakpoints == frozenset()


def test_threads_tell_what_they_do() -> None:
    target = Target(make_machine(2))
    assert target.threads == [1, 2]
    assert target.describe(1) == "VTL0, running"
    assert target.describe(2) == "VTL0, waiting for start-up"
    with pytest.raises(InputError, match="no virtual processor 2"):
        target.vp(3)
    target.machine.run()
    assert target.describe(2) in ("VTL0, halted", "VTL0, running")
