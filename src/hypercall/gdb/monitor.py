"""The ``monitor`` commands: what the hypervisor knows, for somebody at gdb's prompt."""

from collections.abc import Callable
from pathlib import Path

from hypercall.errors import HypercallError, InputError
from hypercall.gdb.registers import REGISTERS_32, REGISTERS_64
from hypercall.gdb.symbol_file import write_symbol_file
from hypercall.gdb.target import Target
from hypercall.partition.clock import NANOSECONDS_PER_REFERENCE_UNIT
from hypercall.partition.faults import GeneralProtection
from hypercall.partition.synic import SINT_AUTO_EOI, SINT_COUNT, SINT_MASKED, SINT_POLLING
from hypercall.partition.synthetic_timers import DIRECT, ENABLE, PERIODIC
from hypercall.partition.virtual_processor import VirtualProcessor, VirtualProcessorVtl
from hypercall.tlfs.msrs import SyntheticMsr
from hypercall.trace.statistics import Statistics

_MOST_DUMPED = 1024
_LINE = 16
_MOST_CALLS = 40
_ARCHITECTURES = {
    REGISTERS_64.architecture: REGISTERS_64,
    REGISTERS_32.architecture: REGISTERS_32,
}

Command = Callable[[list[str], int], str]


class Monitor:
    """Serves the commands of one machine.

    Args:
        target: the machine.

    Attributes:
        calls: the hypercalls that were counted.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        self.calls = Statistics()
        self._stop_counting = self.calls.attach(target.machine.trace)
        self._commands: dict[str, tuple[str, str, Command]] = {
            "help": ("", "these commands", self._help),
            "vp": ("", "the virtual processors: what they do, where, in which VTL", self._vp),
            "vtl": ("", "the VTLs of each virtual processor, with their registers", self._vtl),
            "calls": ("", "the hypercalls so far, by call and outcome", self._calls),
            "synic": ("[VP]", "the synthetic interrupt controller", self._synic),
            "apic": ("[VP]", "the local APIC", self._apic),
            "timers": ("[VP]", "the synthetic timers", self._timers),
            "msr": ("INDEX [VP]", "an MSR, by number or as in HV_X64_MSR_...", self._msr),
            "gpa": ("ADDRESS [LENGTH]", "guest-physical memory", self._gpa),
            "translate": (
                "ADDRESS [VP]",
                "the guest-physical address of a virtual one",
                self._translate,
            ),
            "time": ("", "virtual time, reference counter, executed code", self._time),
            "where": ("ADDRESS", "the guest's name for an address", self._where),
            "symbols": (
                "FILE.elf",
                "write the symbols of the guest kernel and its modules to a file for gdb's "
                "add-symbol-file",
                self._symbols,
            ),
            "architecture": (
                "|".join(_ARCHITECTURES),
                "the registers that gdb sees from the next connection on",
                self._architecture,
            ),
        }

    def run(self, line: str, thread: int) -> str:
        """Carry out a command.

        Args:
            line: what the user typed behind ``monitor``.
            thread: the thread that the guest was stopped in.

        Returns:
            What the user is to see; lines, each with its end.
        """
        words = line.split()
        name = words[0] if words else "help"
        found = self._commands.get(name)
        if found is None:
            return f"There is no command {name[:40]!r}: monitor help lists them.\n"
        try:
            return found[2](words[1:], thread)
        except HypercallError as error:
            return f"{error}\n"

    def close(self) -> None:
        """Stop counting calls."""
        self._stop_counting()

    # --- commands --------------------------------------------------------------------------------

    def _help(self, words: list[str], thread: int) -> str:
        rows = [(f"{name} {usage}".strip(), about) for name, (usage, about, _) in self._all()]
        width = max(len(usage) for usage, _ in rows)
        return "".join(f"{usage:<{width}}  {about}\n" for usage, about in rows)

    def _all(self) -> list[tuple[str, tuple[str, str, Command]]]:
        return list(self._commands.items())

    def _vp(self, words: list[str], thread: int) -> str:
        lines = []
        for number in self._target.threads:
            vp = self._target.vp(number)
            mark = "*" if number == thread else " "
            rip = self._target.machine.debugging.linear_pc(vp)
            lines.append(
                f"{mark} VP {vp.index} (thread {number}, APIC id {vp.apic_id}): "
                f"{self._target.describe(number)}, at {self._named(rip)}\n"
            )
        return "".join(lines)

    def _vtl(self, words: list[str], thread: int) -> str:
        machine = self._target.machine
        engine = machine.debugging.engine
        lines = []
        for number in self._target.threads:
            vp = self._target.vp(number)
            for vtl in sorted(vp.vtls):
                context = machine.processors.context(vp, vtl)
                rip, stack = engine.get_rip(context), engine.get_general(context, 4)
                active = "active" if vtl == vp.active_vtl else "not active"
                lines.append(
                    f"VP {vp.index} VTL{vtl} ({active}): RIP {self._named(rip)}, "
                    f"RSP {stack:#x}, CR3 {engine.get_control(context, 3):#x}\n"
                )
        return "".join(lines)

    def _calls(self, words: list[str], thread: int) -> str:
        counts = self.calls.by_call()
        if not counts:
            return "The guest has made no hypercalls since gdb is served.\n"
        lines = [
            f"{count.count:>8} {count.name} {count.outcome}, last at {count.last_ns / 1e9:.9f} s\n"
            for count in counts[:_MOST_CALLS]
        ]
        if len(counts) > _MOST_CALLS:
            lines.append(f"... and {len(counts) - _MOST_CALLS} more kinds\n")
        return "".join(lines)

    def _synic(self, words: list[str], thread: int) -> str:
        lines = []
        for state in self._states(words):
            synic = state.synic
            lines.append(
                f"{_title(state)}: SCONTROL {synic.control:#x}, "
                f"SIMP {synic.message_page.value:#x}, SIEFP {synic.event_flags_page.value:#x}\n"
            )
            for sint in range(SINT_COUNT):
                value = synic.sints[sint]
                waiting = synic.queue_length(sint)
                if value & SINT_MASKED and not value & SINT_POLLING and not waiting:
                    continue
                notes = [f"vector {value & 0xFF:#x}"]
                notes += ["auto EOI"] if value & SINT_AUTO_EOI else []
                notes += ["polling"] if value & SINT_POLLING else []
                notes += [f"{waiting} messages wait"] if waiting else []
                lines.append(f"  SINT{sint}: {', '.join(notes)}\n")
        return "".join(lines)

    def _apic(self, words: list[str], thread: int) -> str:
        lines = []
        for state in self._states(words):
            apic = state.apic
            pending = apic.pending_vector()
            lines.append(
                f"{_title(state)}: {'x2APIC' if apic.x2apic else 'xAPIC'} id {apic.id:#x}, "
                f"TPR {apic.tpr:#x}, pending "
                f"{'nothing that could be taken' if pending is None else hex(pending)}\n"
            )
        return "".join(lines)

    def _timers(self, words: list[str], thread: int) -> str:
        lines = []
        for state in self._states(words):
            lines.append(f"{_title(state)}:\n")
            for index, timer in enumerate(state.timers):
                config = timer.config
                notes = ["enabled" if config & ENABLE else "disabled"]
                notes += ["periodic"] if config & PERIODIC else []
                notes += (
                    [f"vector {config >> 4 & 0xFF:#x}"]
                    if config & DIRECT
                    else [f"SINT{config >> 16 & 0xF}"]
                )
                notes += [f"count {timer.count}"]
                notes += ["running"] if timer.running else []
                lines.append(f"  STIMER{index}: {', '.join(notes)}\n")
        return "".join(lines)

    def _msr(self, words: list[str], thread: int) -> str:
        if not 1 <= len(words) <= 2:
            raise InputError("give the MSR and, if you like, a VP index: monitor msr 0x40000002")
        word = words[0].upper().removeprefix("HV_X64_MSR_")
        index = int(SyntheticMsr[word]) if word in SyntheticMsr.__members__ else _number(words[0])
        lines = []
        for vp in self._vps(words[1:]):
            try:
                value = hex(self._target.machine.partition.msrs.read_in(vp.current, index))
            except GeneralProtection:
                value = "cannot be read: the guest would get #GP"
            lines.append(f"VP {vp.index} VTL{vp.active_vtl} MSR {index:#x}: {value}\n")
        return "".join(lines)

    def _gpa(self, words: list[str], thread: int) -> str:
        if not 1 <= len(words) <= 2:
            raise InputError("give an address and, if you like, a length: monitor gpa 0x1000 64")
        address = _number(words[0])
        wanted = _number(words[1]) if len(words) == 2 else 4 * _LINE
        left = min(wanted, _MOST_DUMPED)
        vtl = self._target.vp(thread).active_vtl
        lines = []
        while left > 0:
            view = self._target.physical_view(address, min(left, _LINE), vtl)
            if view is None:
                lines.append(f"{address:#014x}: there is no memory\n")
                break
            text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in view)
            lines.append(f"{address:#014x}: {view.hex(' '):<47}  {text}\n")
            address += len(view)
            left -= len(view)
        if not left and wanted > _MOST_DUMPED:
            lines.append(f"These are the first {_MOST_DUMPED} bytes; go on at {address:#x}.\n")
        return "".join(lines)

    def _translate(self, words: list[str], thread: int) -> str:
        if not 1 <= len(words) <= 2:
            raise InputError(
                "give a virtual address and, if you like, a VP index: "
                "monitor translate 0xffffffff81000000"
            )
        address = _number(words[0])
        vp = self._vps(words[1:])[0] if words[1:] else self._target.vp(thread)
        gpa = self._target.translate(vp.index + 1, address)
        if gpa is None:
            return f"{address:#x} is not mapped for VP {vp.index}.\n"
        return f"{address:#x} is at the guest-physical address {gpa:#x} for VP {vp.index}.\n"

    def _time(self, words: list[str], thread: int) -> str:
        machine = self._target.machine
        now = machine.time_ns
        reference = now // NANOSECONDS_PER_REFERENCE_UNIT
        return (
            f"{now / 1e9:.9f} s of virtual time, reference counter {reference}, "
            f"{machine.debugging.engine.count} bytes of code executed\n"
        )

    def _where(self, words: list[str], thread: int) -> str:
        if len(words) != 1:
            raise InputError("give a virtual address: monitor where 0xffffffff81000000")
        machine, address = self._target.machine, _number(words[0])
        # Whoever asks wants it looked for, however often that was in vain.
        found = None if machine.symbol_table() is None else machine.symbol(address)
        return f"{found or 'The guest has no name for it.'}\n"

    def _symbols(self, words: list[str], thread: int) -> str:
        if len(words) != 1:
            raise InputError("give the file to write: monitor symbols /tmp/guest.elf")
        table = self._target.machine.symbol_table()
        if table is None or not len(table):
            raise InputError(
                "the guest has no symbols (yet): a kernel has them in memory once it is unpacked"
            )
        path = Path(words[0])
        modules = [functions for _, functions in self._target.machine.modules()]
        count = write_symbol_file(path, table, modules)
        return f"{count} symbols are in {path}; now type: add-symbol-file {path.absolute()}\n"

    def _architecture(self, words: list[str], thread: int) -> str:
        if len(words) != 1 or words[0] not in _ARCHITECTURES:
            raise InputError(f"give one of {', '.join(_ARCHITECTURES)}")
        self._target.next_register_set = _ARCHITECTURES[words[0]]
        return f"The next connection sees the registers of {words[0]}.\n"

    # --- pieces ----------------------------------------------------------------------------------

    def _vps(self, words: list[str]) -> list[VirtualProcessor]:
        """The VP that is asked for, or all of them."""
        if words:
            return [self._target.machine.vp(_number(words[0]))]
        return [self._target.vp(thread) for thread in self._target.threads]

    def _states(self, words: list[str]) -> list[VirtualProcessorVtl]:
        """The VTLs of the VP that is asked for, or of all of them."""
        if len(words) > 1:
            raise InputError("give at most a VP index")
        return [vp.vtls[vtl] for vp in self._vps(words) for vtl in sorted(vp.vtls)]

    def _named(self, address: int) -> str:
        name = self._target.machine.symbol(address)
        return f"{address:#x}" if name is None else f"{address:#x} ({name})"


def _title(state: VirtualProcessorVtl) -> str:
    return f"VP {state.vp.index} VTL{state.vtl}"


def _number(text: str) -> int:
    """A number below 2**64 in decimal or, with 0x, in hexadecimal."""
    try:
        value = int(text, 0)
    except ValueError:
        value = -1
    if not 0 <= value < 1 << 64:
        raise InputError(f"{text[:40]!r} is no number: write 4096 or 0x1000")
    return value
