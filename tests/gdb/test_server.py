"""A real gdb in batch mode against small guests."""

import re
import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.gdb.guest import COUNTER, TICK, TICKS, make_machine
from tests.guests.vtl import vtl_call, vtl_guest, vtl_return

from hypercall.gdb.packets import frame
from hypercall.gdb.server import GdbServer
from hypercall.gdb.symbol_file import write_symbol_file
from hypercall.machine.configuration import MachineConfiguration
from hypercall.machine.machine import Machine
from hypercall.machine.result import RunResult, StopReason
from hypercall.recording.moment import CallMoment, Moment, TimeMoment
from hypercall.trace.events import Event
from hypercall.trace.symbols import SymbolTable

LIMIT_NS = 200_000_000
SETTINGS = ("set pagination off", "set confirm off", "set width 0")

Debug = Callable[..., str]


@pytest.fixture
def debug(tmp_path: Path) -> Debug:
    """Let gdb carry out commands with a machine, and return what it wrote."""
    gdb = shutil.which("gdb")
    if gdb is None:
        pytest.fail("gdb is missing: run script/test, which installs it")

    def run(
        machine: Machine,
        *commands: str,
        expect: StopReason = StopReason.INTERRUPTED,
        limit_ns: int | None = LIMIT_NS,
        moment: Moment | None = None,
        results: list[RunResult] | None = None,
    ) -> str:
        server = GdbServer(machine, ":0")
        if moment is not None:
            assert server.run_to(moment, limit_ns)[1]
        # One by one: an error does not keep gdb from the next.
        options: list[str] = []
        for command in (*SETTINGS, f"target remote {server.place}", *commands):
            options += ["-ex", command]
        output = tmp_path / "output"
        with (
            output.open("w") as file,
            subprocess.Popen(
                [gdb, "-q", "-nx", "-batch", *options],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
            ) as process,
        ):
            try:
                result = server.run(limit_ns)
                if results is not None:
                    results.append(result)
                process.wait(20)
            finally:
                process.kill()
                server.close()
        text = output.read_text()
        assert result.reason is expect, (result, text)
        return text

    return run


def symbols(tmp_path: Path) -> str:
    """A file with the names of the guest, for gdb."""
    path = tmp_path / "names.elf"
    names = [(TICK, "tick"), (TICK + 5, "tick_add"), (TICK + 0xC, "tick_return")]
    write_symbol_file(path, SymbolTable.from_pairs(names))
    return str(path)


def unbroken(cpus: int) -> list[str]:
    machine = make_machine(cpus)
    events: list[Event] = []
    machine.trace.subscribe(events.append)
    assert machine.run(LIMIT_NS).reason is StopReason.DEBUG_EXIT
    return [str(event) for event in events]


def test_registers_breakpoints_and_steps(debug: Debug, tmp_path: Path) -> None:
    output = debug(
        make_machine(),
        f"add-symbol-file {symbols(tmp_path)}",
        "break *tick",
        "continue",
        'printf "rbx %d rip %#lx\\n", $rbx, $rip',
        "stepi",
        "x/i $pc",
        "stepi",
        f"x/wx {COUNTER}",
        "continue",
        "p/x $cr0",
        "p $efer",
        "p $eflags",
        "delete",
        "finish",
        "kill",
    )
    assert output.count("Breakpoint 1, 0x0000000000910000 in tick ()") == 2
    assert f"rbx {TICKS} rip {TICK:#x}" in output
    assert "<tick_add>:\tlock addl $0x1,(%rcx)" in output
    assert f"{COUNTER:#x}:\t0x00000001" in output
    assert re.search(r"\$1 = 0x\w+", output)
    assert "$2 = [ LME LMA" in output
    assert re.search(r"^0x0000000000100\w+ in \?\? \(\)$", output, re.MULTILINE)


def test_a_hardware_breakpoint_and_the_exit_code(debug: Debug) -> None:
    output = debug(
        make_machine(),
        f"hbreak *{TICK + 0xC:#x}",
        "continue",
        "ignore 1 100",
        "continue",
        expect=StopReason.DEBUG_EXIT,
    )
    assert output.count("Breakpoint 1, 0x") == 1
    assert "exited normally" in output


