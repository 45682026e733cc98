import pytest
from tests.guests.assembly import write_msr
from tests.guests.kit import Guest
from tests.guests.layout import DATA
from tests.machine.small_guests import SECOND, flat, machine_with

from hypercall.machine.result import StopReason
from hypercall.machine.run_end import RunEnd


class TestEnds:
    """One guest for each reason."""

    def test_debug_exit(self) -> None:
        result = flat(bytes.fromhex("b807000000e7f4f4")).run()
        assert (result.reason, result.exit_code) == (StopReason.DEBUG_EXIT, 7)

    def test_triple_fault(self) -> None:
        assert flat(bytes.fromhex("0f0b")).run().reason is StopReason.TRIPLE_FAULT

    def test_power_off(self) -> None:
        # SLP_TYP 5 and SLP_EN in the control register of the ACPI power management block.
        text = "mov dx, 0x604\nmov ax, 0x3400\nout dx, ax\nhlt"
        assert machine_with(text).run(SECOND).reason is StopReason.POWER_OFF

    @pytest.mark.parametrize(
        "text",
        ["mov al, 6\nmov dx, 0xCF9\nout dx, al\nhlt", write_msr(0x40000003, 1) + "\nhlt"],
        ids=["port", "msr"],
    )
    def test_reset(self, text: str) -> None:
        assert machine_with(text).run(SECOND).reason is StopReason.RESET

    def test_crash(self) -> None:
        parameters = "\n".join(write_msr(0x40000100 + n, n + 1) for n in range(5))
        result = machine_with(f"{parameters}\n{write_msr(0x40000105, 1 << 63)}\nhlt").run(SECOND)
        assert result.reason is StopReason.PANIC
        assert "0x1, 0x2, 0x3, 0x4, 0x5" in result.detail

    def test_a_crash_with_a_message_says_the_line_of_the_panic(self) -> None:
        log = (
            b"<0>[ 1.0] Kernel panic - not syncing: VFS: no root\n"
            b"<4>[ 1.0]  ? panic+0x107/0x2bb\n<0>[ 1.1] ---[ end panic soon\n"
        )
        text = "\n".join(
            [
                write_msr(0x40000103, DATA),
                write_msr(0x40000104, len(log)),
                write_msr(0x40000105, 3 << 62),
                "hlt",
            ]
        )
        result = Guest(text, memory={DATA: log}).machine().run(SECOND)
        assert result.reason is StopReason.PANIC
        assert result.detail.endswith("): Kernel panic - not syncing: VFS: no root")


def end() -> RunEnd:
    return RunEnd(flat(b"\xf4").engine)


def test_the_first_reason_counts() -> None:
    ending = end()
    ending.stop(StopReason.RESET)
    ending.debug_exit(3)
    assert (ending.reason, ending.exit_code) == (StopReason.RESET, 3)


def test_what_a_crash_says() -> None:
    ending = end()
    ending.crash([0xA, 0xB], b"first line\n Kernel panic - not syncing: why \nlast line")
    assert ending.reason is StopReason.PANIC
    assert ending.detail == (
        "the guest reported a crash (0xa, 0xb): Kernel panic - not syncing: why"
    )


def test_a_kernel_that_panicked_has_two_seconds() -> None:
    ending = end()
    assert not ending.panic_overdue(5 * SECOND)
    assert not ending.panic_overdue(7 * SECOND - 1)
    assert ending.panic_overdue(7 * SECOND)
