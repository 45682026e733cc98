"""Each page of docs/tasks is carried out as its reader would, and shows what comes of it."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from tests.docs.pages import first_that_does_not_fit, fits, is_part_of, outputs, script, steps

ROOT = Path(__file__).resolve().parents[2]
TASKS = ROOT / "docs" / "tasks"
PAGES = sorted(path for path in TASKS.glob("*.md") if path.name != "README.md")
MARK = "hypercall-task-exit-code"
LIMIT_SECONDS = 300


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder that docs/tasks/README.md has its reader make."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    guests = Path(os.environ.get("HYPERCALL_GUESTS") or cache / "hypercall" / "guests")
    kernels = [guests / f"vmlinuz-{name}" for name in ("6.1", "distribution")]
    kernel = next((path for path in kernels if path.exists()), None)
    if kernel is None or not (guests / "busybox").exists():
        pytest.fail(f"there is no kernel or busybox in {guests}: run script/fetch-guests")
    if shutil.which("gcc") is None or shutil.which("gdb") is None:
        pytest.fail("there is no gcc or no gdb: run script/test, which installs them")
    (tmp_path / "vmlinuz").symlink_to(kernel)
    (tmp_path / "busybox").symlink_to(guests / "busybox")
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    return tmp_path


def carry_out(text: str, folder: Path) -> str:
    """Run a shell script in a folder and return what it wrote."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "LC_ALL": "C.UTF-8"}
    for name in ("COLUMNS", "TERM", "PYTEST_ADDOPTS"):
        environment.pop(name, None)
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            ["bash", "-c", text],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            process.wait(timeout=LIMIT_SECONDS)
        finally:
            # Whatever the page has put into the background.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        output.seek(0)
        return output.read().decode("utf-8", "replace")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_the_page_shows_what_its_commands_do(page: Path, folder: Path) -> None:
    commands = []
    for step in steps(page.read_text()):
        if step.file is None:
            commands += step.commands
        elif step.file.startswith("examples/"):
            assert is_part_of(step.content, ROOT / step.file), f"not in {step.file}"
        else:
            (folder / step.file).write_text(step.content)
    assert [command for command in commands if not command.shows_exit_code], "nothing is run"
    done = outputs(carry_out(script(commands, MARK), folder), MARK)
    assert len(done) == len(commands), f"ended in {commands[len(done)].text!r}"
    shown_after = [command.shows_exit_code for command in [*commands[1:], commands[0]]]
    for command, (output, code), shown in zip(commands, done, shown_after, strict=True):
        assert code == 0 or shown, f"$ {command.text}\n{output}\nended with {code}"
        assert fits(command.output, output), (
            f"$ {command.text}\n{output}\n"
            f"has no place for: {first_that_does_not_fit(command.output, output)}"
        )


def test_every_task_is_in_the_list() -> None:
    for listing in (TASKS / "README.md", ROOT / "docs" / "index.md"):
        text = listing.read_text()
        assert not [page.name for page in PAGES if f"{page.name})" not in text]
