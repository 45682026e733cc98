import subprocess
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest

from hypercall.tour import assembler, tour_image
from hypercall.tour.assembler import PARTS, AssemblyError, assemble, source


def test_the_image_is_that_of_the_text() -> None:
    assert assemble() == tour_image(), "run script/tour-image"


def test_every_part_is_assembled() -> None:
    folder = files("hypercall.tour")
    assert {part.name for part in folder.iterdir() if part.name.endswith(".asm")} == set(PARTS)


@pytest.fixture
def text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(assembler, "files", lambda _: tmp_path)
    monkeypatch.setattr(assembler, "PARTS", ("part.asm",))
    return iter([tmp_path / "part.asm"])


def test_names_comments_and_macros(text: Iterator[Path]) -> None:
    next(text).write_text('mov eax, IPI_VECTOR ; why\n\n@text hello, "a,\\n"\ncall [VTL_CALL]\n')
    lines = source().splitlines()
    assert lines[0] == "mov eax, 64"
    assert lines[1:3] == ["hello:", ".byte 97, 44, 13, 10, 0"]
    assert lines[3].startswith("call [r14 + 0x")


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("@nonsense 1", "part.asm:2: there is no macro 'nonsense'"),
        ("mov eax, NO_SUCH_NAME", "part.asm:2: NO_SUCH_NAME has no meaning"),
        ("mov rbx, [0x1000]", "load the address into a register first"),
        ("mov rbx, [WINDOW]", "load the address into a register first"),
        ("@print", "part.asm:2"),
    ],
)
def test_what_has_no_meaning_is_named(text: Iterator[Path], line: str, complaint: str) -> None:
    next(text).write_text(f"nop\n{line}\n")
    with pytest.raises(AssemblyError) as raised:
        source()
    assert complaint in str(raised.value)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [("frobnicate eax", "'frobnicate eax'"), ("jmp nowhere", "a label may be missing")],
)
def test_what_the_assembler_refuses_is_named(tmp_path: Path, line: str, complaint: str) -> None:
    (tmp_path / "part.asm").write_text(f"nop\n{line}\n")
    program = f"""if True:
        from pathlib import Path
        from hypercall.tour import assembler
        assembler.files = lambda _: Path({str(tmp_path)!r})
        assembler.PARTS = ("part.asm",)
        try:
            assembler.assemble()
        except assembler.AssemblyError as error:
            print(error)
    """
    # In a process of its own: after an error keystone may refuse what is right.
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert complaint in done.stdout
