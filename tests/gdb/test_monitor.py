import re
from pathlib import Path

import pytest
from tests.gdb.guest import COUNTER, TICK, make_machine

from hypercall.gdb.monitor import Monitor
from hypercall.gdb.registers import REGISTERS_32
from hypercall.gdb.target import Target


@pytest.fixture(scope="module")
def monitor() -> Monitor:
    """Of two processors that have run."""
    machine = make_machine(2)
    made = Monitor(Target(machine))
    machine.run()
    return made


@pytest.mark.parametrize(
    ("line", "pattern"),
    [
        ("", r"^help +these commands$"),
        ("help", r"^translate ADDRESS \[VP\] +the guest-physical address"),
        ("vp", r"^\* VP 0 \(thread 1, APIC id 0\): VTL0, halted, at 0x1"),
        ("vp", r"^  VP 1 \(thread 2, APIC id 1\): VTL0, "),
        ("vtl", r"^VP 1 VTL0 \(active\): RIP 0x\w+, RSP 0x\w+, CR3 0x\w+$"),
        ("calls", r"^ +8 HvCallNotifyLongSpinWait SUCCESS, last at 0\.\d{9} s$"),
        ("synic", r"^VP 1 VTL0: SCONTROL 0x0, SIMP 0x0, SIEFP 0x0$"),
        ("synic 1", r"\AVP 1 VTL0: SCONTROL"),
        ("apic", r"^VP 1 VTL0: xAPIC id 0x1, TPR 0x0, pending nothing that could be taken$"),
        ("timers 0", r"^  STIMER3: disabled, SINT0, count 0$"),
        ("msr 0x40000002", r"^VP 1 VTL0 MSR 0x40000002: 0x1$"),
        ("msr HV_X64_MSR_VP_INDEX 1", r"\AVP 1 VTL0 MSR 0x40000002: 0x1$"),
        ("msr vp_index", r"^VP 0 VTL0 MSR 0x40000002: 0x0$"),
        ("msr 99", r"^VP 0 VTL0 MSR 0x63: cannot be read: the guest would get #GP$"),
        (f"gpa {COUNTER:#x} 4", r"^0x000000900000: 10 00 00 00 +\.\.\.\.$"),
        (f"gpa {TICK:#x}", r"^0x000000910000: b9 00 00 90 00"),
        ("gpa 0xfee00000", r"^0x0000fee00000: there is no memory$"),
        (
            f"translate {TICK:#x}",
            r"^0x910000 is at the guest-physical address 0x910000 for VP 0\.$",
        ),
        (f"translate {TICK:#x} 1", r"for VP 1\.$"),
        ("translate 0x7fffffffffff", r"^0x7fffffffffff is not mapped for VP 0\.$"),
        (
            "time",
            r"^0\.\d{9} s of virtual time, reference counter \d+, \d+ bytes of code executed$",
        ),
        ("where 0x1000", r"^The guest has no name for it\.$"),
        ("nonsense", r"^There is no command 'nonsense': monitor help lists them\.$"),
        ("msr", r"^give the MSR"),
        ("msr 1 2 3", r"^give the MSR"),
        ("msr xyz", r"^'xyz' is no number: write 4096 or 0x1000$"),
        ("msr 1 77", r"^there is no virtual processor 77"),
        ("gpa", r"^give an address"),
        ("gpa -1", r"'-1' is no number"),
        ("translate", r"^give a virtual address"),
        ("where", r"^give a virtual address"),
        ("synic 0 1", r"^give at most a VP index$"),
        ("timers 9", r"^there is no virtual processor 9"),
        ("symbols", r"^give the file to write"),
        ("symbols /tmp/x.elf", r"^the guest has no symbols \(yet\)"),
        ("architecture", r"^give one of i386:x86-64, i386$"),
    ],
)
def test_commands(monitor: Monitor, line: str, pattern: str) -> None:
    output = monitor.run(line, 1)
    assert re.search(pattern, output, re.MULTILINE), output
    assert output.endswith("\n")


def test_long_dumps_are_cut(monitor: Monitor) -> None:
    *lines, last = monitor.run("gpa 0 0xffffffffff", 1).splitlines()
    assert len(lines) == 64
    assert last == "These are the first 1024 bytes; go on at 0x400."
    assert monitor.run("gpa 0 0x400", 1).count("\n") == 64


def test_the_architecture_is_of_the_next_connection() -> None:
    target = Target(make_machine())
    before = target.register_set
    assert "next connection" in Monitor(target).run("architecture i386", 1)
    assert target.register_set is before
    assert target.next_register_set is REGISTERS_32


def test_calls_are_counted_until_it_is_closed() -> None:
    machine = make_machine()
    monitor = Monitor(Target(machine))
    assert "no hypercalls" in monitor.run("calls", 1)
    monitor.close()
    machine.run()
    assert "no hypercalls" in monitor.run("calls", 1)


def test_no_file_is_written_without_symbols(monitor: Monitor, tmp_path: Path) -> None:
    monitor.run(f"symbols {tmp_path}/x.elf", 1)
    assert list(tmp_path.iterdir()) == []
