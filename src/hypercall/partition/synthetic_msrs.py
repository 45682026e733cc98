"""How each synthetic MSR is read and written."""

from functools import partial
from typing import TYPE_CHECKING

from hypercall.errors import GuestMemoryError
from hypercall.partition.architectural_msrs import Accessors, refuse_write
from hypercall.partition.clock import APIC_FREQUENCY, TSC_FREQUENCY
from hypercall.partition.faults import GeneralProtection
from hypercall.tlfs.msrs import SINT_COUNT, STIMER_COUNT, SYNIC_VERSION, SyntheticMsr
from hypercall.tlfs.privileges import Feature

if TYPE_CHECKING:
    from hypercall.partition.virtual_processor import VirtualProcessorVtl

CRASH_NOTIFY = 1 << 63
CRASH_MESSAGE = 1 << 62
_CRASH_MESSAGE_LIMIT = 4096
_TSC_EMULATION_IN_PROGRESS = 1

_ASSIST_PAGE_RESERVED = 0xFFE


def _zero(state: "VirtualProcessorVtl") -> int:
    return 0


def _write_guest_os_id(state: "VirtualProcessorVtl", value: int) -> None:
    state.partition.vtls[state.vtl].hypercall_page.write_guest_os_id(value)


def _write_hypercall(state: "VirtualProcessorVtl", value: int) -> None:
    partition = state.partition
    lockable = bool(partition.configuration.features & Feature.HYPERCALL_MSR_LOCK)
    partition.vtls[state.vtl].hypercall_page.write(value, lockable=lockable)


def _write_assist_page(state: "VirtualProcessorVtl", value: int) -> None:
    if value & _ASSIST_PAGE_RESERVED and state.partition.readings.assist_page_reserved_bits:
        raise GeneralProtection
    state.assist_page.write(value)


def _write_reset(state: "VirtualProcessorVtl", value: int) -> None:
    if value & 1:
        state.partition.effects.reset()


def _read_guest_idle(state: "VirtualProcessorVtl") -> int:
    """Let the VP rest until an interrupt arrives, masked or not (TLFS, Idle Sleep State)."""
    state.partition.effects.idle(state.vp)
    return 0


def _read_crash_parameter(index: int, state: "VirtualProcessorVtl") -> int:
    return state.partition.crash_parameters[index]


def _write_crash_parameter(index: int, state: "VirtualProcessorVtl", value: int) -> None:
    state.partition.crash_parameters[index] = value


def _write_crash_control(state: "VirtualProcessorVtl", value: int) -> None:
    """Report a crash (TLFS, Partition Crash Enlightenment): P3 and P4 may name a message."""
    partition = state.partition
    partition.crash_control = value
    if not value & CRASH_NOTIFY:
        return
    message = None
    if value & CRASH_MESSAGE:
        length = min(partition.crash_parameters[4], _CRASH_MESSAGE_LIMIT)
        try:
            message = partition.memory.read(partition.crash_parameters[3], length, state.vtl)
        except GuestMemoryError:
            message = None  # A guest that crashes may well name memory that is not there.
    partition.effects.crash(tuple(partition.crash_parameters), message)


def _read_partition(name: str, state: "VirtualProcessorVtl") -> int:
    value: int = getattr(state.partition, name)
    return value


def _write_partition(name: str, state: "VirtualProcessorVtl", value: int) -> None:
    setattr(state.partition, name, value)


def _on_partition(name: str) -> Accessors:
    """Return accessors of a partition-wide register that only keeps its value."""
    return Accessors(partial(_read_partition, name), partial(_write_partition, name))


def _write_tsc_emulation_status(state: "VirtualProcessorVtl", value: int) -> None:
    # Accesses to the TSC are never emulated at another rate here: nothing is ever in progress.
    state.partition.tsc_emulation_status = value & ~_TSC_EMULATION_IN_PROGRESS


def _write_tsc_invariant_control(state: "VirtualProcessorVtl", value: int) -> None:
    # Once the guest has exposed the invariant TSC to itself it cannot hide it again.
    state.partition.tsc_invariant_control |= value & 1


def _sint(index: int) -> Accessors:
    return Accessors(
        lambda state: state.synic.sints[index],
        lambda state, value: state.synic.write_sint(index, value),
    )


def _timer_config(index: int) -> Accessors:
    return Accessors(
        lambda state: state.timers[index].config,
        lambda state, value: state.timers[index].write_config(value),
    )


def _timer_count(index: int) -> Accessors:
    return Accessors(
        lambda state: state.timers[index].count,
        lambda state, value: state.timers[index].write_count(value),
    )


def _debug_accessors() -> dict[int, Accessors]:
    msr = SyntheticMsr
    plain = {
        msr.SYNDBG_STATUS: "status",
        msr.SYNDBG_SEND_BUFFER: "send_buffer",
        msr.SYNDBG_RECV_BUFFER: "receive_buffer",
        msr.DEBUG_DEVICE_OPTIONS: "options",
    }
    return {
        msr.SYNDBG_CONTROL: Accessors(
            lambda state: state.partition.debug_registers.control,
            lambda state, value: state.partition.debug_registers.write_control(value, state.vtl),
        ),
        msr.SYNDBG_PENDING_BUFFER: Accessors(
            lambda state: state.partition.debug_registers.pending_buffer,
            lambda state, value: state.partition.debug_registers.write_pending_buffer(
                value, state.vtl
            ),
        ),
        **{
            index: Accessors(partial(_read_debug, name), partial(_write_debug, name))
            for index, name in plain.items()
        },
    }


