import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_machine import FakeMachine
from recorded_guest import CODE

from hypercall.cli import app, guest
from hypercall.cli.guest import RunOptions
from hypercall.tour import tour_image

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image.bin"
    path.write_bytes(b"\xf4")
    return path


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[FakeMachine]:
    machines: list[FakeMachine] = []

    def make(options: RunOptions) -> FakeMachine:
        machines.append(FakeMachine(options))
        return machines[-1]

    monkeypatch.setattr(guest, "make_machine", make)
    return machines


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: object) -> tuple[int, str]:
        with pytest.raises(SystemExit) as leaving:
            app.main(["run", *map(str, arguments)])
        assert isinstance(leaving.value.code, int)
        return leaving.value.code, capsys.readouterr().err

    return call


def test_every_option_reaches_the_machine(
    image: Path, tmp_path: Path, made: list[FakeMachine], run: Run
) -> None:
    initrd = tmp_path / "initrd"
    initrd.touch()
    code, _ = run(
        *("--cpus", 4, "--memory", "1G", "--seed", 7, "--shuffle-vp-index", 3, "--time", "host"),
        *(
            "--like",
            "kvm",
            "--privileges",
            "minimal,+AccessVsm",
            "--entry",
            "decompressor",
            "--limit",
            2.5,
            "--append",
            "quiet",
            "--check=strict",
            "--check-stale",
        ),
        *("--initrd", initrd, "--console", tmp_path / "console", image),
    )
    assert code == 0
    (machine,) = made
    options = machine.options
    assert (options.cpus, options.memory, options.seed) == (4, 1 << 30, 7)
    assert (options.shuffle_vp_index, options.time, options.like) == (3, "host", "kvm")
    assert options.privileges == "minimal,+AccessVsm"
    assert options.check == "strict"
    assert machine.checks_stale
    assert machine.loaded == (image, initrd, "quiet", "decompressor")
    assert machine.limit_ns == 2_500_000_000


def test_the_defaults(image: Path, made: list[FakeMachine], run: Run) -> None:
    code, _ = run(image)
    assert code == 0
    (machine,) = made
    assert machine.options == RunOptions(image=image)
    assert machine.loaded == (image, None, "", "vmlinux")
    assert machine.limit_ns is None


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--cpus", "0"], "--cpus: 0 is not between 1 and 64"),
        (["--cpus", "65"], "--cpus: 65 is not between 1 and 64"),
        (["--cpus", "two"], "--cpus"),
        (["--memory", "banana"], "--memory: 'banana' is not a size"),
        (["--memory", "1000"], "too little"),
        (["--like", "foo"], "--like: there is no 'foo': give hyperv, kvm, xen or openvmm"),
        (["--privileges", "azure"], "--privileges: 'azure' is no profile"),
        (["--time", "sometimes"], "virtual or host"),
        (["--entry", "middle"], "vmlinux or decompressor"),
        (["--trace", "t", "--trace-format", "xml"], "strace, jsonl or perfetto"),
        (["--check", "loudly"], "warn, strict or off"),
        (["--check", "off", "--check-stale"], "--check-stale is a check: add --check=warn"),
        (["--trace-format", "jsonl"], "add --trace FILE"),
        (["--trace", "t", "--trace-events", "halts"], "--trace-events: there is no kind 'halts'"),
        (["--trace-events", "all"], "add --trace FILE"),
        (["--seed", "-1"], "--seed: -1 is not between"),
        (["--shuffle-vp-index", "99999999999999999999"], "--shuffle-vp-index"),
        (["--stop-at", "never"], "--stop-at: 'never' is no moment"),
        (["--save", "/no/such/file"], "--save: cannot write /no/such/file: there is no directory"),
        (["--record", "/"], "--record: cannot write /: it is not a file"),
        (["--record", "r", "--time", "host"], "--record needs a time that comes again"),
        (["--save", "r", "--time", "host"], "--save needs a time that comes again"),
        (["--record", "r", "--gdb", ":0"], "--record and --gdb exclude one another"),
        (["--limit", "-1"], "--limit: -1 is not a number of seconds greater than 0"),
        (["--limit", "0"], "--limit"),
        (["--limit", "nan"], "--limit"),
        (["--limit", "inf"], "--limit"),
        (["--limit", "soon"], "--limit"),
        (["--initrd", "/no/such/file"], "cannot read the initrd /no/such/file: no such file"),
        (["--initrd", "/"], "it is a directory"),
        (["--trace", "/no/such/place"], "--trace: cannot write /no/such/place: no such file"),
        (["--console", "/"], "--console: cannot write /: is a directory"),
        (["--frobnicate"], "--frobnicate"),
        (["extra"], "extra"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    image: Path, made: list[FakeMachine], run: Run, arguments: list[str], complaint: str
) -> None:
    code, shown = run(image, *arguments)
    assert code == 2
    assert complaint in shown
    assert shown.startswith("hypercall: ")
    assert shown.count("\n") == 1
    assert all(machine.limit_ns is None and machine.time_ns == 0 for machine in made)


