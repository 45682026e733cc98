"""The plugin as projects have it: a project is made, and pytest is run in it."""

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

# Loaded here, once: pytester lets every run inside of this process forget what it loads.
import hypercall.testing.observation
import hypercall.testing.pool  # noqa: F401

pytest_plugins = ["pytester"]

OPTION = "--hypercall-kernel"


def test_a_guest_is_the_same_for_each_test(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import pytest

        from hypercall import Call, StopReason

        @pytest.mark.parametrize("number", [1, 2, 3])
        def test_runs(hypercall_guest, number):
            guest = hypercall_guest
            assert guest.time_ns == 0
            assert guest.machine.partition.memory.read(0x300000, 1) == bytes(1)
            guest.machine.partition.memory.write(0x300000, b"x")
            result = guest.run_to_end()
            assert result.reason is StopReason.DEBUG_EXIT and result.exit_code == 0
            assert guest.calls.order == [
                Call.QUERY_CAPABILITIES, Call.NOTIFY_LONG_SPIN_WAIT, Call.NOTIFY_LONG_SPIN_WAIT
            ]

        def test_one_boot(request, hypercall_guest):
            from hypercall.testing import plugin
            assert request.config.stash[plugin._POOL].boots == 1
        """
    )
    project.runpytest(OPTION, "calls.bin").assert_outcomes(passed=4)


def test_what_a_test_attached_is_gone_in_the_next(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        from hypercall import Call, HvStatus

        seen = []

        def test_attaches(hypercall_guest):
            guest = hypercall_guest
            guest.machine.on(Call.QUERY_CAPABILITIES)(seen.append)
            guest.machine.trace.subscribe(seen.append)
            guest.machine.console.output.append(seen.append)
            serve = guest.machine.handle(Call.NOTIFY_LONG_SPIN_WAIT)
            serve(lambda vp, count: HvStatus.NO_RESOURCES)
            guest.inject("call=QueryCapabilities,status=ACCESS_DENIED")
            guest.run_to_end()
            assert {call.status for call in guest.calls} == {
                HvStatus.ACCESS_DENIED, HvStatus.NO_RESOURCES
            }
            seen.clear()

        def test_has_nothing_of_it(hypercall_guest):
            hypercall_guest.run_to_end()
            assert hypercall_guest.calls.where(status=0).count == 3
            assert not seen
        """
    )
    project.runpytest(OPTION, "calls.bin").assert_outcomes(passed=2)


def test_a_guest_is_booted_to_a_line(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import pytest

        @pytest.mark.hypercall(kernel="writes.bin", ready="up")
        def test_boots(hypercall_guest):
            assert hypercall_guest.boot_console == "up\\n"
            assert hypercall_guest.wait_for("l(a)ter") == "later"
            assert hypercall_guest.console == "later\\n"
            assert hypercall_guest.calls.count <= 1
        """
    )
    project.runpytest().assert_outcomes(passed=1)


def test_a_failure_lists_calls_and_shows_trace_and_console(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        from hypercall import Call

        def test_fails(hypercall_guest):
            hypercall_guest.run_to_end()
            assert hypercall_guest.calls.of(Call.NOTIFY_LONG_SPIN_WAIT).count == 2

        def test_order_fails(hypercall_guest):
            hypercall_guest.run_to_end()
            assert hypercall_guest.calls.order == [Call.FLUSH_VIRTUAL_ADDRESS_LIST]
        """
    )
    result = project.runpytest(OPTION, "writes.bin", "--junitxml=j.xml", "-o", "junit_logging=all")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        [
            "E *assert 1 == 2",
            "E *calls.of(NOTIFY_LONG_SPIN_WAIT): 1 call",
            "E *HvCallNotifyLongSpinWait(spin_count=3) = SUCCESS*",
            "*Captured stdout of the guest: console*",
            "up",
            "later",
            "*Captured stdout of the guest: trace*",
            "*vp0 HvCallNotifyLongSpinWait(spin_count=3) = SUCCESS*",
            "*debug-exit: *",
            "*Captured stdout of the guest: virtual processors*",
            "VP 0: *, *, interrupts *",
            "E *[[]NOTIFY_LONG_SPIN_WAIT] == [[]FLUSH_VIRTUAL_ADDRESS_LIST]",
        ]
    )
    outputs = [each.text or "" for each in ElementTree.parse("j.xml").iter("system-out")]
    assert len(outputs) == 2
    assert all("later" in text and "HvCallNotifyLongSpinWait(" in text for text in outputs)


def test_the_report_is_bounded(project: pytest.Pytester) -> None:
    project.makepyfile("def test(hypercall_guest):\n    hypercall_guest.run_to_end()\n    assert 0")
    result = project.runpytest(OPTION, "calls.bin", "-o", "hypercall_report_lines=2")
    result.stdout.fnmatch_lines(["*of the guest: trace, the last 2 of 4 lines*", "*spin_count=2*"])
    result.stdout.no_fnmatch_line("*spin_count=1*")


