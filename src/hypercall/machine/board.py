"""The board: the devices around the processors, wired to the partition."""

from collections.abc import Callable
from datetime import datetime

from hypercall.machine.acpi import IO_APIC_ADDRESS, build_acpi_tables
from hypercall.machine.bus import Bus
from hypercall.machine.console import Console
from hypercall.machine.devices.board_test_device import TEST_MEMORY, BoardTestDevice
from hypercall.machine.devices.debug_exit import DebugExit
from hypercall.machine.devices.firmware_configuration import FirmwareConfiguration
from hypercall.machine.devices.interrupt_controller_pair import InterruptControllerPair
from hypercall.machine.devices.interrupt_lines import InterruptLines
from hypercall.machine.devices.interval_timer import IntervalTimer
from hypercall.machine.devices.power_management import PowerManagement
from hypercall.machine.devices.real_time_clock import RealTimeClock
from hypercall.machine.devices.reset_control import ResetControl
from hypercall.machine.devices.serial import Serial
from hypercall.partition.io_apic import IoApic
from hypercall.partition.local_apic import BASE_ADDRESS as LOCAL_APIC_ADDRESS
from hypercall.partition.local_apic import MASKED
from hypercall.partition.partition import Partition

_LVT_LINT0 = 0x35
_DELIVERY_MODE = 0x700
_EXTERNAL = 0x700

DEVICE_PAGES = (IO_APIC_ADDRESS, LOCAL_APIC_ADDRESS, *TEST_MEMORY[::0x1000])
"""Guest-physical pages that hold device registers."""


class Board:
    """All devices of a machine.

    Args:
        partition: whose clock, timers and APICs the devices use.
        date: what the real-time clock shows at the start.
        power_off: called when the guest powers the machine off.
        reset: called when the guest resets the machine.
        debug_exit: called with what the guest writes to the debug exit port.

    Attributes:
        bus: where the devices answer.
        io_apic: the I/O APIC.
        console: the user's end of the first serial port.
        interrupt_controllers: the 8259A pair.
    """

    def __init__(
        self,
        partition: Partition,
        date: datetime,
        *,
        power_off: Callable[[], None],
        reset: Callable[[], None],
        debug_exit: Callable[[int], None],
    ) -> None:
        self._partition = partition
        self._external = False
        clock, timers = partition.clock, partition.timers
        self.bus = Bus()
        self.io_apic = IoApic(partition)
        self.interrupt_controllers = InterruptControllerPair(self._external_changed)
        self.lines = InterruptLines(self.interrupt_controllers, self.io_apic)
        serial = Serial(clock, timers, self.lines.set_irq)
        self.console = Console(serial)
        for device in (
            self.interrupt_controllers,
            serial,
            IntervalTimer(clock, timers, self.lines.set_irq),
            RealTimeClock(clock, date),
            PowerManagement(clock, self.lines.set_irq, power_off),
            DebugExit(debug_exit),
            FirmwareConfiguration(len(partition.processors), partition.memory.size),
            ResetControl(reset),
            BoardTestDevice(self.lines.set_irq),
        ):
            self.bus.add(device)
        processors = [(number, vp.apic_id) for number, vp in enumerate(partition.processors)]
        self.acpi = build_acpi_tables(processors)

    def external_interrupt(self) -> bool:
        """Whether the 8259A pair has an interrupt that the boot processor would take."""
        if not self._external:
            return False
        apic = self._partition.bootstrap.vtls[0].apic
        if not apic.enabled:
            return True
        entry = apic.lvt[_LVT_LINT0]
        return not entry & MASKED and entry & _DELIVERY_MODE == _EXTERNAL

    def pass_external_interrupts(self) -> None:
        """Let the boot processor take interrupts of the 8259A pair, as firmware leaves it.

        Kernels that are told to leave the local APIC alone have no others. Source: MultiProcessor
        Specification 1.4, virtual wire mode.
        """
        self._partition.bootstrap.vtls[0].apic.lvt[_LVT_LINT0] = _EXTERNAL

    def _external_changed(self, level: bool) -> None:
        self._external = level
        self._partition.effects.interrupt_changed(self._partition.bootstrap)