def test_a_missing_image_is_one_line(run: Run) -> None:
    code, shown = run("/no/such/image")
    assert (code, shown) == (
        2,
        "hypercall: cannot read the image /no/such/image: no such file or directory\n",
    )


def test_without_an_image_it_is_the_tour(made: list[FakeMachine], run: Run) -> None:
    assert run("--limit", 3) == (0, run("--limit", 3)[1])
    options = made[0].options
    assert (options.image, options.cpus, options.privileges) == (None, 2, "all")
    assert made[0].loaded == (tour_image(), None, "", "vmlinux")
    run("--cpus", 3, "--privileges", "kvm")
    options = made[-1].options
    assert (options.cpus, options.privileges) == (3, "kvm")


@pytest.mark.parametrize("option", ["--initrd", "--append"])
def test_the_tour_takes_nothing_for_linux(
    image: Path, made: list[FakeMachine], run: Run, option: str
) -> None:
    code, shown = run(option, image)
    assert code == 2
    assert "give an IMAGE" in shown
    assert not made


def test_an_output_is_never_written_over_an_input(
    image: Path, made: list[FakeMachine], run: Run
) -> None:
    code, shown = run(image, "--trace", image)
    assert code == 2
    assert "is also the image" in shown
    assert image.read_bytes() == b"\xf4"
    code, shown = run(image, "--trace", image.parent / "x", "--console", image.parent / "x")
    assert code == 2
    assert "is also the console file" in shown


def test_a_bad_image_leaves_an_old_trace_alone(
    tmp_path: Path, made: list[FakeMachine], run: Run
) -> None:
    image, trace = tmp_path / "image", tmp_path / "trace"
    image.touch()
    trace.write_text("an older trace")
    code, shown = run(image, "--trace", trace)
    assert code == 2
    assert "the file is empty" in shown
    assert trace.read_text() == "an older trace"


@pytest.mark.parametrize("place", ["tcp:0.0.0.0:5000", "unix:socket", "file:posted"])
def test_the_debug_channel_is_carried_while_the_machine_runs(
    image: Path, made: list[FakeMachine], run: Run, place: str
) -> None:
    code, said = run("--debug-channel", place, image)
    assert code == 0
    connection = made[0].connection
    assert connection is not None
    assert (connection.place, connection.closed) == (place, True)
    assert (f"listens at {place}" in said) is connection.receives


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("com:1", "--debug-channel: 'com:1' is no place"),
        ("tcp:70000", "--debug-channel: 'tcp:70000' is no place"),
        ("unix:taken", "--debug-channel: somebody listens there"),
    ],
)
def test_a_bad_debug_channel_is_one_line(
    image: Path, made: list[FakeMachine], run: Run, place: str, message: str
) -> None:
    code, said = run("--debug-channel", place, image)
    assert code == 2
    assert message in said
    assert said.count("\n") == 1


def test_the_debug_channel_is_never_written_over_an_input(image: Path, run: Run) -> None:
    code, said = run("--debug-channel", f"file:{image}", image)
    assert code == 2
    assert "is also the image" in said
    assert image.read_bytes() == b"\xf4"


