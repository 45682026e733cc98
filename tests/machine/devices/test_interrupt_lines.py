from hypercall.machine.devices.interrupt_lines import InterruptLines


class Inputs:
    """A controller that keeps what its inputs do."""

    def __init__(self) -> None:
        self.changes: list[tuple[int, bool]] = []

    def set_line(self, line: int, level: bool, /) -> None:
        self.changes.append((line, level))


def test_every_line_ends_at_both_and_the_timer_at_pin_2() -> None:
    pair, io_apic = Inputs(), Inputs()
    lines = InterruptLines(pair, io_apic)
    lines.set_irq(0, True)
    lines.set_irq(4, True)
    lines.set_irq(4, False)
    assert pair.changes == [(0, True), (4, True), (4, False)]
    assert io_apic.changes == [(2, True), (4, True), (4, False)]
