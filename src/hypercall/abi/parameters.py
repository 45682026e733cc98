"""The parameter lists of one attempt at a hypercall: where they lie, reading and writing them."""

from struct import Struct

from hypercall.abi.caller import CallerRegisters, CallingProcessor, CallPartition
from hypercall.abi.outcome import COMPLETED, SUSPEND, Outcome, OutcomeKind
from hypercall.abi.plan import Plan
from hypercall.abi.record import CallRecord
from hypercall.errors import GuestMemoryError
from hypercall.tlfs.calls import Call
from hypercall.tlfs.control import REP_COUNT_SHIFT
from hypercall.tlfs.declaration import Family
from hypercall.tlfs.status import HvStatus

_PAGE_OFFSET = 0xFFF
_PAGE = 4096
_PAIR = 16
_TWO_REGISTERS = Struct("<QQ")


class Refused(Exception):  # noqa: N818
    """Ends an attempt whose parameters cannot be had; `outcome` is what becomes of it."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome


class Parameters:
    """The parameters of one attempt, in memory or in registers."""

    __slots__ = (
        "input",
        "output",
        "output_room",
        "partition",
        "plan",
        "record",
        "registers",
        "vp",
        "vtl",
    )

    def __init__(
        self,
        partition: CallPartition,
        plan: Plan,
        vp: CallingProcessor,
        input: int,
        output: int,
        registers: CallerRegisters,
        record: CallRecord | None,
    ) -> None:
        self.partition = partition
        self.plan = plan
        self.vp = vp
        self.vtl = vp.active_vtl
        self.input = input
        self.output = output
        self.registers = registers
        self.record = record
        self.output_room = plan.output_size

    def read_input(self) -> bytes:
        """Return the input list; of a fast call all the registers that are needed.

        Raises:
            Refused: for lists that lie where they must not.
        """
        plan = self.plan
        if plan.fast:
            data = _TWO_REGISTERS.pack(self.input, self.output)
            # A continued call may have to complete a register pair that holds output already.
            if plan.input_size > _PAIR or plan.rep_start:
                data += self.registers.read_xmm()
        else:
            self._check_placement()
            data = self._read(self.input, plan.input_size)
        if self.record is not None:
            self.record.input = data[: plan.input_size]
        return data

    def arguments(self, vp: CallingProcessor, data: bytes) -> tuple[object, ...]:
        """Return the handler's arguments before the elements.

        Args:
            vp: the caller, which is the first of them.
            data: what `read_input` returned.

        Raises:
            Refused: for reserved fields, or data that the header announces and is not there.
        """
        plan = self.plan
        declaration = plan.call
        header = declaration.header
        mask = plan.reserved_mask
        if mask and int.from_bytes(data[: header.size], "little") & mask:
            raise Refused(plan.reserved_outcome)
        values = header.unpack(data)
        # Tuples are added, not starred: with the caller's star that halves the cost of the call.
        found: tuple[object, ...] = (vp,) + values  # noqa: RUF005
        if declaration.variable_header is not None:
            found += (memoryview(data)[header.size : plan.header_end],)
        if declaration.variable_input is not None:
            field, most = declaration.variable_input.count_field, declaration.variable_input.maximum
            count = values[header.field_names.index(field)]
            assert isinstance(count, int)
            start = self.input + plan.header_end
            if count > most or _crosses(start, count):
                raise Refused(COMPLETED[HvStatus.INVALID_PARAMETER])
            more = self._read(start, count)
            if self.record is not None:
                self.record.input += more
            found += (memoryview(more),)
        if declaration.variable_output is not None:
            limit = values[header.field_names.index(declaration.variable_output.limit_field)]
            assert isinstance(limit, int)
            self.output_room += limit
            too_much = limit > declaration.variable_output.maximum
            if too_much or _crosses(self.output, self.output_room):
                raise Refused(COMPLETED[HvStatus.INVALID_PARAMETER])
        return found

    def check_output(self) -> None:
        """Find out, before anything is done, whether the output can be written.

        Raises:
            Refused: if it cannot.
        """
        if self.output_room and not self.plan.fast:
            try:
                self.partition.memory.check(self.output, self.output_room, self.vtl, write=True)
            except GuestMemoryError as error:
                raise self._inaccessible(error.gpa, write=True) from None

    def write(self, data: bytes, offset: int, written: bytes) -> None:
        """Write output.

        Args:
            data: what `read_input` returned.
            offset: where in the output list it belongs.
            written: the bytes.

        Raises:
            ValueError: if a handler returned more than there is room for.
        """
        if offset + len(written) > self.output_room:
            raise ValueError(f"{self.plan.call.name} gave more output than has room")
        if self.record is not None:
            self.record.output = written
        if not self.plan.fast:
            self.partition.memory.write(self.output + offset, written, self.vtl)
            return
        # Register pairs are written whole. What an earlier entry left in the first of them stays,
        # and the unused half of the last one becomes zero.
        kept = offset % _PAIR
        position = self.plan.output_pair * _PAIR + offset - kept
        written = data[position : position + kept] + written
        padding = -len(written) % _PAIR
        self.registers.write_register_pairs(position // _PAIR, written + bytes(padding))

    def _check_placement(self) -> None:
        """Check where the lists lie; a list of no bytes may lie anywhere."""
        plan = self.plan
        if plan.input_size:
            self._check_list(self.input, plan.input_size)
        if plan.output_size:
            self._check_list(self.output, plan.output_size)
            overlap = self.partition.readings.overlap
            if overlap is not None and plan.input_size:
                input_end = self.input + plan.input_size
                output_end = self.output + plan.output_size
                if self.input < output_end and self.output < input_end:
                    raise self._refused(overlap)

    def _check_list(self, gpa: int, size: int) -> None:
        readings = self.partition.readings
        if readings.page_crossing is not None and (gpa & _PAGE_OFFSET) + size > _PAGE:
            raise self._refused(readings.page_crossing)
        if gpa & 7:
            strict = self.plan.call.family is Family.MESSAGES_AND_EVENTS
            status = HvStatus.INVALID_ALIGNMENT if strict else readings.misalignment
            if status is not None:
                raise self._refused(status)
        if gpa + size > 1 << self.partition.configuration.address_bits:
            raise self._refused(self._of_messages() or readings.address_outside_gpa_space)

    def _read(self, gpa: int, size: int) -> bytes:
        if not size:
            return b""
        try:
            return self.partition.memory.read(gpa, size, self.vtl)
        except GuestMemoryError as error:
            raise self._inaccessible(error.gpa, write=False) from None

    def _inaccessible(self, gpa: int, *, write: bool) -> Refused:
        """Return why the call cannot be made; one that a higher VTL will hear of is tried again."""
        readings = self.partition.readings
        if readings.protected_parameters_intercept and self.partition.intercept_parameters(
            self.vp.index, gpa, write=write
        ):
            return Refused(SUSPEND)
        return self._refused(self._of_messages() or readings.inaccessible_parameters)

    def _of_messages(self) -> HvStatus | None:
        """Return what answers messages and debug data that are inaccessible, if it differs."""
        call = self.plan.call
        if call.family is Family.DEBUGGING or call.code == Call.POST_MESSAGE:
            return self.partition.readings.inaccessible_messages
        return None

    def _refused(self, status: HvStatus) -> Refused:
        completed = self.plan.rep_start << REP_COUNT_SHIFT
        return Refused(Outcome(OutcomeKind.COMPLETE, status | completed))


def _crosses(gpa: int, size: int) -> bool:
    return (gpa & _PAGE_OFFSET) + size > _PAGE
