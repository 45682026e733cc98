"""For each status in the table of each call a guest that gets it.

A scenario runs a guest that makes the call and returns the status that it found. Most are made by
VTL 0; some need VTL 1 or VTL 2, or a partition that the host has prepared.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.guests.assembly import call, let_others_run, put, write_msr
from tests.guests.contexts import words_of
from tests.guests.hypercalls import Caller, Row
from tests.guests.kit import GuestRun
from tests.guests.layout import DATA, EVENTS, INPUT, MESSAGES, OUTPUT
from tests.guests.vtl import (
    READ,
    enable,
    enable_protection,
    enable_vp_vtl,
    protect,
    run_to_end,
    stack,
    vtl_call,
    vtl_guest,
    vtl_return,
)

from hypercall.machine.devices.msi_test_device import DEVICE_ID
from hypercall.machine.machine import Machine
from hypercall.partition.debug_channel import CAPACITY
from hypercall.partition.nested_formats import NestedFormat
from hypercall.partition.ports import SintTarget
from hypercall.tlfs.privileges import ExtendedCapability, Feature, Recommendation
from hypercall.tlfs.status import HvStatus as S

SELF, OWN, NO_VP, OTHER_PARTITION = -1, 0xFFFFFFFE, 77, 5
VTL1, VTL2, BAD_VTL = 0x11, 0x12, 0x1F
BAD_CR3 = 1 << 52
HOLE = 0xC_0000
VTL_LIST = INPUT + 0x800
START_LIST = INPUT + 0x400
START_IN_VTL1 = (SELF, 1 | 1 << 32, *words_of(rsp=stack(1, 1)))
EPT_POINTER = DATA | 0x1E
PARKING_PLACE = DATA + 0x20000
CONNECTION = 0x10
LOOP_FOREVER = f"returning:\n{vtl_return(1)}\njmp returning"

KVM_WITHOUT_ADVICE: dict[str, Any] = {
    "like": "kvm",
    "partition": {"recommendations": Recommendation(0), "spin_retry_count": 0xFFFFFFFF},
}
NESTED: dict[str, Any] = {"privileges": "all"}
NO_DEBUGGING: dict[str, Any] = {
    "partition": {"features": Feature.XMM_REGISTERS_FOR_FAST_HYPERCALL_INPUT}
}
NO_CHANNEL: dict[str, Any] = {"partition": {"debug_channel_id": 0}}
NO_CAPABILITIES: dict[str, Any] = {"partition": {"extended_capabilities": ExtendedCapability(0)}}


def without(privilege: str) -> dict[str, Any]:
    """The configuration of a partition that lacks a privilege."""
    return {"privileges": f"all,-{privilege}"}


Prepare = Callable[[Machine], None]
Run = Callable[[], int]


def _nothing(machine: Machine) -> None:
    """Leave the partition as it is."""


@dataclass(frozen=True)
class Scenario:
    """One status of one call.

    Attributes:
        code: the call.
        status: the status.
        run: makes the call from guest code, and returns the status.
    """

    code: int
    status: S
    run: Run

    @property
    def name(self) -> str:
        """The id of the test."""
        return f"{self.code:#06x}-{self.status.name}"


@dataclass(frozen=True)
class _Of:
    """Makes the scenarios of one call.

    Attributes:
        control: the control word.
        found: those made so far.
    """

    control: int
    found: list[Scenario] = field(default_factory=list)

    def _add(self, status: S, run: Run) -> None:
        self.found.append(Scenario(self.control & 0xFFFF, status, run))

    def vtl0(
        self,
        status: S,
        *words: int,
        control: int | None = None,
        before: str = "",
        prepare: Prepare = _nothing,
        cpus: int = 1,
        times: int = 1,
        **configuration: Any,
    ) -> None:
        """VTL 0 makes the call, the last of several times."""

        def run() -> int:
            caller = Caller(before=before, cpus=cpus, configuration=configuration, prepare=prepare)
            row = Row(self.control if control is None else control, words)
            return caller.make(*[row] * times).answers[-1].status

        self._add(status, run)

    def vtl1(
        self,
        status: S,
        *words: int,
        before: str = "",
        normal: str = "",
        functions: str = "",
        cpus: int = 1,
        **configuration: Any,
    ) -> None:
        """VTL 1 makes the call; `normal` is the text of VTL 0, by default a VTL call."""

        def run() -> int:
            return _status(
                _guest(
                    words,
                    normal or vtl_call(),
                    f"{before}\n{self._call()}\n{LOOP_FOREVER}",
                    functions=functions,
                    cpus=cpus,
                    **configuration,
                )
            )

        self._add(status, run)

    def below_vtl1(self, status: S, *words: int, before: str = "", **configuration: Any) -> None:
        """VTL 0 makes the call while VTL 1 is enabled, and has run `before`."""

        def run() -> int:
            secure = f"{before}\n{LOOP_FOREVER}"
            return _status(_guest(words, f"{vtl_call()}\n{self._call()}", secure, **configuration))

        self._add(status, run)

    def vtl2(self, status: S, *words: int, before: str = "", **configuration: Any) -> None:
        """VTL 2 makes the call while VTL 1 is not enabled, unless VTL 0 does that before."""

        def run() -> int:
            normal = f"{enable(2, 'secure_2')}\n{before}\n{vtl_call()}"
            secure_2 = f"{self._call()}\n{LOOP_FOREVER}"
            return _status(_guest(words, normal, "", secure_2, enabled=False, **configuration))

        self._add(status, run)

    def _call(self) -> str:
        return f"{call(self.control, VTL_LIST, OUTPUT)}\n{put('rax')}"


def _guest(
    words: Sequence[int], normal: str, secure: str, secure_2: str = "", **rest: Any
) -> GuestRun:
    memory = {VTL_LIST: packed(words), START_LIST: packed(START_IN_VTL1)}
    return run_to_end(vtl_guest(normal, secure, secure_2, memory=memory, **rest).machine())


def packed(words: Sequence[int]) -> bytes:
    """Words as they lie in memory."""
    return b"".join((word % (1 << 64)).to_bytes(8, "little") for word in words)


def _status(run: GuestRun) -> int:
    return run.words(1)[0] & 0xFFFF


# --- preparations ---------------------------------------------------------------------------------


def parking_place(machine: Machine) -> None:
    """Code for a processor that shall do nothing."""
    machine.partition.memory.write(PARKING_PLACE, b"\xeb\xfe")


def take_overlay_pages(machine: Machine) -> None:
    """Leave room for the hypercall page of VTL 0, and for one page more."""
    memory = machine.partition.memory
    while memory.free_overlay_pages > 2:
        memory.new_overlay()


def message_port(*, vtl: int = 0, minimum_vtl: int = 0) -> Prepare:
    """A connection to a message slot."""

    def prepare(machine: Machine) -> None:
        ports = machine.partition.ports
        port = ports.create_message_port(SintTarget(0, 3, vtl))
        ports.connect(CONNECTION, port, minimum_vtl=minimum_vtl)

    return prepare


def event_port(*, vtl: int = 0, minimum_vtl: int = 0) -> Prepare:
    """A connection to the event flags of a SINT."""

    def prepare(machine: Machine) -> None:
        ports = machine.partition.ports
        port = ports.create_event_port(SintTarget(0, 3, vtl), flag_count=8)
        ports.connect(CONNECTION, port, minimum_vtl=minimum_vtl)

    return prepare


def deleted_port(machine: Machine) -> None:
    """A connection whose port is gone."""
    ports = machine.partition.ports
    port = ports.create_message_port(SintTarget(0, 3))
    ports.connect(CONNECTION, port)
    ports.delete(port)


def host_port(machine: Machine) -> None:
    """A port of Python code that takes a message, and nobody takes it from there."""
    machine.port(CONNECTION, buffers=1)


def debugger_data(machine: Machine) -> None:
    """Data of a debugger that wait for the guest."""
    machine.debug_channel.send(b"go")


def full_channel(machine: Machine) -> None:
    """No room for what the guest posts."""
    machine.debug_channel.post(bytes(CAPACITY))


def nested_space(machine: Machine) -> None:
    """A second-level address space."""
    machine.partition.nested.register(EPT_POINTER, NestedFormat.EPT)


SYNIC = "\n".join(
    (
        write_msr(0x40000080, 1),
        write_msr(0x40000083, MESSAGES | 1),
        write_msr(0x40000082, EVENTS | 1),
        write_msr(0x40000093, 0x73),
    )
)
OTHER_RUNS_IN_VTL1 = f"""
    {enable_vp_vtl(1, "parked", 1, 1)}
    mov rax, parked
    mov r11, {START_LIST + 16}
    mov [r11], rax
    {call(0x99, START_LIST)}
    {let_others_run("parking")}