def _read_debug(name: str, state: "VirtualProcessorVtl") -> int:
    value: int = getattr(state.partition.debug_registers, name)
    return value


def _write_debug(name: str, state: "VirtualProcessorVtl", value: int) -> None:
    setattr(state.partition.debug_registers, name, value)


def _partition_accessors() -> dict[int, Accessors]:
    msr = SyntheticMsr
    return {
        msr.GUEST_OS_ID: Accessors(
            lambda state: state.partition.vtls[state.vtl].hypercall_page.guest_os_id,
            _write_guest_os_id,
        ),
        msr.HYPERCALL: Accessors(
            lambda state: state.partition.vtls[state.vtl].hypercall_page.value, _write_hypercall
        ),
        msr.RESET: Accessors(_zero, _write_reset),
        msr.TIME_REF_COUNT: Accessors(
            lambda state: state.partition.clock.reference_count(), refuse_write
        ),
        msr.REFERENCE_TSC: Accessors(
            lambda state: state.partition.vtls[state.vtl].reference_tsc.value,
            lambda state, value: state.partition.vtls[state.vtl].reference_tsc.write(value),
        ),
        msr.TSC_FREQUENCY: Accessors(lambda state: TSC_FREQUENCY, refuse_write),
        msr.APIC_FREQUENCY: Accessors(lambda state: APIC_FREQUENCY, refuse_write),
        **{
            msr.CRASH_P0 + index: Accessors(
                partial(_read_crash_parameter, index), partial(_write_crash_parameter, index)
            )
            for index in range(5)
        },
        # A read tells which bits have an effect.
        msr.CRASH_CTL: Accessors(lambda state: CRASH_NOTIFY | CRASH_MESSAGE, _write_crash_control),
        **_debug_accessors(),
        msr.REENLIGHTENMENT_CONTROL: _on_partition("reenlightenment_control"),
        msr.TSC_EMULATION_CONTROL: _on_partition("tsc_emulation_control"),
        msr.TSC_EMULATION_STATUS: Accessors(
            lambda state: state.partition.tsc_emulation_status, _write_tsc_emulation_status
        ),
        msr.TSC_INVARIANT_CONTROL: Accessors(
            lambda state: state.partition.tsc_invariant_control, _write_tsc_invariant_control
        ),
    }


def _processor_accessors() -> dict[int, Accessors]:
    msr = SyntheticMsr
    return {
        msr.VP_INDEX: Accessors(lambda state: state.vp.index, refuse_write),
        msr.VP_RUNTIME: Accessors(
            lambda state: state.partition.effects.run_time(state.vp) // 100, refuse_write
        ),
        msr.EOI: Accessors(_zero, lambda state, value: state.apic.eoi()),
        msr.ICR: Accessors(
            lambda state: state.apic.icr, lambda state, value: state.apic.write_icr(value)
        ),
        msr.TPR: Accessors(
            lambda state: state.apic.tpr,
            lambda state, value: state.apic.write_task_priority(value),
        ),
        msr.VP_ASSIST_PAGE: Accessors(lambda state: state.assist_page.value, _write_assist_page),
        msr.SCONTROL: Accessors(
            lambda state: state.synic.control,
            lambda state, value: state.synic.write_control(value),
        ),
        msr.SVERSION: Accessors(lambda state: SYNIC_VERSION, refuse_write),
        msr.SIEFP: Accessors(
            lambda state: state.synic.event_flags_page.value,
            lambda state, value: state.synic.event_flags_page.write(value),
        ),
        msr.SIMP: Accessors(
            lambda state: state.synic.message_page.value,
            lambda state, value: state.synic.write_message_page(value),
        ),
        msr.EOM: Accessors(_zero, lambda state, value: state.synic.scan_queues()),
        msr.SIRBP: Accessors(
            lambda state: state.synic.ring_buffer_page,
            lambda state, value: setattr(state.synic, "ring_buffer_page", value),
        ),
        msr.GUEST_IDLE: Accessors(_read_guest_idle, refuse_write),
        **{msr.SINT0 + index: _sint(index) for index in range(SINT_COUNT)},
        **{msr.STIMER0_CONFIG + 2 * index: _timer_config(index) for index in range(STIMER_COUNT)},
        **{msr.STIMER0_COUNT + 2 * index: _timer_count(index) for index in range(STIMER_COUNT)},
    }


def synthetic_accessors() -> dict[int, Accessors]:
    """Return how each implemented synthetic MSR is accessed, by index.

    Whether an access is allowed at all is for the declarations to say.
    """
    return {
        int(index): accessors
        for index, accessors in (_partition_accessors() | _processor_accessors()).items()
    }
