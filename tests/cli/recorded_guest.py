"""A small guest for recordings, and ways to run it."""

from pathlib import Path

import pytest
from tests.guests.assembly import write_msr
from tests.guests.kit import assemble

from hypercall.cli import app

# Waits for a key, then makes 20 calls, every second one of an unknown code, with pauses of half a
# thousandth of a second between them, and writes a letter after each.
CODE = assemble(
    f"""
    {write_msr(0x40000000, 1)}
    {write_msr(0x40000001, 0x190001)}
    mov dx, 0x3FD
key:
    in al, dx
    test al, 1
    jz key
    mov dx, 0x3F8
    in al, dx
    mov [0x180008], al
    xor ebx, ebx
next:
    mov ecx, 8
    test bl, 1
    jz known
    mov ecx, 0xBEEF
known:
    vmcall
    inc ebx
    mov [0x180000], rbx
    mov dx, 0x3F8
    lea eax, [rbx + 96]
    out dx, al
    mov eax, 10
    out dx, al
    mov edi, 100000
wait:
    sub edi, 1
    jnz wait
    cmp ebx, 20
    jb next
    xor eax, eax
    cmp byte ptr [0x180008], 'k'
    je leave
    inc eax
leave:
    out 0xF4, eax
    """,
    0x100000,
)


def hypercall(*arguments: object) -> int:
    """Run the command; return its exit code."""
    with pytest.raises(SystemExit) as leaving:
        app.main([*map(str, arguments)])
    assert isinstance(leaving.value.code, int)
    return leaving.value.code


def record(directory: Path, monkeypatch: pytest.MonkeyPatch, *options: object) -> Path:
    """Record a run of the guest, with a ``k`` for it; return the place of the recording."""
    image, keys, recording = (directory / name for name in ("guest.bin", "keys", "run.hcrun"))
    image.write_bytes(CODE)
    keys.write_bytes(b"k")
    with keys.open() as stream:
        monkeypatch.setattr("sys.stdin", stream)
        code = hypercall(
            *("run", image, "--memory", "4M", "--record", recording, *options),
            *("--trace", directory / "first.jsonl", "--trace-format", "jsonl"),
            *("--trace-events", "all"),
        )
    assert code == (0 if not options else 3)
    return recording
