"""The kernels that script/fetch-guests has put into the cache, and the command to boot them."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from hypercall.machine.initrd import build_initrd

KERNELS = ("vmlinuz-6.1", "vmlinuz-6.12", "vmlinuz-distribution")
APPEND = "console=ttyS0 panic=-1"


def guests() -> Path:
    """Where the guests are."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return Path(os.environ.get("HYPERCALL_GUESTS", cache / "hypercall" / "guests"))


@dataclass(frozen=True)
class Boot:
    """What one run of the command left behind.

    Attributes:
        code: its exit code.
        console: what the guest wrote.
        trace: the trace.
        summary: the standard error.
    """

    code: int
    console: str
    trace: str
    summary: str


@pytest.fixture(scope="session")
def kernel() -> Callable[[str], Path]:
    """Find a kernel; on a machine without Debian's kernels the distribution's stands for 6.1."""

    def find(name: str) -> Path:
        path = guests() / name
        if path.exists():
            return path
        instead = guests() / "vmlinuz-distribution"
        if instead.exists():
            if name == "vmlinuz-6.1":
                return instead
            pytest.skip(f"this distribution's apt has no {name}")
        pytest.fail(f"{path} is missing: run script/fetch-guests --all")

    return find


@pytest.fixture(scope="session")
def busybox() -> bytes:
    """A static busybox."""
    path = guests() / "busybox"
    if not path.exists():
        pytest.fail(f"{path} is missing: run script/fetch-guests --all")
    return path.read_bytes()


@pytest.fixture(scope="session")
def initrd(busybox: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default initial RAM disk: a workload on all processors, then power-off."""
    path = tmp_path_factory.mktemp("linux") / "initrd"
    path.write_bytes(build_initrd(busybox))
    return path


@pytest.fixture
def boot(tmp_path: Path) -> Callable[..., Boot]:
    """Run the command on a kernel, with console and trace in files."""

    def run(image: Path, initrd: Path, *options: str, append: str = APPEND) -> Boot:
        console, trace = tmp_path / "console.txt", tmp_path / "trace.txt"
        done = subprocess.run(
            [
                *(sys.executable, "-m", "hypercall.cli.app", "run", str(image)),
                *("--initrd", str(initrd), "--append", append, "--limit", "120"),
                *("--console", str(console), "--trace", str(trace), *options),
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

        def text(path: Path) -> str:
            return path.read_bytes().decode("utf-8", "replace") if path.exists() else ""

        return Boot(done.returncode, text(console), text(trace), done.stderr)

    return run