def test_a_watchpoint_tells_old_and_new(debug: Debug) -> None:
    output = debug(
        make_machine(),
        f"watch *(int *) {COUNTER:#x}",
        "continue",
        "continue",
        "delete",
        f"rwatch *(int *) {COUNTER:#x}",
        "continue",
        "info registers rip",
        "kill",
    )
    values = re.findall(r"(?:Old|New) value = (\d+)", output)
    assert values == ["0", "1", "1", "2"]
    assert output.count("Hardware read watchpoint 2: ") == 2


def test_two_processors_are_two_threads(debug: Debug) -> None:
    machine = make_machine(2)
    events: list[Event] = []
    machine.trace.subscribe(events.append)
    output = debug(
        machine,
        "info threads",
        f"break *{TICK:#x} thread 2",
        "continue",
        "info threads",
        "thread 1",
        "stepi",
        "info threads",
        "thread 2",
        "delete",
        "continue",
        expect=StopReason.DEBUG_EXIT,
    )
    assert 'Thread 2 "VP 1" (VTL0, waiting for start-up)' in output
    assert 'Thread 2 "VP 1" hit Breakpoint 1' in output
    assert '* 2    Thread 2 "VP 1" (VTL0, running)' in output
    assert '* 1    Thread 1 "VP 0" (VTL0, running)' in output
    # All this leaves the run as it is.
    assert [str(event) for event in events] == unbroken(2)


def test_memory_is_changed_in_a_run(debug: Debug) -> None:
    machine = make_machine()
    output = debug(
        machine,
        f"break *{TICK:#x}",
        "continue",
        "delete",
        f"set *(int *) {COUNTER:#x} = 40",
        "set $rbx = 2",
        f"p *(int *) {COUNTER:#x}",
        f"x/s {TICK + 0x1000:#x}",
        "p *(int *) 0x8000000000000",
        "monitor time",
        "detach",
        expect=StopReason.LIMIT,
        limit_ns=1_000_000,
    )
    assert "$1 = 40" in output
    assert "Cannot access memory at address 0x8000000000000" in output
    assert "s of virtual time" in output
    # Two more of the eight additions were made, and so the guest waits in vain.
    assert machine.partition.memory.read_u32(COUNTER) == 42


def test_gdb_leaves_the_guest_to_itself(debug: Debug) -> None:
    output = debug(
        make_machine(), f"break *{TICK:#x}", "continue", "detach", expect=StopReason.DEBUG_EXIT
    )
    assert "detached" in output


def test_ctrl_c_stops_a_guest_that_runs(debug: Debug) -> None:
    machine = make_machine()
    # The guest waits for what never comes: until Ctrl-C.
    machine.partition.memory.write(TICK, b"\xeb\xfe")
    output = debug(
        machine,
        "python import threading, os, signal",
        "python threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT)).start()",
        "continue",
        "info registers rip",
        "kill",
        limit_ns=None,
    )
    assert "SIGINT, Interrupt" in output
    assert f"rip            {TICK:#x}" in output


def test_a_guest_that_fails_can_be_looked_at(debug: Debug) -> None:
    machine = make_machine()
    # An interrupt table of nothing: an undefined opcode becomes a triple fault.
    machine.partition.memory.write(TICK, b"\x0f\x0b")
    machine.partition.memory.write(0x110000, bytes(4096))
    output = debug(
        machine, "continue", "info registers rip", "continue", expect=StopReason.TRIPLE_FAULT
    )
    assert "The guest triple-faulted." in output
    assert "SIGABRT" in output
    assert f"rip            {TICK:#x}" in output
    assert "exited with code 01" in output


def test_a_32_bit_view_is_from_the_next_connection_on(debug: Debug, tmp_path: Path) -> None:
    output = debug(
        make_machine(),
        "monitor architecture i386",
        "python place = gdb.selected_inferior().connection.details",
        "disconnect",
        "set architecture i386",
        'python gdb.execute("target remote " + place)',
        "info registers eip",
        "p $eax",
        "show architecture",
        "kill",
    )
    assert re.search(r"eip +0x100", output)
    assert "$1 = " in output
    assert '"i386"' in output


