"""An executable specification: what must a call with this input return, and what must it do?

An `Oracle` is a partition without processors. It makes one call at a time as if a virtual
processor had made it, and tells result, output and effects. No guest code runs, so it answers in
microseconds, and every hypervisor whose behaviour is known can be asked the same question.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypercall.abi.dispatcher import Dispatcher
from hypercall.abi.given_registers import GivenRegisters
from hypercall.abi.outcome import OutcomeKind
from hypercall.abi.record import CallRecord
from hypercall.calls import HANDLERS
from hypercall.errors import InputError
from hypercall.partition.configuration import PartitionConfiguration, processors_in_order
from hypercall.partition.effects import Effect
from hypercall.partition.standalone import standalone_partition
from hypercall.partition.virtual_processor import VirtualProcessor
from hypercall.tlfs.calls import DECLARATIONS, Call
from hypercall.tlfs.control import ControlWord
from hypercall.tlfs.readings import ReadingSet
from hypercall.tlfs.status import HvStatus

INPUT_GPA = 0x2000
"""Where `Oracle.call` puts the input of a call in memory form."""
OUTPUT_GPA = 0x3000
"""Where `Oracle.call` has the output of a call in memory form written to."""
_HYPERCALL_PAGE = 0x1000
_GUEST_OS_ID = 0x8100_0000_0000_0000
_MSR_GUEST_OS_ID = 0x40000000
_MSR_HYPERCALL = 0x40000001
_SPURIOUS_VECTOR = 0xF0
_APIC_ENABLED = 0x1FF
_PAGE = 4096


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a call.

    Attributes:
        kind: how the call ended.
        result: the 64-bit result value, or None if the call ended without one.
        output: the bytes written to the output, in memory or in registers.
        effects: what the call asked of the processors, in order.
        registers: the caller's registers after the call.
        record: the call as a trace would show it.
    """

    kind: OutcomeKind
    result: int | None
    output: bytes
    effects: tuple[Effect, ...]
    registers: GivenRegisters
    record: CallRecord

    @property
    def status(self) -> HvStatus | None:
        """The HV_STATUS of the result, or None if the call ended without one."""
        return None if self.result is None else HvStatus(self.result & 0xFFFF)

    @property
    def reps_completed(self) -> int:
        """The number of elements that a rep call has processed."""
        return 0 if self.result is None else self.result >> 32 & 0xFFF


class Oracle:
    """A partition that answers calls without running guest code.

    It starts as a running guest's: the hypercall page and the local APICs are enabled.

    Args:
        cpus: the number of virtual processors, 1 to 64.
        like: the name of a reading set: ``hyperv``, ``kvm``, ``xen`` or ``openvmm``.
        configuration: all of the partition's configuration, instead of these two.

    Attributes:
        partition: the partition; its state may be read and changed between calls.
        advance: lets virtual time pass, in nanoseconds.

    Raises:
        InputError: an argument is out of range.
    """

    def __init__(
        self,
        cpus: int = 1,
        like: str = "hyperv",
        *,
        configuration: PartitionConfiguration | None = None,
    ) -> None:
        if configuration is None:
            configuration = PartitionConfiguration(
                processors=processors_in_order(cpus),
                memory_size=1 << 20,
                readings=ReadingSet.named(like),
            )
        alone = standalone_partition(configuration)
        self.partition = alone.partition
        self.advance: Callable[[int], int] = alone.advance
        self._effects = alone.effects
        self._records: list[CallRecord] = []
        self._dispatcher = Dispatcher(
            self.partition, DECLARATIONS, HANDLERS, now=self.partition.clock.now
        )
        self._dispatcher.observer = self._records.append
        boot = self.partition.bootstrap
        self.partition.msrs.write(boot, _MSR_GUEST_OS_ID, _GUEST_OS_ID)
        self.partition.msrs.write(boot, _MSR_HYPERCALL, _HYPERCALL_PAGE | 1)
        for vp in self.partition.processors:
            vp.current.apic.write_mmio(_SPURIOUS_VECTOR, _APIC_ENABLED)

    def call(
        self,
        call: Call | int | str,
        *,
        vp: int | None = None,
        elements: bytes = b"",
        variable_header: bytes = b"",
        payload: bytes | None = None,
        rep_start: int = 0,
        **fields: Any,
    ) -> Answer:
        """Make a call in memory form, its input given by field.

        Args:
            call: the call, its code, or one of its names.
            vp: VP index of the caller, by default the bootstrap processor's.
            elements: the input elements of a rep call, packed.
            variable_header: the variable header, a multiple of 8 bytes.
            payload: the whole input list instead of fields.
            rep_start: the rep start index.
            **fields: the fields of the input header by name; those left out are 0.

        Raises:
            InputError: there is no such call or field, or the input does not fit into a page.
        """
        declaration = DECLARATIONS.find(call if isinstance(call, str) else int(call))
        header = declaration.header
        if payload is None:
            try:
                packed = header.pack(**fields) if header is not None else b""
            except (KeyError, TypeError, ValueError) as error:
                names = ", ".join(header.field_names) if header is not None else "none"
                raise InputError(
                    f"{declaration.name}: the input fields are not right ({error}); "
                    f"its fields are {names}"
                ) from None
            payload = packed + variable_header + elements
        if len(payload) > _PAGE:
            raise InputError(
                f"{declaration.name}: an input of {len(payload)} bytes does not fit into a page"
            )
        reps = 0
        if declaration.element is not None:
            reps = len(elements) // declaration.element.size
        control = ControlWord(
            code=declaration.code,
            variable_header_size=len(variable_header) // 8,
            rep_count=reps,
            rep_start=rep_start,
        )
        self.partition.memory.write(INPUT_GPA, payload.ljust(_PAGE, b"\0"))
        return self.call_registers(int(control.value), INPUT_GPA, OUTPUT_GPA, vp=vp)

    def call_registers(
        self,
        control: int,
        rdx: int = 0,
        r8: int = 0,
        *,
        vp: int | None = None,
        registers: GivenRegisters | None = None,
    ) -> Answer:
        """Make a call with the registers given, in any form.

        Args:
            control: RCX, or EDX:EAX of a 32-bit caller.
            rdx: RDX, or EBX:ECX: the input's address, or the first 8 bytes of a fast call.
            r8: R8, or EDI:ESI: the output's address, or the second 8 bytes of a fast call.
            vp: VP index of the caller, by default the bootstrap processor's.
            registers: mode and XMM registers; by default 64-bit kernel code.

        Raises:
            InputError: there is no such virtual processor.
        """
        registers = registers or GivenRegisters()
        self._effects.clear()
        self._records.clear()
        outcome = self._dispatcher.dispatch(self._caller(vp), control, rdx, r8, registers)
        record = self._records[-1]
        return Answer(
            kind=outcome.kind,
            result=outcome.value if outcome.kind is OutcomeKind.COMPLETE else None,
            output=record.output,
            effects=tuple(self._effects.effects),
            registers=registers,
            record=record,
        )

    def _caller(self, index: int | None) -> VirtualProcessor:
        return self.partition.bootstrap if index is None else self.partition.vp(index)
