"""The pytest plugin: fixtures, markers and options for tests of guests.

Pytest imports this module in every project beside which hypercall is installed: it must be light,
and do nothing for tests that want no guest.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from hypercall.machine.machine import Machine
    from hypercall.testing.guest import Guest
    from hypercall.testing.observation import Observation
    from hypercall.testing.pool import GuestPool
    from hypercall.testing.settings import GuestSettings

_POOL: pytest.StashKey[GuestPool] = pytest.StashKey()
_OBSERVATION: pytest.StashKey[Observation] = pytest.StashKey()
_BOOT_SECTIONS = pytest.StashKey[list[tuple[str, str]]]()
_DEFAULT_LINES = 200
_MARKERS = (
    "hypercall(kernel=, initrd=, busybox=, files=, append=, cpus=, memory=, seed=, like=,"
    " privileges=, image_format=, ready=, boot_limit=): the guest that hypercall_guest and"
    " hypercall_machine give.",
    "hypercall_seeds(*seeds): run the test once for each seed of the machine.",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options and the settings of the ini file."""
    from hypercall.testing.options import MARKER_ONLY, SETTINGS

    group = parser.getgroup("hypercall", "guests of hypercall")
    for name, setting in SETTINGS.items():
        if name not in MARKER_ONLY:
            group.addoption(
                setting.option, dest=setting.ini, metavar=setting.metavar, help=setting.help
            )
            parser.addini(setting.ini, setting.help, default="")
    group.addoption(
        "--hypercall-seeds",
        metavar="SEEDS",
        help="Run each test that wants a guest for each of these seeds, such as 0-3,7.",
    )
    parser.addini(
        "hypercall_report_lines",
        f"Lines of console and trace in the report of a failing test, {_DEFAULT_LINES} by default.",
        default=str(_DEFAULT_LINES),
    )


def pytest_configure(config: pytest.Config) -> None:
    """Declare the markers, and check the command line."""
    for marker in _MARKERS:
        config.addinivalue_line("markers", marker)
    from hypercall.errors import InputError
    from hypercall.testing.options import MARKER_ONLY, SETTINGS, parse_seeds, read_settings

    for name, setting in SETTINGS.items():
        value = None if name in MARKER_ONLY else config.getoption(setting.ini)
        if value is None:
            continue
        try:
            read = read_settings({name: value}, config.invocation_params.dir)[name]
            if isinstance(read, Path) and not read.is_file():
                raise InputError(f"{name}: there is no file {read}")
        except InputError as error:
            raise pytest.UsageError(f"{setting.option}: {_after_name(name, error)}") from None
    seeds = config.getoption("--hypercall-seeds")
    if seeds is not None:
        try:
            parse_seeds(seeds)
        except InputError as error:
            raise pytest.UsageError(f"--hypercall-seeds: {error}") from None


def pytest_unconfigure(config: pytest.Config) -> None:
    """Let the booted guests go."""
    pool = config.stash.get(_POOL, None)
    if pool is not None:
        pool.close()
        del config.stash[_POOL]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test once for each seed."""
    if "hypercall_seed" not in metafunc.fixturenames:
        return
    from hypercall.errors import InputError
    from hypercall.testing.options import check_seeds, parse_seeds

    text = metafunc.config.getoption("--hypercall-seeds")
    marker = metafunc.definition.get_closest_marker("hypercall_seeds")
    if text is None and marker is None:
        return
    try:
        seeds = (
            parse_seeds(text) if text is not None else check_seeds(marker.args if marker else ())
        )
    except InputError as error:
        where = f"@pytest.mark.hypercall_seeds of {metafunc.definition.nodeid}"
        raise pytest.fail.Exception(f"{where}: {error}", pytrace=False) from None
    # For a session: pytest then puts tests with the same seed, which share a boot, together.
    ids = [f"seed{seed}" for seed in seeds]
    metafunc.parametrize("hypercall_seed", seeds, ids=ids, scope="session")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Check what the markers and the ini file say, before any test runs."""
    checked = False
    for item in items:
        if "hypercall_settings" in getattr(item, "fixturenames", ()):
            if not checked:
                _report_lines(config)
                checked = True
            _settings(item)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """Attach trace and console of the guest to the report of a test that failed."""
    if call.excinfo is None or call.excinfo.errisinstance(pytest.skip.Exception):
        return
    sections: list[tuple[str, str]] = []
    if _BOOT_SECTIONS in item.stash:
        boot = item.stash[_BOOT_SECTIONS]
        sections += boot
    observation = item.stash.get(_OBSERVATION, None)
    if observation is not None:
        sections += observation.sections()
    for title, text in sections:
        # With this beginning it is in the system-out of JUnit files, too.
        item.add_report_section(call.when, f"stdout of the guest: {title}, during", text)


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """List the calls when a comparison of their number or order fails."""
    calls = sys.modules.get("hypercall.testing.calls")
    explanation: list[str] | None = None if calls is None else calls.explain(op, left, right)
    return explanation