def test_the_result_is_that_of_all_pieces(debug: Debug) -> None:
    machine = make_machine()
    pieces: list[RunResult] = []
    run = machine.run

    def observed(*arguments: Any, **options: Any) -> RunResult:
        pieces.append(run(*arguments, **options))
        return pieces[-1]

    machine.run = observed  # type: ignore[method-assign]
    results: list[RunResult] = []
    debug(machine, f"break *{TICK:#x}", "continue", "continue", "kill", results=results)
    assert len(pieces) >= 3
    assert results[0].host_seconds == sum(piece.host_seconds for piece in pieces)
    assert (results[0].began_ns, results[0].executed_before) == (0, 0)
    assert results[0].virtual_ns == pieces[-1].virtual_ns
    assert pieces[-1].began_ns > 0


def test_the_limit_ends_it(debug: Debug) -> None:
    machine = make_machine()
    machine.partition.memory.write(TICK, b"\xeb\xfe")
    output = debug(machine, "continue", expect=StopReason.LIMIT, limit_ns=1_000_000)
    assert "exited normally" in output


def test_hostile_bytes_leave_the_server_as_it_is() -> None:
    machine = make_machine()
    server = GdbServer(machine, ":0")
    host, port = server.place.split(":")
    with socket.create_connection((host, int(port))) as peer:
        peer.sendall(b"\x00\xff$$$#zz$" + b"A" * 70_000 + b"#41" + frame(b"vCont;c;;;"))
        peer.sendall(frame(b"m" + b"f" * 16 + b"," + b"f" * 16) + frame(b"X0,ffffffff:"))
        peer.sendall(frame(b"k"))
        result: RunResult = server.run(LIMIT_NS)
    server.close()
    assert result.reason is StopReason.INTERRUPTED


def test_a_peer_that_goes_leaves_a_running_guest_running() -> None:
    machine = make_machine()
    server = machine.serve_gdb(":0")
    host, port = server.place.split(":")
    peer = socket.create_connection((host, int(port)))
    peer.sendall(frame(b"Z0,91000c,1") + frame(b"z0,91000c,1") + frame(b"c"))
    machine.trace.subscribe(lambda event: peer.close())
    assert server.run(LIMIT_NS).reason is StopReason.DEBUG_EXIT
    server.close()


def test_an_interrupt_of_the_user_ends_the_wait_for_gdb() -> None:
    machine = make_machine()
    server = machine.serve_gdb(":0")
    machine.interrupt()
    assert server.run(LIMIT_NS).reason is StopReason.INTERRUPTED
    server.close()


def test_steps_and_runs_go_backward(debug: Debug, tmp_path: Path) -> None:
    output = debug(
        make_machine(),
        f"add-symbol-file {symbols(tmp_path)}",
        "break *tick_add",
        "continue",
        "continue",
        "continue",
        f"p *(int *) {COUNTER:#x}",
        "reverse-continue",
        f"p *(int *) {COUNTER:#x}",
        "reverse-stepi",
        "x/i $pc",
        "stepi",
        "x/i $pc",
        "delete",
        f"watch *(int *) {COUNTER:#x}",
        "reverse-continue",
        "x/i $pc",
        "delete",
        "reverse-continue",
        "monitor time",
        "monitor calls",
        "break *tick_return",
        "continue",
        f"p *(int *) {COUNTER:#x}",
        "kill",
    )
    assert re.findall(r"\$\d+ = (\d+)", output) == ["2", "1", "1"]
    places = re.findall(r"=> 0x\w+ <(\w+)>:", output)
    assert places == ["tick", "tick_add", "tick_add"]
    assert "No more reverse-execution history" in output
    assert "0.000000000 s of virtual time" in output
    assert "no hypercalls" in output


