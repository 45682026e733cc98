import struct
from typing import Any

import pytest

from hypercall.errors import InputError
from hypercall.machine.initrd import DONE_LINE, REACHED_LINE, build_initrd


def busybox(
    *, machine: int = 62, interpreted: bool = False, applets: bytes = b"[\0[[\0ash\0cat\0sh\0"
) -> bytes:
    """An ELF file with one segment and a list of applet names."""
    headers = struct.pack("<IIQQQQQQ", 1, 5, 0, 0x400000, 0x400000, 1, 1, 16)
    if interpreted:
        headers += struct.pack("<I", 3) + bytes(52)
    header = (
        b"\x7fELF\x02\x01\x01"
        + bytes(9)
        + struct.pack(
            "<HHIQQQIHHHHHH", 2, machine, 1, 0x400000, 64, 0, 0, 64, 56, len(headers) // 56, 0, 0, 0
        )
    )
    return header + headers + b"text\0" + applets + b"\0more"


def files(archive: bytes) -> dict[str, tuple[int, bytes]]:
    """Mode and data by path."""
    found: dict[str, tuple[int, bytes]] = {}
    offset = 0
    while (name := _name(archive, offset)) != "TRAILER!!!":
        size, name_size = (int(archive[offset + at : offset + at + 8], 16) for at in (54, 94))
        start = -(-(offset + 110 + name_size) // 4) * 4
        mode = int(archive[offset + 14 : offset + 22], 16)
        found[name] = (mode, archive[start : start + size])
        offset = -(-(start + size) // 4) * 4
    return found


def _name(archive: bytes, offset: int) -> str:
    return archive[offset + 110 : archive.index(0, offset + 110)].decode()


def test_busybox_its_links_and_the_console_are_there() -> None:
    program = busybox()
    found = files(build_initrd(program))
    assert found["bin/busybox"] == (0o100755, program)
    assert {path for path, (mode, _) in found.items() if mode == 0o120777} == {
        "bin/[",
        "bin/[[",
        "bin/ash",
        "bin/cat",
        "bin/sh",
    }
    assert found["bin/sh"][1] == b"busybox"
    assert found["dev/console"][0] == 0o20600
    assert {"proc", "sys"} <= set(found)


def test_without_a_list_of_applets_the_needed_ones_are_linked() -> None:
    found = files(build_initrd(busybox(applets=b"")))
    for applet in ("sh", "mount", "insmod", "taskset", "cttyhack", "poweroff"):
        assert f"bin/{applet}" in found


def test_the_default_init_works_and_powers_off() -> None:
    mode, script = files(build_initrd(busybox()))["init"]
    assert mode == 0o100755
    assert script.startswith(b"#!/bin/sh\n")
    assert REACHED_LINE.encode() in script
    assert DONE_LINE.encode() in script
    assert script.endswith(b"poweroff -f\n")


def test_the_shell_takes_the_place_of_the_work() -> None:
    _, script = files(build_initrd(busybox(), shell=True))["init"]
    assert REACHED_LINE.encode() in script
    assert b"setsid cttyhack sh\n" in script
    assert DONE_LINE.encode() not in script


def test_an_init_of_one_s_own_is_taken_as_it_is() -> None:
    script = "#!/bin/sh\necho own\n"
    assert files(build_initrd(busybox(), script))["init"] == (0o100755, script.encode())


def test_more_files_are_added() -> None:
    add = {"modules/hv_vmbus.ko": busybox(), "/etc/motd": b"hello", "bin/run": b"#!/bin/sh\n"}
    found = files(build_initrd(busybox(), add=add))
    assert found["modules/hv_vmbus.ko"] == (0o100755, busybox())
    assert found["etc/motd"] == (0o100644, b"hello")
    assert found["bin/run"][0] == 0o100755


def test_the_same_input_gives_the_same_bytes() -> None:
    assert build_initrd(busybox()) == build_initrd(busybox())


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (b"", "not an ELF program"),
        (b"#!/bin/sh\n", "not an ELF program"),
        (busybox(interpreted=True), "dynamically linked"),
        (busybox(machine=183), "another machine .ARM64."),
        (busybox()[:100], "truncated"),
    ],
)
def test_another_program_is_refused(program: bytes, message: str) -> None:
    with pytest.raises(InputError, match=f"my busybox: .*{message}"):
        build_initrd(program, name="my busybox")


@pytest.mark.parametrize(
    "options", [{"init_script": "x", "shell": True}, {"add": {"": b""}}, {"add": {"../x": b""}}]
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        build_initrd(busybox(), **options)