@pytest.fixture
def hypercall_seed(request: pytest.FixtureRequest) -> int:
    """The seed of the test's machine; ``hypercall_seeds`` gives several."""
    return _settings(request.node).seed


@pytest.fixture
def hypercall_settings(request: pytest.FixtureRequest, hypercall_seed: int) -> GuestSettings:
    """What guest the test wants; a conftest may override it to say that in Python."""
    from dataclasses import replace

    return replace(_settings(request.node), seed=hypercall_seed)


@pytest.fixture
def hypercall_guest(
    request: pytest.FixtureRequest, hypercall_settings: GuestSettings
) -> Iterator[Guest]:
    """A booted guest, for this test alone; boots are shared by tests with the same settings."""
    from hypercall.testing.failures import BootError
    from hypercall.testing.observation import Observation
    from hypercall.testing.pool import GuestPool

    config, node = request.config, request.node
    lines = _report_lines(config)
    pool = config.stash.setdefault(_POOL, GuestPool(lines=lines))
    try:
        guest = pool.take(hypercall_settings)
    except BootError as error:
        node.stash[_BOOT_SECTIONS] = list(error.sections)
        # Its own traceback says nothing about the guest.
        raise pytest.fail.Exception(f"hypercall: {error}", pytrace=False) from None
    node.stash[_OBSERVATION] = observation = Observation(guest.machine, lines)
    yield guest
    guest.calls.stop()
    guest.machine.faults.disarm_all()
    observation.close()


@pytest.fixture
def hypercall_machine(
    request: pytest.FixtureRequest, hypercall_settings: GuestSettings
) -> Iterator[Machine]:
    """A machine of the test's own with its guest loaded, before the first instruction."""
    from hypercall.errors import InputError
    from hypercall.testing.observation import Observation

    try:
        machine = hypercall_settings.machine()
    except InputError as error:
        raise pytest.fail.Exception(f"hypercall: {error}", pytrace=False) from None
    observation = Observation(machine, _report_lines(request.config))
    request.node.stash[_OBSERVATION] = observation
    yield machine
    observation.close()


def _settings(item: Any) -> GuestSettings:
    """What a test says, by its markers, the command line and the ini file in that order.

    Raises:
        UsageError: something of it makes no sense.
    """
    from hypercall.errors import InputError
    from hypercall.testing.options import MARKER_ONLY, SETTINGS, read_settings
    from hypercall.testing.settings import GuestSettings

    config: pytest.Config = item.config
    values: dict[str, Any] = {}
    source = "the ini file"
    folder = config.inipath.parent if config.inipath else config.rootpath
    try:
        for name, setting in SETTINGS.items():
            if name not in MARKER_ONLY and (text := config.getini(setting.ini)):
                values |= read_settings({name: text}, folder)
        source = "the command line"
        for name, setting in SETTINGS.items():
            if name not in MARKER_ONLY and (text := config.getoption(setting.ini)) is not None:
                values |= read_settings({name: text}, config.invocation_params.dir)
        source = f"@pytest.mark.hypercall of {item.nodeid}"
        for marker in reversed(list(item.iter_markers("hypercall"))):
            if marker.args:
                raise InputError(f"give settings by name, not {marker.args[0]!r}")
            given = read_settings(marker.kwargs, folder)
            # One of the two replaces the other.
            for name, other in (("initrd", "busybox"), ("busybox", "initrd")):
                if name in given and other not in given:
                    values.pop(other, None)
            values |= given
        source = f"the guest of {item.nodeid}"
        settings = GuestSettings(**values)
        settings.check()
    except InputError as error:
        raise pytest.UsageError(f"hypercall: {source}: {error}") from None
    return settings


def _report_lines(config: pytest.Config) -> int:
    text = config.getini("hypercall_report_lines")
    try:
        lines = int(text)
    except ValueError:
        lines = -1
    if not 0 <= lines <= 1_000_000:
        raise pytest.UsageError(
            f"hypercall: hypercall_report_lines: {text!r} is no number of lines from 0 to 1000000"
        )
    return lines


def _after_name(name: str, error: Exception) -> str:
    return str(error).removeprefix(f"{name}: ")
