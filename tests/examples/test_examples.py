"""The examples run as their first lines say, and show what they promise."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
BOOTS = {"observe_calls.py", "shell_session.py"}


def run(name: str, *arguments: str | Path, cwd: Path | None = None) -> str:
    """Run an example with the interpreter and the package of the tests."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [sys.executable, EXAMPLES / name, *arguments],
        env=environment,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def guests() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = Path(os.environ.get("HYPERCALL_GUESTS") or cache / "hypercall" / "guests")
    if not (folder / "vmlinuz-6.1").exists() or not (folder / "busybox").exists():
        pytest.skip("no guests: run script/fetch-guests")
    return folder


def test_every_example_is_run_here() -> None:
    text = Path(__file__).read_text()
    for example in EXAMPLES.glob("*.py"):
        assert f'"{example.name}"' in text


def test_flat_guest_makes_two_calls() -> None:
    lines = run("flat_guest.py").splitlines()
    assert "HvExtCallQueryCapabilities" in lines[0]
    assert "HvCallNotifyLongSpinWait(spin_count=1) = SUCCESS" in lines[1]
    assert "ended with DEBUG_EXIT, exit code 0" in lines


def test_a_broken_call_is_seen_and_found_by_the_sweep() -> None:
    lines = run("break_a_call.py").splitlines()
    fault = "call=QueryCapabilities,nth=1,status=ACCESS_DENIED"
    assert lines[0] == f"{fault} struck 1 of 1: exit code 6"
    assert lines[1] == f"{fault}: corrupted debug exit with the value 6"
    assert lines[2] == "call=QueryCapabilities,nth=1,time=20ms: survived"
    ignored = "call=NotifyLongSpinWait,nth=1,status=ACCESS_DENIED: complained ignored-status in "
    assert lines[3] == f"{ignored}0x100044"


def test_answer_messages_hears_and_is_heard() -> None:
    output = run("answer_messages.py")
    assert "VP 0 in VTL 0 posts 'hello'\n" in output
    assert "ended with DEBUG_EXIT: the guest got 12 bytes" in output


def test_mistakes_are_found_with_the_code_that_made_them() -> None:
    lines = run("mistakes.py", "parameter-overlap").splitlines()
    assert lines[0].startswith("parameter-overlap x1: HvCallGetVpIndexFromApicId has its input")
    assert any(line.strip().startswith("=>") for line in lines)
    assert lines[-1].strip() == "its twin: 0 findings"


def test_inspect_partition_shows_both_names_of_each_processor() -> None:
    output = run("inspect_partition.py")
    shown = [line for line in output.splitlines() if line.startswith("VP ")]
    assert [line.split(":")[0] for line in shown] == ["VP 0", "VP 1", "VP 2", "VP 3"]
    assert any(f"VP {index}: APIC id {index}," not in output for index in range(4))
    assert "the hypercall page begins with 0f 01 c1 c3" in output


def test_oracle_knows_who_flushes_on_an_empty_mask() -> None:
    output = run("ask_the_oracle.py")
    assert "interrupt_changed of VP 1\n  interrupt_changed of VP 2\n" in output
    assert "hyperv: <HvStatus.INVALID_PARAMETER: 5>, flushes: 0" in output
    assert "kvm: <HvStatus.SUCCESS: 0>, flushes: 1" in output


def test_observed_calls_have_senders_and_symbols(guests: Path) -> None:
    output = run("observe_calls.py", guests / "vmlinuz-6.1")
    assert output.startswith("UNTIL after ")
    assert "VP 0 sends 0xfb to {1} from __send_ipi_one+" in output


def test_shell_session_types_and_powers_off(guests: Path, tmp_path: Path) -> None:
    output = run("shell_session.py", guests / "vmlinuz-6.1", guests / "busybox", cwd=tmp_path)
    assert "Hyper-V: Using IPI hypercalls" in output
    assert "The guest powered off." in output
    trace = (tmp_path / "trace.txt").read_text()
    assert "HvCallFlushVirtualAddressList(" in trace
    assert "HvCallSendSyntheticClusterIpi(" in trace


def test_kernel_tests_pass(guests: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
            *("-p", "no:hypothesispytest", EXAMPLES / "kernel_tests"),
            *("--hypercall-kernel", guests / "vmlinuz-6.1"),
            *("--hypercall-busybox", guests / "busybox"),
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout
    assert "5 passed" in done.stdout
