"""A real gdb debugs Debian's 6.1 kernel, and the run stays what it is without."""

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

LIMIT = "2.2"
COMMANDS = """\
set pagination off
set confirm off
set width 0
target remote PLACE
monitor symbols SYMBOLS
add-symbol-file SYMBOLS
break *__schedule
continue
backtrace 2
info threads
delete
break *smp_call_function_many_cond
continue
p $_thread
info threads
delete
watch *(long *) &jiffies
continue
delete
stepi 100
monitor vp
monitor calls
detach
"""

BACKWARD = """\
set pagination off
set confirm off
set width 0
target remote PLACE
monitor symbols SYMBOLS
add-symbol-file SYMBOLS
break *do_exit
continue
info threads
delete
printf "ticks %lu\\n", *(unsigned long *) &jiffies
watch *(unsigned long *) &jiffies
reverse-continue
reverse-continue
stepi
printf "ticks %lu\\n", *(unsigned long *) &jiffies
reverse-stepi
printf "ticks %lu\\n", *(unsigned long *) &jiffies
delete
break *__schedule
reverse-continue
info registers rip
delete
stepi 3
reverse-stepi 3
info registers rip
kill
"""


def run(image: Path, directory: Path, *options: str) -> list[str]:
    return [
        *(sys.executable, "-m", "hypercall.cli.app", "run", str(image), "--cpus", "2"),
        *("--append", "console=ttyS0", "--limit", LIMIT, "--trace", str(directory / "trace")),
        *("--console", str(directory / "console"), "--trace-events", "all", *options),
    ]


def debug(image: Path, directory: Path, commands: str) -> tuple[str, int]:
    """Let gdb debug a kernel; return what gdb wrote, and the command's exit code."""
    assert shutil.which("gdb"), "gdb is missing: run script/test, which installs it"
    socket = directory / "gdb"
    script = directory / "commands"
    symbols = directory / "kernel.elf"
    script.write_text(commands.replace("PLACE", str(socket)).replace("SYMBOLS", str(symbols)))
    with subprocess.Popen(
        run(image, directory, "--gdb", f"unix:{socket}"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as guest:
        try:
            deadline = time.monotonic() + 30
            while not socket.exists() and time.monotonic() < deadline:
                time.sleep(0.05)
            gdb = subprocess.run(
                ["gdb", "-q", "-nx", "-batch", "-x", str(script)],
                capture_output=True,
                text=True,
                timeout=120,
                stdin=subprocess.DEVNULL,
                check=False,
            )
            guest.communicate(timeout=60)
        finally:
            guest.kill()
    return gdb.stdout + gdb.stderr, guest.returncode


def test_a_kernel_is_debugged_and_does_what_it_does(
    kernel: Callable[[str], Path], tmp_path: Path
) -> None:
    image = kernel("vmlinuz-6.1")
    alone, debugged = tmp_path / "alone", tmp_path / "debugged"
    alone.mkdir()
    debugged.mkdir()
    subprocess.run(run(image, alone), capture_output=True, timeout=120, check=False)
    output, code = debug(image, debugged, COMMANDS)
    assert code == 3, output
    assert "hit Breakpoint 1, 0x" in output
    assert re.search(r"#0 .* in __schedule \(\)\n#1 .* in schedule \(\)", output)
    assert re.search(r'"VP 1" \(VTL0, waiting for start-up\)', output)
    assert "hit Breakpoint 2, 0x" in output
    assert "hit Hardware watchpoint 3: *(long *) &jiffies" in output
    old, new = re.findall(r"(?:Old|New) value = (\d+)", output)
    assert int(new) == int(old) + 1
    assert "VP 1 (thread 2, APIC id 1): VTL0" in output
    assert "HvExtCallQueryCapabilities SUCCESS" in output
    assert (debugged / "kernel.elf").stat().st_size > 1_000_000
    for name in ("trace", "console"):
        assert (debugged / name).read_bytes() == (alone / name).read_bytes(), name
    assert (alone / "trace").stat().st_size > 10_000


def test_a_kernel_goes_back(kernel: Callable[[str], Path], tmp_path: Path) -> None:
    output, code = debug(kernel("vmlinuz-6.1"), tmp_path, BACKWARD)
    assert code == 130, output
    # The last change of the counter is found, and the one before.
    after, before, long_before = (int(text) for text in re.findall(r"ticks (\d+)", output))
    assert (after - before, before - long_before) == (1, 1)
    assert output.count("Hardware watchpoint 2: ") >= 2
    assert "in do_timer ()" in output
    assert '"VP 1" (VTL0, waiting for start-up)' not in output
    assert "hit Breakpoint 3, 0x" in output
    first, last = re.findall(r"^rip +(0x\w+)", output, re.MULTILINE)
    assert first == last
