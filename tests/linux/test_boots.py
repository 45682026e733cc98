"""Real kernels boot, use the hypervisor, run a workload and power off."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.linux.conftest import Boot, guests

from hypercall.machine.initrd import DONE_LINE, REACHED_LINE, build_initrd

BAD = re.compile(r"BUG:|WARNING:|segfault|Call Trace|rcu:.*stall|soft lockup|unchecked MSR")

Booter = Callable[..., Boot]
Finder = Callable[[str], Path]


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


def test_the_vmbus_driver_agrees_on_a_version(
    kernel: Finder, busybox: bytes, boot: Booter, tmp_path: Path
) -> None:
    image = kernel("vmlinuz-6.1")
    module = guests() / image.name.replace("vmlinuz", "hv_vmbus").replace("6.1", "6.1.ko")
    if not module.exists():
        module = guests() / "hv_vmbus-distribution.ko"
    if not module.exists():
        pytest.skip("the kernel's package has no hv_vmbus module")
    path = tmp_path / "initrd"
    path.write_bytes(build_initrd(busybox, add={"modules/hv_vmbus.ko": module.read_bytes()}))
    run = boot(image, path, "--cpus", "2")
    check(run)
    assert "Vmbus version:" in run.console
    assert run.trace.count("HvCallPostMessage(") >= 2


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
