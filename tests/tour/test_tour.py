"""The tour on machines of several kinds, and how long it takes."""

import pytest

from hypercall.machine.configuration import MachineConfiguration
from hypercall.machine.machine import Machine
from hypercall.machine.result import RunResult, StopReason
from hypercall.tour import TOUR_CPUS, TOUR_PRIVILEGES, tour_image

LIMIT_NS = 1_000_000_000


def take(**configuration: object) -> tuple[RunResult, str]:
    settings = {"cpus": TOUR_CPUS, "privileges": TOUR_PRIVILEGES, "memory": 16 << 20}
    machine = Machine(MachineConfiguration(**settings | configuration))  # type: ignore[arg-type]
    shown = bytearray()
    machine.console.output.append(shown.extend)
    machine.load(tour_image(), image_format="flat")
    return machine.run(LIMIT_NS), shown.decode()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("shuffle", [None, 0, 1])
def test_it_succeeds_whatever_the_turns_and_the_indexes(seed: int, shuffle: int | None) -> None:
    result, shown = take(seed=seed, shuffle_vp_index=shuffle)
    assert (result.reason, result.exit_code) == (StopReason.DEBUG_EXIT, 0), shown


def test_it_succeeds_with_more_processors_and_less_memory() -> None:
    result, shown = take(cpus=4, memory=8 << 20)
    assert result.exit_code == 0, shown


def test_it_is_short() -> None:
    result, _ = take()
    assert result.executed < 2_000_000


def test_a_machine_with_one_processor_fails_where_another_is_needed() -> None:
    result, shown = take(cpus=1)
    assert result.reason is StopReason.DEBUG_EXIT
    assert result.exit_code == shown.count("FAILED") > 0
    (line,) = [line for line in shown.splitlines() if "HvCallStartVirtualProcessor" in line]
    assert "INVALID_VP_INDEX" in line


def test_the_exit_code_counts_the_failures() -> None:
    result, shown = take(privileges="minimal")
    assert result.exit_code == shown.count("FAILED")
    assert 20 < shown.count("FAILED") <= 33


def test_two_runs_are_the_same() -> None:
    assert take()[1] == take()[1]
