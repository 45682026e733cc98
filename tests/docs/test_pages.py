from pathlib import Path

import pytest
from tests.docs.pages import (
    Command,
    first_that_does_not_fit,
    fits,
    is_part_of,
    outputs,
    script,
    steps,
)

PAGE = """\
# A page

Write this to `find.gdb`:

```gdb
continue
```

Then:

```console
$ cat find.gdb
continue
$ cat <<END
> one
> END
one
$ false
$ echo $?
1
```

```sh
apt-get download everything
```
"""


def test_a_page_has_files_and_commands_with_their_output() -> None:
    file, commands = steps(PAGE)
    assert (file.file, file.content) == ("find.gdb", "continue\n")
    assert commands.commands == [
        Command("cat find.gdb", ["continue"]),
        Command("cat <<END\none\nEND", ["one"]),
        Command("false"),
        Command("echo $?", ["1"]),
    ]
    assert commands.commands[-1].shows_exit_code


def test_output_without_a_command_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="'something' is the output of no command"):
        list(steps("```console\nsomething\n```\n"))


@pytest.mark.parametrize(
    ("expected", "output", "does"),
    [
        (["one", "two"], "one  \ntwo\n\n", True),
        (["one"], "one\ntwo\n", False),
        (["one", "..."], "one\ntwo\n", True),
        (["one", "..."], "one\n", True),
        (["...", "three"], "one\ntwo\nthree", True),
        (["one", "three"], "one\ntwo\nthree", False),
        (["at ... s, vp0"], "at 1.5 s, vp0", True),
        (["at ... s, vp0"], "at 1.5\n s, vp0", False),
        (["a.c"], "abc", False),
        ([], "anything", True),
        (["halted since 1.5 s, sleep+0x2"], "halted since 12.345678 s, sleep+0x1a", True),
        (["halted since 1.5 s, sleep+0x2"], "halted since 1.5 s, sleep", True),
        (["halted since 1.5 s, sleep+0x2"], "halted since 1.5 s, wait+0x2", False),
        (["halted since 1.5 s"], "halted since 15 s", False),
        (["│ a │ b │"], "│ a   │ b │", True),
        (["│ a │ b │"], "│ a│ b │", False),
    ],
)
def test_output_fits_what_is_shown(expected: list[str], output: str, does: bool) -> None:
    assert fits(expected, output) == does


def test_the_first_line_that_is_wrong_is_named() -> None:
    assert first_that_does_not_fit(["one", "two", "three"], "one\nTWO\nthree\n") == "two"
    assert "goes on" in first_that_does_not_fit(["one"], "one\ntwo\n")


def test_a_script_says_what_came_of_each_command() -> None:
    commands = [Command("echo one"), Command("false"), Command("echo $?")]
    assert "echo one\nlast_status=$?" in script(commands, "MARK")
    assert outputs("one\n\nMARK 0\n\nMARK 1\n1\n\nMARK 0\n", "MARK") == [
        ("one", 0),
        ("", 1),
        ("1", 0),
    ]


def test_a_part_of_a_file_may_leave_lines_out(tmp_path: Path) -> None:
    path = tmp_path / "guest.c"
    path.write_text("int a;\nint b;\nint c;\n")
    assert is_part_of("int a;\n...\nint c;\n", path)
    assert not is_part_of("int a;\nint c;\n", path)
