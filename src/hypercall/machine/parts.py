"""The parts of a machine, made and put together."""

import mmap

from hypercall.abi.dispatcher import Dispatcher
from hypercall.abi.reply import Handler
from hypercall.calls import HANDLERS
from hypercall.cpu.unicorn.engine import Engine
from hypercall.cpu.unicorn.memory_map import MemoryMap
from hypercall.errors import InputError
from hypercall.machine.board import DEVICE_PAGES, Board
from hypercall.machine.configuration import MachineConfiguration
from hypercall.machine.devices.msi_test_device import MsiTestDevice
from hypercall.machine.devices.synic_test_device import SynicTestDevice
from hypercall.machine.exits import MachineExits
from hypercall.machine.host_memory import HostMemory
from hypercall.machine.processors import Processors
from hypercall.machine.result import StopReason
from hypercall.machine.run_end import RunEnd
from hypercall.machine.vmbus import VmbusContactPoint
from hypercall.partition.clock import ReferenceClock
from hypercall.partition.memory import GuestMemory
from hypercall.partition.partition import ARENA_PAGES, Partition
from hypercall.tlfs.calls import DECLARATIONS
from hypercall.trace.hub import TraceHub

_PAGE = 4096


class MachineParts:
    """What a machine is put together from.

    Args:
        configuration: what it is to be made of.
        trace: where its exits tell of events.

    Attributes:
        arena: the memory for overlay pages.
        engine: the engine.
        processors: the virtual processors as the engine runs them.
        partition: the partition.
        handlers: what serves each call, by its code.
        dispatcher: the calling convention, over these handlers.
        exits: what serves the exits of the engine.
        board: the devices.
        vmbus: the contact point of the VMBus.
        end: what ends a run.

    Raises:
        InputError: the host cannot give the memory, or the configuration is out of range.
    """

    def __init__(self, configuration: MachineConfiguration, trace: TraceHub) -> None:
        partition_configuration = configuration.partition_configuration()
        ram = _allocate(partition_configuration.memory_size)
        self.arena = _allocate(ARENA_PAGES * _PAGE)
        vtl_count = partition_configuration.vtl_count
        memory = GuestMemory(
            memoryview(ram),
            memoryview(self.arena),
            address_bits=partition_configuration.address_bits,
            vtl_count=vtl_count,
        )
        self.engine = Engine(ram, self.arena)
        self.engine.spin_exits = len(partition_configuration.processors) > 1
        if configuration.time == "host":
            self.engine.use_host_time()
        self.processors = Processors(self.engine, HostMemory(ram))
        self.partition = Partition(
            partition_configuration,
            memory,
            self.processors,
            clock=ReferenceClock(self.engine.time),
        )
        memory_map = MemoryMap(self.engine, memory, DEVICE_PAGES, vtl_count)
        memory.listener = memory_map
        self.processors.attach(self.partition, memory_map)
        self.handlers: dict[int, Handler] = dict(HANDLERS)
        self.dispatcher = Dispatcher(
            self.partition, DECLARATIONS, self.handlers, now=self.engine.time
        )
        self.exits = MachineExits(self.partition, self.processors, self.dispatcher, trace)
        self.engine.attach(self.exits)
        end = self.end = RunEnd(self.engine)
        self.board = Board(
            self.partition,
            configuration.date,
            power_off=lambda: end.stop(StopReason.POWER_OFF),
            reset=lambda: end.stop(StopReason.RESET),
            debug_exit=end.debug_exit,
        )
        self.exits.attach(self.engine, self.board)
        self.exits.on_triple_fault = lambda: end.stop(StopReason.TRIPLE_FAULT)
        self.processors.external_interrupt = self.board.external_interrupt
        self.processors.on_reset = lambda: end.stop(StopReason.RESET)
        self.processors.on_crash = end.crash
        self.vmbus = VmbusContactPoint(self.partition)
        self.board.bus.add(SynicTestDevice(self.partition))
        self.board.bus.add(MsiTestDevice(self.partition))


def _allocate(size: int) -> mmap.mmap:
    try:
        return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:
        raise InputError(
            f"the host cannot give {size} bytes of memory ({error.strerror}): ask for less"
        ) from None