def test_a_thread_is_stepped_back_among_others(debug: Debug) -> None:
    machine = make_machine(2)
    output = debug(
        machine,
        f"break *{TICK:#x} thread 2",
        "continue",
        "stepi",
        "stepi",
        "reverse-stepi",
        "reverse-stepi",
        "info threads",
        "delete",
        "continue",
        expect=StopReason.DEBUG_EXIT,
    )
    assert re.search(rf'\* 2    Thread 2 "VP 1" \(VTL0, running\) *0x0*{TICK:x} in', output)
    assert machine.partition.memory.read_u32(COUNTER) == 2 * TICKS


def test_a_guest_that_failed_goes_back_to_the_cause(debug: Debug) -> None:
    machine = make_machine()
    machine.partition.memory.write(TICK + 9, b"\x0f\x0b")
    machine.partition.memory.write(0x110000, bytes(4096))
    output = debug(
        machine,
        "continue",
        f"watch *(int *) {COUNTER:#x}",
        "reverse-continue",
        "info registers rip",
        "delete",
        "continue",
        "kill",
        expect=StopReason.TRIPLE_FAULT,
    )
    assert output.count("SIGABRT") == 2
    assert f"rip            {TICK + 5:#x}" in output


def test_what_gdb_has_changed_is_the_beginning_of_the_past(debug: Debug) -> None:
    output = debug(
        make_machine(),
        f"break *{TICK:#x}",
        "continue",
        "delete",
        "set $rbx = 3",
        "stepi",
        "stepi",
        "reverse-continue",
        "info registers rip rbx",
        "kill",
    )
    assert "No more reverse-execution history" in output
    assert re.search(rf"rip +{TICK:#x}", output)
    assert re.search(r"rbx +0x3", output)


def test_a_guest_by_the_hosts_clock_has_no_past(debug: Debug) -> None:
    machine = Machine(MachineConfiguration(time="host", memory=16 << 20))
    machine.load(b"\xeb\xfe", image_format="flat")
    output = debug(machine, "reverse-stepi", "stepi", "kill", limit_ns=None)
    assert "does not support this command" in output


def test_the_trust_level_is_shown_and_crossed_in_both_directions(debug: Debug) -> None:
    secure, normal = 0x92_0000, 0x93_0000
    machine = vtl_guest(
        f"{vtl_call()}\nmov eax, {normal}\ncall rax",
        f"mov eax, {secure}\ncall rax\nagain:\n{vtl_return()}\njmp again",
    ).machine()
    for place in (secure, normal):
        machine.partition.memory.write(place, b"\x90\x90\xc3")
    output = debug(
        machine,
        f"break *{secure + 1:#x}",
        f"break *{normal + 1:#x}",
        "continue",
        "info threads",
        "monitor vtl",
        "continue",
        "info threads",
        "reverse-continue",
        "info threads",
        "delete",
        "continue",
        expect=StopReason.DEBUG_EXIT,
    )
    assert re.findall(r'"VP 0" \((VTL\d), running\)', output) == ["VTL1", "VTL0", "VTL1"]
    assert "VP 0 VTL0 (not active): RIP 0x" in output
    assert f"VP 0 VTL1 (active): RIP {secure + 1:#x}" in output


@pytest.mark.parametrize(
    ("moment", "counted"), [(CallMoment(5), 5), (TimeMoment(1_000), None)], ids=str
)
def test_gdb_comes_at_a_moment_and_goes_back_from_there(
    debug: Debug, tmp_path: Path, moment: Moment, counted: int | None
) -> None:
    machine = make_machine()
    output = debug(
        machine,
        f"x/wd {COUNTER}",
        f"hbreak *{TICK}",
        "reverse-continue",
        f"x/wd {COUNTER}",
        "delete",
        "reverse-continue",
        f"x/wd {COUNTER}",
        "kill",
        moment=moment,
    )
    values = [int(each) for each in re.findall(rf"{COUNTER:#x}:\t(\d+)", output)]
    assert len(values) == 3
    if counted is not None:
        assert values == [counted, counted - 1, 0]
    assert values[-1] == 0
    assert "No more reverse-execution history" in output
