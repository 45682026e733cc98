"""The record of one attempt at a hypercall, for traces and tools."""

from dataclasses import dataclass

from hypercall.tlfs.declaration import CallDeclaration


@dataclass(slots=True)
class CallRecord:
    """One attempt at a hypercall; a call that is continued has a record for each attempt.

    Attributes:
        vp_index: VP index of the caller.
        vtl: the VTL it ran in.
        declaration: the call, or None for an unknown code.
        control: the control word as given.
        fast: whether parameters are in registers.
        input_register: RDX, or EBX:ECX: an address, or the first 8 bytes of a fast call.
        output_register: R8, or EDI:ESI: an address, or the second 8 bytes of a fast call.
        input: header, variable header and all elements as given; empty when they were not read.
        output: what was written to the output list, from the element at the rep start on.
        result: the 64-bit result, or None while the instruction has not retired with one.
        fault: ``"#UD"``, ``"VTL call"``, ``"VTL return"``, ``"?"`` where a trace that was recorded
            elsewhere does not tell what came of it, or None.
        entered_at: when the attempt began, in ns.
        left_at: when it ended, in ns.
        continued: whether the guest issues the instruction again.
        injected: whether a fault that was injected answered in place of the hypervisor.
        unknown: the fields of the input that a trace which was recorded elsewhere does not tell;
            their bytes are zero.
    """

    vp_index: int
    vtl: int
    declaration: CallDeclaration | None
    control: int
    fast: bool
    input_register: int
    output_register: int
    input: bytes = b""
    output: bytes = b""
    result: int | None = None
    fault: str | None = None
    entered_at: int = 0
    left_at: int = 0
    continued: bool = False
    injected: bool = False
    unknown: tuple[str, ...] = ()