def test_seeds(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import pytest

        @pytest.mark.hypercall_seeds(0, range(5, 7))
        def test_machine(hypercall_machine, hypercall_seed):
            assert hypercall_machine.configuration.seed == hypercall_seed

        @pytest.mark.hypercall_seeds(5)
        def test_guest(hypercall_guest):
            assert hypercall_guest.machine.configuration.seed == 5

        def test_without(hypercall_seed):
            pass
        """
    )
    result = project.runpytest("-v", OPTION, "calls.bin", "--hypercall-seed=9")
    result.assert_outcomes(passed=5)
    result.stdout.fnmatch_lines_random(["*test_machine[[]seed6] PASSED*", "*test_without PASSED*"])
    again = project.runpytest("-v", OPTION, "calls.bin", "--hypercall-seeds=5", "-k", "not without")
    again.assert_outcomes(passed=2, deselected=1)


def test_a_boot_that_fails_is_tried_once_and_shown(project: pytest.Pytester) -> None:
    project.makepyfile(
        """
        import pytest

        @pytest.mark.parametrize("number", [1, 2])
        @pytest.mark.hypercall(kernel="writes.bin", ready="never")
        def test_ends(hypercall_guest, number):
            pass

        @pytest.mark.hypercall(kernel="halts.bin", ready="never", boot_limit=0.01)
        def test_hangs(hypercall_guest):
            pass

        def test_has_no_kernel(hypercall_guest):
            pass

        @pytest.mark.hypercall(kernel="absent")
        def test_has_no_file(hypercall_guest):
            pass
        """
    )
    result = project.runpytest()
    result.assert_outcomes(errors=5)
    result.stdout.fnmatch_lines_random(
        [
            "hypercall: the guest did not come up: the guest left * waited for 'never' on the*",
            "*of the guest: console*",
            "hypercall: *'never' on * of halts.bin * took more than 0.01 s of virtual time*",
            "hypercall: the test wants a guest, and nothing says which: give --hypercall-kernel*",
            "hypercall: *absent: the image cannot be read*",
        ]
    )
    result.stdout.no_fnmatch_line("During handling of the above exception*")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--hypercall-cpus=x"], "ERROR: --hypercall-cpus: 'x' is no whole number"),
        (["--hypercall-kernel=absent"], "ERROR: --hypercall-kernel: there is no file *absent"),
        (["--hypercall-seeds=3-1"], "ERROR: --hypercall-seeds: 3-1 is no range of *"),
        (["--hypercall-cpus=99"], "ERROR: hypercall: the guest of *: cannot make 99 *"),
        (["-o", "hypercall_memory=much"], "ERROR: hypercall: the ini file: memory: *'much'*"),
        (["-o", "hypercall_report_lines=-1"], "ERROR: hypercall: hypercall_report_lines: *"),
    ],
)
def test_bad_options_are_one_line(
    project: pytest.Pytester, arguments: list[str], line: str
) -> None:
    project.makepyfile("def test(hypercall_guest): pass")
    result = project.runpytest(*arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([line])
    assert "Traceback" not in result.stderr.str()


@pytest.mark.parametrize(
    ("marker", "line"),
    [
        ("hypercall(cpu=2)", "*test_it: there is no setting 'cpu': there are append, *"),
        ("hypercall(cpus=0)", "*0*"),
        ("hypercall('vmlinuz')", "*give settings by name, not 'vmlinuz'"),
        ("hypercall(privileges='root')", "*root*"),
        ("hypercall(initrd='disk')", "*give ready, a text on its console"),
    ],
)
def test_bad_markers_are_one_line(project: pytest.Pytester, marker: str, line: str) -> None:
    project.makepyfile(f"import pytest\n@pytest.mark.{marker}\ndef test_it(hypercall_guest): pass")
    result = project.runpytest()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: hypercall: {line}"])


def test_bad_seeds_are_one_line(project: pytest.Pytester) -> None:
    project.makepyfile(
        "import pytest\n@pytest.mark.hypercall_seeds()\ndef test_it(hypercall_guest): pass"
    )
    result = project.runpytest()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*hypercall_seeds of *test_it: there is no seed: give *"])
    result.stdout.no_fnmatch_line("During handling of the above exception*")


def test_a_project_without_guests_does_not_load_the_engine(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "import sys\n"
        "def test_it(request):\n"
        "    assert request.config.pluginmanager.hasplugin('hypercall')\n"
        "    names = ('unicorn', 'hypercall.machine', 'hypercall.tlfs', 'hypercall.abi')\n"
        "    assert not [each for each in sys.modules if each.startswith(names)]\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout


def test_settings_can_be_said_in_python(project: pytest.Pytester) -> None:
    project.makeconftest(
        """
        from pathlib import Path

        import pytest

        from hypercall.testing import GuestSettings

        @pytest.fixture
        def hypercall_settings():
            return GuestSettings(kernel=Path("calls.bin").read_bytes(), image_format="flat", cpus=3)
        """
    )
    project.makepyfile(
        """
        def test_guest(hypercall_guest, hypercall_settings):
            assert hypercall_settings.name == "an image of bytes on 3 processors, seed 0"
            hypercall_guest.run_to_end()
            assert hypercall_guest.calls.count == 3
        """
    )
    project.runpytest().assert_outcomes(passed=1)