def test_every_option_is_in_the_help() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "hypercall.cli.app", "run", "--help"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for option in (
        *("IMAGE", "--initrd", "--append", "--cpus", "--memory", "--seed", "--shuffle-vp-index"),
        *("--time", "--like", "--trace", "--trace-format", "--limit", "--console", "--entry"),
    ):
        assert option in shown


@pytest.mark.parametrize("place", [":1234", "0.0.0.0:0", "unix:socket"])
def test_gdb_runs_the_machine_and_is_told_where(
    image: Path, made: list[FakeMachine], run: Run, place: str
) -> None:
    code, said = run("--gdb", place, image)
    assert code == 0
    server = made[0].server
    assert server is not None
    assert (server.place, server.closed) == (place, True)
    assert f"The guest waits for gdb: target remote {place}\n" in said


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("somewhere", "--gdb: 'somewhere' is no place for gdb to connect to: give :PORT"),
        (":70000", "--gdb: ':70000' is no place"),
        ("unix:taken", "--gdb: somebody listens there"),
    ],
)
def test_a_bad_place_for_gdb_is_one_line(
    image: Path, made: list[FakeMachine], run: Run, place: str, message: str
) -> None:
    code, said = run("--gdb", place, image)
    assert code == 2
    assert message in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--cpus", 2), "--cpus: a snapshot has its own machine"),
        (("--seed", 0), "--seed: a snapshot has its own machine"),
        (("--append", "x"), "--append: a snapshot has its own machine"),
        (("--record", "r"), "--record: a recording begins with an image"),
    ],
)
def test_what_a_snapshot_does_not_take(
    image: Path, tmp_path: Path, run: Run, options: tuple[object, ...], complaint: str
) -> None:
    saved = tmp_path / "saved"
    assert run(image, "--limit", 0.001, "--save", saved)[0] in (1, 3)
    code, said = run(saved, *options)
    assert code == 2
    assert said.startswith(f"hypercall: {complaint}")


def test_a_snapshot_is_gone_on_from(tmp_path: Path, run: Run) -> None:
    image, saved, console = (tmp_path / name for name in ("guest.bin", "saved", "console"))
    image.write_bytes(CODE)
    (tmp_path / "keys").write_bytes(b"k")
    command = [sys.executable, "-m", "hypercall.cli.app"]
    with (tmp_path / "keys").open() as keys:
        done = subprocess.run(
            [*command, "run", image, "--stop-at", "console:d", "--save", saved],
            stdin=keys,
            capture_output=True,
            check=False,
        )
    assert done.returncode == 0
    assert done.stdout == b"a\nb\nc\nd\n"
    assert b"The run was paused: at console:d." in done.stderr
    for _ in range(2):
        code, _ = run(saved, "--console", console)
        assert code == 0
        assert console.read_bytes() == b"".join(b"%c\n" % letter for letter in range(101, 117))


def test_a_moment_after_the_limit(image: Path, tmp_path: Path, run: Run) -> None:
    image = tmp_path / "guest.bin"
    image.write_bytes(CODE)
    saved = tmp_path / "saved"
    code, said = run(image, "--limit", 0.001, "--stop-at", "2ms", "--save", saved)
    assert code == 2
    assert "--stop-at: 2ms never came: the run ended at 0.001" in said
    assert not saved.exists()


def test_a_recording_needs_images_that_can_be_read_twice(tmp_path: Path, run: Run) -> None:
    os.mkfifo(tmp_path / "pipe.bin")
    with subprocess.Popen(["cp", "/dev/stdin", tmp_path / "pipe.bin"], stdin=subprocess.PIPE) as cp:
        assert cp.stdin is not None
        cp.stdin.write(CODE)
        cp.stdin.close()
        code, said = run(tmp_path / "pipe.bin", "--record", tmp_path / "run.hcrun")
    assert code == 2
    assert "pipe.bin twice: copy it into a file" in said
