"""Builds an initial RAM disk for Linux from a static busybox and a script."""

import re
from collections.abc import Mapping
from enum import Enum

from hypercall.errors import InputError
from hypercall.machine.cpio import CpioArchive
from hypercall.machine.loaders.elf_image import ELF_MAGIC, parse_elf
from hypercall.machine.loaders.image_reader import ImageReader

#: The line that the default init prints first, followed by a comma and the kernel's version.
REACHED_LINE = "hypercall: init reached"
#: The line that the default init prints before it powers the machine off.
DONE_LINE = "hypercall: workload done"

# Busybox keeps the names of its applets as one sorted list, which starts with "[" and "[[".
_APPLET_NAMES = re.compile(rb"\0\[\0\[\[\0((?:[a-z0-9_.+-]+\0)+)\0")
# What the scripts here need, should the list not be found.
_NEEDED_APPLETS = (
    "ash",
    "cat",
    "cttyhack",
    "cut",
    "dd",
    "dmesg",
    "echo",
    "env",
    "false",
    "find",
    "grep",
    "gzip",
    "head",
    "insmod",
    "kill",
    "ln",
    "ls",
    "mkdir",
    "mknod",
    "mount",
    "nproc",
    "poweroff",
    "printf",
    "ps",
    "reboot",
    "sed",
    "seq",
    "setsid",
    "sh",
    "sleep",
    "sort",
    "sync",
    "tail",
    "taskset",
    "tee",
    "test",
    "time",
    "top",
    "true",
    "umount",
    "uname",
    "uptime",
    "vi",
    "wc",
    "yes",
)

_DEVICES = (
    ("dev/console", 5, 1, 0o600),
    ("dev/null", 1, 3, 0o666),
    ("dev/zero", 1, 5, 0o666),
    ("dev/tty", 5, 0, 0o666),
    ("dev/ttyS0", 4, 64, 0o600),
    ("dev/kmsg", 1, 11, 0o644),
)

_PREPARE = f"""\
#!/bin/sh
export PATH=/bin HOME=/
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev 2>/dev/null
echo "{REACHED_LINE}, $(uname -r), $(nproc) processors"
for module in /modules/*.ko; do
    [ -e "$module" ] && insmod "$module"
done
"""

# First a process that is moved to another processor whenever it sleeps: the one that it left still
# has its address space loaded, and must flush what the process changes. Then workers that move
# from processor to processor, and pass data on to each other: the processors wake each other up.
_WORKLOAD = f"""\
processors=$(nproc)
move() {{
    taskset -p $(printf %x $((1 << ($1 % processors)))) $2 >/dev/null
}}
if [ $processors -gt 1 ]; then
    mkfifo /tmp/orders
    (while read -r count; do seq $count | wc -l >/dev/null; done </tmp/orders) &
    mover=$!
    exec 3>/tmp/orders
    move 0 $$
    round=1
    while [ $round -le $((processors * 2)) ]; do
        move $round $mover
        echo $round >&3
        sleep 0.02
        round=$((round + 1))
    done
    exec 3>&-
    wait
fi
work() {{
    # The shell's $$ is its parent here.
    read -r self rest </proc/self/stat
    round=0
    while [ $round -lt 2 ]; do
        move $(($1 + round)) $self
        seq 1 50 | sort -n -r | tail -n 1 >/dev/null
        dd if=/dev/zero bs=4k count=32 2>/dev/null | cat | wc -c >/dev/null
        round=$((round + 1))
    done
}}
worker=0
while [ $worker -le $processors ]; do
    work $worker &
    worker=$((worker + 1))
done
wait
echo "{DONE_LINE}"
poweroff -f
"""

_SHELL = """\
setsid cttyhack sh
poweroff -f
"""


class DefaultInit(Enum):
    """The init scripts that come with the package."""

    WORKLOAD = _PREPARE + _WORKLOAD
    SHELL = _PREPARE + _SHELL


def build_initrd(
    busybox: bytes,
    init_script: str | None = None,
    shell: bool = False,
    *,
    add: Mapping[str, bytes] | None = None,
    name: str = "busybox",
) -> bytes:
    """Build an archive with busybox, a link for each of its applets, devices and /init.

    The default init mounts proc and sys, prints one line, loads the modules that are in /modules,
    lets a few processes on all processors work and talk to each other, and powers off.

    Args:
        busybox: a statically linked busybox for x86.
        init_script: the text of /init instead of the default one.
        shell: the default init gives a prompt instead of working; it powers off when that ends.
        add: more files: path in the archive to content; what starts with ``#!`` or is an ELF
            file is made executable.
        name: what to call the busybox in error messages.

    Raises:
        InputError: the busybox is not a static one for x86, or a path makes no sense.
    """
    if init_script is not None and shell:
        raise InputError("an init script and the shell exclude each other; give one of them")
    _check_busybox(busybox, name)
    archive = CpioArchive()
    for directory in ("bin", "dev", "etc", "modules", "proc", "root", "sys", "tmp"):
        archive.add_directory(directory)
    for path, major, minor, mode in _DEVICES:
        archive.add_character_device(path, major, minor, mode)
    archive.add_file("bin/busybox", busybox, 0o755)
    for applet in _applets(busybox):
        archive.add_symbolic_link(f"bin/{applet}", "busybox")
    if init_script is None:
        init_script = (DefaultInit.SHELL if shell else DefaultInit.WORKLOAD).value
    archive.add_file("init", init_script.encode("utf-8", "surrogateescape"), 0o755)
    for path, data in (add or {}).items():
        if not path.strip("/") or ".." in path.split("/"):
            raise InputError(f"{path!r} is no path inside the initial RAM disk")
        executable = data.startswith((b"#!", ELF_MAGIC))
        archive.add_file(path, data, 0o755 if executable else 0o644)
    return archive.finish()


def _check_busybox(busybox: bytes, name: str) -> None:
    reader = ImageReader(busybox, name)
    if not busybox.startswith(ELF_MAGIC):
        raise reader.fail(
            "not an ELF program; give a busybox for x86, such as /bin/busybox of the "
            "package busybox-static"
        )
    if parse_elf(reader).interpreted:
        raise reader.fail(
            "dynamically linked, and the initial RAM disk has no libraries; "
            "give a static one, such as that of the package busybox-static"
        )


def _applets(busybox: bytes) -> list[str]:
    found = _APPLET_NAMES.search(busybox)
    names = [*found[1].decode().split("\0")[:-1], "[", "[["] if found else _NEEDED_APPLETS
    return [applet for applet in names if applet != "busybox"]
