"""Real kernels boot, use the hypervisor, run a workload and power off."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.linux.conftest import APPEND, Boot, guests

from hypercall.machine.initrd import DONE_LINE, REACHED_LINE, build_initrd

BAD = re.compile(r"BUG:|WARNING:|segfault|Call Trace|rcu:.*stall|soft lockup|unchecked MSR")

Booter = Callable[..., Boot]
Finder = Callable[[str], Path]
Builder = Callable[[Path], Path]


@pytest.fixture
def initrd_of(busybox: bytes, tmp_path: Path) -> Builder:
    """The default initial RAM disk, with a kernel's own hv_vmbus module in it."""

    def build(image: Path) -> Path:
        module = guests() / f"{image.name.replace('vmlinuz', 'hv_vmbus')}.ko"
        if not module.exists():
            pytest.skip("the kernel's package has no hv_vmbus module")
        path = tmp_path / "initrd"
        path.write_bytes(build_initrd(busybox, add={"modules/hv_vmbus.ko": module.read_bytes()}))
        return path

    return build


def check(run: Boot) -> None:
    """The guest came to its end, and nothing on its console is a complaint."""
    assert run.code == 0, run.summary
    bad = BAD.search(run.console)
    assert bad is None, run.console[max(0, bad.start() - 500) : bad.end() + 500]
    assert "Hypervisor detected: Microsoft Hyper-V" in run.console
    assert REACHED_LINE in run.console
    assert DONE_LINE in run.console
    # The checks are on, and a kernel that many hosts run makes no mistake.
    assert "of the checks" not in run.summary, run.summary


@pytest.mark.parametrize(
    ("name", "cpus"),
    [
        ("vmlinuz-6.1", 1),
        ("vmlinuz-6.1", 2),
        ("vmlinuz-6.1", 4),
        ("vmlinuz-6.1", 8),
        ("vmlinuz-6.12", 1),
        ("vmlinuz-6.12", 2),
        ("vmlinuz-6.12", 4),
    ],
)
def test_a_kernel_boots(name: str, cpus: int, kernel: Finder, initrd: Path, boot: Booter) -> None:
    run = boot(kernel(name), initrd, "--cpus", str(cpus), "--seed", str(cpus))
    check(run)
    if cpus > 1:
        assert "Using IPI hypercalls" in run.console
        assert "Using hypercall for remote TLB flush" in run.console
        assert "HvCallSendSyntheticClusterIpi(" in run.trace
        assert "HvCallFlushVirtualAddress" in run.trace
        assert "= SUCCESS" in run.trace


@pytest.mark.parametrize("name", ["vmlinuz-6.1", "vmlinuz-6.12"])
def test_processors_with_shuffled_vp_indexes_boot(
    name: str, kernel: Finder, initrd: Path, boot: Booter
) -> None:
    run = boot(kernel(name), initrd, "--cpus", "4", "--shuffle-vp-index", "3", "--check-stale")
    check(run)
    assert "HvCallFlushVirtualAddress" in run.trace


def test_a_kernel_moves_itself_and_isolates_page_tables(
    kernel: Finder, initrd: Path, boot: Booter
) -> None:
    run = boot(
        kernel("vmlinuz-6.1"),
        initrd,
        *("--cpus", "2", "--entry", "decompressor"),
        append="console=ttyS0 panic=-1 pti=on",
    )
    check(run)
    assert "Kernel/User page tables isolation: force enabled" in run.console
    # Call sites are named although nothing says where the kernel has moved.
    assert "[__send_ipi" in run.trace or "hv_do" in run.trace


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(
    kernel: Finder, initrd: Path, boot: Booter
) -> None:
    image = kernel("vmlinuz-6.1")
    # The look at all translations changes nothing either, and finds nothing.
    first, second, other = (
        boot(image, initrd, "--cpus", "4", "--seed", *options)
        for options in (("7",), ("7", "--check-stale"), ("8",))
    )
    check(first)
    check(second)
    assert first.trace == second.trace
    assert first.console == second.console
    assert first.trace != other.trace


@pytest.mark.parametrize(
    ("name", "entry", "append"),
    [("6.1", "vmlinux", APPEND), ("6.12", "decompressor", f"{APPEND} pti=on")],
)
def test_the_vmbus_driver_agrees_on_a_version(
    name: str, entry: str, append: str, kernel: Finder, initrd_of: Builder, boot: Booter
) -> None:
    image = kernel(f"vmlinuz-{name}")
    run = boot(image, initrd_of(image), "--cpus", "2", "--entry", entry, append=append)
    check(run)
    assert "Vmbus version:" in run.console
    places = re.findall(r"HvCallPostMessage\(.*  \[(.*)\]$", run.trace, re.MULTILINE)
    assert len(places) >= 2
    # The driver is a module: its functions are named as the kernel names them.
    assert all(re.fullmatch(r"hv_post_message\+0x\w+ \[hv_vmbus\]", place) for place in places)
    assert not re.search(r"  \[0x\w+\]$", run.trace, re.MULTILINE)


def test_a_fault_in_a_module_is_met_again_in_a_recorded_run(
    kernel: Finder, initrd_of: Builder, boot: Booter, tmp_path: Path
) -> None:
    image = kernel("vmlinuz-6.1")
    fault = "call=PostMessage,site=hv_post_message [hv_vmbus],nth=1,status=INSUFFICIENT_BUFFERS"
    record = tmp_path / "run.hcrun"
    run = boot(image, initrd_of(image), "--inject", fault, "--record", str(record))
    check(run)
    assert "INSUFFICIENT_BUFFERS (injected)  <0ns>  [hv_post_message+0x" in run.trace
    # The driver tries again.
    assert "Vmbus version:" in run.console
    trace = tmp_path / "again"
    done = subprocess.run(
        [sys.executable, "-m", "hypercall.cli.app", "replay", str(record), "--trace", str(trace)],
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    assert trace.read_text() == run.trace


def test_an_idle_hour_passes_quickly(
    kernel: Finder, busybox: bytes, boot: Booter, tmp_path: Path
) -> None:
    path = tmp_path / "initrd"
    script = "#!/bin/busybox sh\n/bin/busybox sleep 3600\n/bin/busybox poweroff -f\n"
    path.write_bytes(build_initrd(busybox, init_script=script))
    # The time limit of the fixture's run would end it; a later one overrides it. Were the hour
    # waited for, the fixture's limit of host time would.
    run = boot(kernel("vmlinuz-6.1"), path, "--limit", "4000")
    assert run.code == 0, run.summary
    stamps = re.findall(r"^\[ *(\d+)\.\d+\]", run.console, re.MULTILINE)
    assert int(stamps[-1]) >= 3600