"""
PARKED = "parked:\nhlt\njmp parked"


# --- the calls ------------------------------------------------------------------------------------


def _address_spaces() -> list[Scenario]:
    found: list[Scenario] = []
    switch = _Of(0x1, found)
    switch.vtl0(S.SUCCESS, 0x83000)
    switch.vtl0(S.INVALID_PARAMETER, BAD_CR3)
    for control, elements in ((0x2, ()), (0x1_0000_0003, (0x400000,))):
        flush = _Of(control, found)
        flush.vtl0(S.SUCCESS, 0, 3, 0, *elements)
        flush.vtl0(S.INVALID_PARAMETER, BAD_CR3, 0, 1, *elements)
        flush.vtl0(S.ACCESS_DENIED, 0, 3, 0, *elements, **KVM_WITHOUT_ADVICE)
    for control, elements in ((0x2_0013, ()), (0x1_0002_0014, (0x400000,))):
        flush = _Of(control, found)
        flush.vtl0(S.SUCCESS, 0, 2, 0, 1, 1, *elements)
        flush.vtl0(S.INVALID_PARAMETER, 0, 0x22, 0, 1, 1, *elements)
        flush.vtl0(S.ACCESS_DENIED, 0, 2, 0, 1, 1, *elements, **KVM_WITHOUT_ADVICE)
        flush.vtl0(S.INVALID_PARAMETER, 0, 2, 0, 3, 1, *elements)
    translate = _Of(0x52, found)
    page = DATA >> 12
    translate.vtl0(S.SUCCESS, SELF, OWN, 1, page)
    translate.vtl0(S.INVALID_PARAMETER, SELF, OWN, 1 << 11, page)
    translate.below_vtl1(S.ACCESS_DENIED, SELF, OWN, 1 | VTL1 << 56, page)
    translate.vtl0(S.INVALID_PARTITION_ID, OTHER_PARTITION, OWN, 1, page)
    translate.vtl0(S.INVALID_VP_INDEX, SELF, NO_VP, 1, page)
    translate.vtl2(S.INVALID_VTL_STATE, SELF, OWN, 1 | VTL1 << 56, page)
    return found


def _processors() -> list[Scenario]:
    found: list[Scenario] = []
    spin = _Of(0x8, found)
    spin.vtl0(S.SUCCESS, 1)
    spin.vtl0(S.ACCESS_DENIED, 1, **KVM_WITHOUT_ADVICE)
    rip, cr3, no_such = 0x20010, 0x40002, 0xDEAD
    for control, value in ((0x1_0000_0050, ()), (0x1_0000_0051, (0, 0x83000, 0))):
        registers = _Of(control, found)
        registers.vtl0(S.SUCCESS, SELF, OWN, cr3, *value)
        registers.below_vtl1(S.ACCESS_DENIED, SELF, OWN | VTL1 << 32, rip, *value)
        registers.vtl0(S.INVALID_PARTITION_ID, OTHER_PARTITION, OWN, cr3, *value)
        registers.vtl0(S.INVALID_VP_INDEX, SELF, NO_VP, cr3, *value)
        registers.vtl0(S.INVALID_PARAMETER, SELF, OWN, no_such, *value)
        registers.vtl2(S.INVALID_VTL_STATE, SELF, OWN | VTL1 << 32, cr3, *value)
    registers.vtl0(S.INVALID_REGISTER_VALUE, SELF, OWN, cr3, 0, BAD_CR3, 0)
    start = _Of(0x99, found)
    context = words_of(rip=PARKING_PLACE)
    start.vtl0(S.SUCCESS, SELF, 1, *context, cpus=2, prepare=parking_place)
    start.below_vtl1(S.ACCESS_DENIED, SELF, 1 | 1 << 32, *context, cpus=2)
    start.vtl0(S.INVALID_PARTITION_ID, OTHER_PARTITION, 1, *context, cpus=2)
    start.vtl0(S.INVALID_VP_INDEX, SELF, NO_VP, *context, cpus=2)
    start.vtl0(S.INVALID_PARAMETER, SELF, 1 | 0xF << 32, *context, cpus=2)
    start.vtl0(S.INVALID_REGISTER_VALUE, SELF, 1, *words_of(cr0=0x8000_0010), cpus=2)
    start.vtl1(S.INVALID_VP_STATE, SELF, 1 | 1 << 32, *context, cpus=2)
    start.vtl2(S.INVALID_VTL_STATE, SELF, 1 | 1 << 32, *context, cpus=2)
    index = _Of(0x1_0000_009A, found)
    index.vtl0(S.SUCCESS, SELF, 0, 0)
    index.below_vtl1(S.ACCESS_DENIED, SELF, 1, 0)
    index.vtl0(S.INVALID_PARTITION_ID, OTHER_PARTITION, 0, 0)
    index.vtl0(S.INVALID_PARAMETER, SELF, 0, 0xDEAD)
    index.vtl2(S.INVALID_VTL_STATE, SELF, 1, 0)
    return found


def _interrupts() -> list[Scenario]:
    found: list[Scenario] = []
    for control, rest in ((0xB, (1,)), (0x2_0015, (0, 1, 1))):
        ipi = _Of(control, found)
        ipi.vtl0(S.SUCCESS, 0xFE, *rest)
        ipi.vtl0(S.INVALID_PARAMETER, 8, *rest)
        ipi.below_vtl1(S.ACCESS_DENIED, 0xFE | VTL1 << 32, *rest)
        ipi.vtl2(S.INVALID_VTL_STATE, 0xFE | VTL1 << 32, *rest)
    ipi.vtl0(S.INVALID_PARAMETER, 0xFE, 0, 3, 1)
    retarget = _Of(0x7E, found)
    entry = (1, 0xFEE0_0004)
    target = (0x61, 1)
    retarget.vtl0(S.SUCCESS, SELF, DEVICE_ID, *entry, 0, *target)
    retarget.vtl0(S.INVALID_PARTITION_ID, OTHER_PARTITION, DEVICE_ID, *entry, 0, *target)
    retarget.vtl0(S.INVALID_DEVICE_ID, SELF, DEVICE_ID + 1, *entry, 0, *target)
    retarget.vtl0(S.INVALID_PARAMETER, SELF, DEVICE_ID, *entry, 0, 8, 1)
    return found


def _partition_vtls() -> list[Scenario]:
    found: list[Scenario] = []
    enable_it = _Of(0xD, found)
    enable_it.vtl0(S.SUCCESS, SELF, 1)
    enable_it.below_vtl1(S.ACCESS_DENIED, SELF, 2)
    enable_it.vtl0(S.INVALID_PARTITION_ID, OTHER_PARTITION, 1)
    enable_it.vtl0(S.INVALID_PARAMETER, SELF, 0)
    enable_it.vtl0(S.INSUFFICIENT_MEMORY, SELF, 1, prepare=take_overlay_pages)
    enable_it.vtl0(S.INVALID_VTL_STATE, SELF, 1, times=2)
    disable = _Of(0xE, found)
    disable.vtl2(S.SUCCESS, SELF, 1, before=call(0x1000D, SELF, 1))
    disable.vtl0(S.INVALID_PARTITION_ID, OTHER_PARTITION, 1)
    disable.vtl0(S.INVALID_PARAMETER, SELF, 0)
    disable.below_vtl1(S.ACCESS_DENIED, SELF, 1)
    disable.vtl1(S.INVALID_VTL_STATE, SELF, 1)
    return found


def _processor_vtls() -> list[Scenario]:
    found: list[Scenario] = []
    enable_it = _Of(0xF, found)
    context = words_of(rip=0x100000)
    enable_1 = call(0x1000D, SELF, 1)
    enable_it.vtl0(S.SUCCESS, SELF, OWN | 1 << 32, *context, before=enable_1)
    enable_it.below_vtl1(S.ACCESS_DENIED, SELF, 1 | 1 << 32, *context, cpus=2)
    enable_it.vtl0(S.INVALID_PARTITION_ID, OTHER_PARTITION, OWN | 1 << 32, *context)
    enable_it.vtl0(S.INVALID_VP_INDEX, SELF, NO_VP | 1 << 32, *context)
    enable_it.vtl0(S.INVALID_PARAMETER, SELF, OWN, *context)
    enable_it.vtl0(S.INVALID_VTL_STATE, SELF, OWN | 1 << 32, *context)
    bad = words_of(cr0=0x8000_0010)
    enable_it.vtl0(S.INVALID_REGISTER_VALUE, SELF, OWN | 1 << 32, *bad, before=enable_1)
    enable_it.vtl1(S.VTL_ALREADY_ENABLED, SELF, OWN | 1 << 32, *context)
    disable = _Of(0x10, found)
    disable.vtl1(
        S.SUCCESS,
        SELF,
        1 | 1 << 32,
        before=enable_vp_vtl(1, "parked", 1, 1),
        cpus=2,
        functions=PARKED,
    )
    disable.vtl0(S.INVALID_PARTITION_ID, OTHER_PARTITION, OWN | 1 << 32)
    disable.vtl0(S.INVALID_VP_INDEX, SELF, NO_VP | 1 << 32)
    disable.vtl0(S.INVALID_PARAMETER, SELF, OWN)
    disable.below_vtl1(S.ACCESS_DENIED, SELF, OWN | 1 << 32)
    disable.vtl1(S.INVALID_VTL_STATE, SELF, OWN | 1 << 32)
    disable.vtl1(
        S.INVALID_VP_STATE,
        SELF,
        1 | 1 << 32,
        before=OTHER_RUNS_IN_VTL1,
        cpus=2,
        functions=PARKED,
    )
    return found


def _protections() -> list[Scenario]:
    found: list[Scenario] = []
    modify = _Of(0x1_0000_000C, found)
    page = DATA >> 12
    on = enable_protection()
    modify.vtl1(S.SUCCESS, SELF, READ, page, before=on)
    modify.vtl1(S.ACCESS_DENIED, SELF, READ, page)
    modify.vtl1(S.INVALID_PARTITION_ID, OTHER_PARTITION, READ, page, before=on)
    modify.vtl1(S.INVALID_PARAMETER, SELF, READ, HOLE, before=on)
    modify.vtl2(S.INVALID_VTL_STATE, SELF, READ | VTL1 << 32, page)
    modify.vtl1(S.INVALID_REGISTER_VALUE, SELF, 2, page, before=on)
    return found


def _messages_and_events() -> list[Scenario]:
    found: list[Scenario] = []
    post = _Of(0x5C, found)
    message = (CONNECTION, 1 | 8 << 32, 0x1111)
    post.vtl0(S.SUCCESS, *message, before=SYNIC, prepare=message_port())
    post.vtl0(S.ACCESS_DENIED, *message, **without("PostMessages"))
    post.vtl0(S.INVALID_CONNECTION_ID, *message)
    post.vtl0(S.INVALID_PORT_ID, *message, prepare=deleted_port)
    post.vtl0(S.INVALID_VP_INDEX, *message, prepare=message_port(vtl=1))
    post.vtl0(S.INVALID_PARAMETER, CONNECTION, 8 << 32)
    post.vtl0(S.INSUFFICIENT_BUFFERS, *message, prepare=host_port, times=2)
    post.vtl0(S.INVALID_SYNIC_STATE, *message, prepare=message_port())
    post.vtl0(S.OPERATION_DENIED, *message, prepare=message_port(minimum_vtl=1))
    signal = _Of(0x5D, found)
    signal.vtl0(S.SUCCESS, CONNECTION, before=SYNIC, prepare=event_port())
    signal.vtl0(S.ACCESS_DENIED, CONNECTION, **without("SignalEvents"))
    signal.vtl0(S.INVALID_CONNECTION_ID, CONNECTION)
    signal.vtl0(S.INVALID_PORT_ID, CONNECTION, prepare=deleted_port)
    signal.vtl0(S.INVALID_VP_INDEX, CONNECTION, prepare=event_port(vtl=1))
    signal.vtl0(S.INVALID_PARAMETER, CONNECTION | 8 << 32, prepare=event_port())
    signal.vtl0(S.INVALID_SYNIC_STATE, CONNECTION, prepare=event_port())
    signal.vtl0(S.OPERATION_DENIED, CONNECTION, prepare=event_port(minimum_vtl=1))
    return found


def _debugging() -> list[Scenario]:
    found: list[Scenario] = []
    post = _Of(0x69, found)
    post.vtl0(S.SUCCESS, 2, 0x4142)
    post.vtl0(S.FEATURE_UNAVAILABLE, 2, **NO_DEBUGGING)
    post.vtl0(S.ACCESS_DENIED, 2, **without("Debugging"))
    post.vtl0(S.OPERATION_DENIED, 2, **NO_CHANNEL)
    post.vtl0(S.INVALID_PARAMETER, 4089)
    post.vtl0(S.INSUFFICIENT_BUFFERS, 2, prepare=full_channel)
    retrieve = _Of(0x6A, found)
    retrieve.vtl0(S.SUCCESS, 2, prepare=debugger_data)
    retrieve.vtl0(S.FEATURE_UNAVAILABLE, 2, **NO_DEBUGGING)
    retrieve.vtl0(S.ACCESS_DENIED, 2, **without("Debugging"))
    retrieve.vtl0(S.OPERATION_DENIED, 2, **NO_CHANNEL)
    retrieve.vtl0(S.INVALID_PARAMETER, 4089)
    retrieve.vtl0(S.INACTIVE, 2 | 2 << 32)
    retrieve.vtl0(S.NO_DATA, 2)
    reset = _Of(0x6B, found)
    reset.vtl0(S.SUCCESS, 1, prepare=debugger_data)
    reset.vtl0(S.FEATURE_UNAVAILABLE, 1, **NO_DEBUGGING)
    reset.vtl0(S.ACCESS_DENIED, 1, **without("Debugging"))
    reset.vtl0(S.OPERATION_DENIED, 1, **NO_CHANNEL)
    reset.vtl0(S.INVALID_PARAMETER, 0)
    reset.vtl0(S.NO_DATA, 1)
    return found


def _nested() -> list[Scenario]:
    found: list[Scenario] = []
    for control, elements in ((0xAF, ()), (0x1_0000_00B0, (0,))):
        flush = _Of(control, found)
        flush.vtl0(S.SUCCESS, EPT_POINTER, 0, *elements, prepare=nested_space, **NESTED)
        flush.vtl0(S.INVALID_PARAMETER, EPT_POINTER, 1, *elements, **NESTED)
        flush.vtl0(S.INVALID_VP_STATE, EPT_POINTER, 0, *elements)
    return found


def _extended() -> list[Scenario]:
    found: list[Scenario] = []
    no_calls = without("EnableExtendedHypercalls")
    query = _Of(0x8001, found)
    query.vtl0(S.SUCCESS)
    query.vtl0(S.ACCESS_DENIED, **no_calls)
    zeroed = _Of(0x8002, found)
    zeroed.vtl0(S.SUCCESS)
    zeroed.vtl0(S.ACCESS_DENIED, **no_calls)
    zeroed.vtl0(S.INVALID_HYPERCALL_CODE, **NO_CAPABILITIES)
    discard, no_type = 2, 3
    hint = _Of(0x1_0000_8003, found)
    hint.vtl0(S.SUCCESS, discard, DATA)
    hint.vtl0(S.INVALID_PARAMETER, no_type, DATA)
    guarded = f"{enable_protection()}\n{protect(DATA, READ)}"
    hint.below_vtl1(S.ACCESS_DENIED, discard, DATA, before=guarded)
    hint.vtl0(S.ACCESS_DENIED, discard, DATA, **no_calls)
    hint.vtl0(S.INVALID_HYPERCALL_CODE, discard, DATA, **NO_CAPABILITIES)
    setup = _Of(0x8004, found)
    setup.vtl0(S.SUCCESS, 1, DATA >> 12, 1)
    setup.vtl0(S.INVALID_PARAMETER, 2, DATA >> 12, 1)
    setup.vtl0(S.ACCESS_DENIED, 1, DATA >> 12, 1, **no_calls)
    setup.vtl0(S.INVALID_HYPERCALL_CODE, 1, DATA >> 12, 1, **NO_CAPABILITIES)
    later = _Of(0x1_0000_8006, found)
    later.vtl0(S.CALL_PENDING, discard, DATA)
    later.vtl0(S.INVALID_PARAMETER, no_type, DATA)
    later.below_vtl1(S.ACCESS_DENIED, discard, DATA, before=guarded)
    later.vtl0(S.ACCESS_DENIED, discard, DATA, **no_calls)
    later.vtl0(S.INVALID_HYPERCALL_CODE, discard, DATA, **NO_CAPABILITIES)
    return found


SCENARIOS = (
    *_address_spaces(),
    *_processors(),
    *_interrupts(),
    *_partition_vtls(),
    *_processor_vtls(),
    *_protections(),
    *_messages_and_events(),
    *_debugging(),
    *_nested(),
    *_extended(),
)
"""All of them; a status that is in a call's table twice has two."""
