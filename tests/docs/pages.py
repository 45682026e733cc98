"""What a page of a task has for a machine to do: files, commands, and the output that it shows.

A page is Markdown. In a fenced block of the kind ``console`` a line that begins with ``$`` is a
command for the shell, one that begins with ``>`` goes on with it, and the lines up to the next
command are the command's output, standard error included. ``...`` stands for anything within a
line, and alone on a line for any number of lines. Numbers with a decimal point, which are times,
and offsets in functions (``+0x1a``) stand for any such number, and spaces for any number of
spaces, for columns are as wide as what is in them. A command whose output is not shown
may write anything. A command ends with 0, unless the next one shows its exit code by ``echo $?``.

A paragraph that ends with the name of a file in backquotes and a colon makes the block behind it
that file; where the name begins with ``examples/`` the block is a part of that file. Blocks of
other kinds are for people.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_NAME_BEFORE = re.compile(r"`([\w./-]+)`:\n\n\Z")
_ANY = "..."
_SPACES = re.compile(r"(?:\\ )+")
_NUMBER = re.compile(r"\d+\\\.\d+")
_OFFSET = re.compile(r"\\\+0x[0-9a-f]+")
_EXIT_CODE = "echo $?"


@dataclass
class Command:
    """A command, and what the page shows of it.

    Attributes:
        text: what is typed, with further lines.
        output: the lines that it is to write.
    """

    text: str
    output: list[str] = field(default_factory=list)

    @property
    def shows_exit_code(self) -> bool:
        """Whether it shows the exit code of the command before."""
        return self.text == _EXIT_CODE


@dataclass
class Step:
    """A part of a page, in its order.

    Attributes:
        file: the name of a file that the reader writes, or None.
        content: what is in it.
        commands: what the reader types.
    """

    file: str | None = None
    content: str = ""
    commands: list[Command] = field(default_factory=list)


def steps(page: str) -> Iterator[Step]:
    """Return what a page asks its reader to do.

    Raises:
        ValueError: output stands before the first command of a block.
    """
    for block in _FENCE.finditer(page):
        kind, content = block.groups()
        name = _NAME_BEFORE.search(page, 0, block.start())
        if kind == "console":
            yield Step(commands=_commands(content))
        elif name is not None:
            yield Step(file=name[1], content=content)


def _commands(content: str) -> list[Command]:
    commands: list[Command] = []
    for line in content.splitlines():
        if line.startswith("$ "):
            commands.append(Command(line[2:]))
        elif not commands:
            raise ValueError(f"{line!r} is the output of no command")
        elif line.startswith("> ") and not commands[-1].output:
            commands[-1].text += f"\n{line[2:]}"
        else:
            commands[-1].output.append(line)
    return commands


def fits(expected: list[str], output: str) -> bool:
    """Return whether output is what a page shows; ends of lines do not matter."""
    if not expected:
        return True
    text = "".join(f"{line.rstrip()}\n" for line in output.splitlines())
    return re.fullmatch(_pattern(expected), text.lstrip("\n").rstrip("\n") + "\n") is not None


def first_that_does_not_fit(expected: list[str], output: str) -> str:
    """Return the first line of those expected that the output has no place for."""
    for count in range(1, len(expected) + 1):
        if not fits([*expected[:count], _ANY], output):
            return expected[count - 1]
    return "(the output goes on after the last line)"


def _pattern(expected: list[str]) -> str:
    parts = []
    for line in expected:
        if line.strip() == _ANY:
            parts.append(r"(?:[^\n]*\n)*?")
        else:
            parts.append(r"[^\n]*?".join(map(_piece, line.rstrip().split(_ANY))) + r"\n")
    return "".join(parts)


def _piece(text: str) -> str:
    """Return the pattern of text without an ellipsis."""
    pattern = _NUMBER.sub(lambda _: r"\d+\.\d+", re.escape(text))
    pattern = _SPACES.sub("[ ]+", pattern)
    # At the beginning of a function there is no offset.
    return _OFFSET.sub(lambda _: r"(?:\+0x[0-9a-f]+)?", pattern)


def script(commands: list[Command], mark: str) -> str:
    """Return a shell script that types commands, and says after each what its exit code was.

    Args:
        commands: the commands.
        mark: what the lines with exit codes begin with.
    """
    return "".join(
        f"{command.text}\n"
        f"last_status=$?; printf '\\n%s %s\\n' {mark} $last_status; (exit $last_status)\n"
        for command in commands
    )


def outputs(text: str, mark: str) -> list[tuple[str, int]]:
    """Return the output and the exit code of each command that a script has carried out."""
    parts = re.split(rf"^{mark} (\d+)\n", text, flags=re.MULTILINE)
    return [(parts[at].strip("\n"), int(parts[at + 1])) for at in range(0, len(parts) - 1, 2)]


def is_part_of(content: str, path: Path) -> bool:
    """Return whether a block is a part of a file; ``...`` alone on a line leaves lines out."""
    pattern = _pattern(content.splitlines())
    text = "".join(f"{line.rstrip()}\n" for line in path.read_text().splitlines())
    return re.search(f"(?:^|\n){pattern}", text) is not None
