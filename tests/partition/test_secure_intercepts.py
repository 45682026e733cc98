import struct
from collections.abc import Callable

import pytest
from tests.partition.secure import (
    enable,
    protect,
    with_apic,
    with_assist_page,
    with_messages,
)

from hypercall.partition.faults import Intercepted
from hypercall.partition.standalone import StandalonePartition
from hypercall.partition.virtual_processor import VirtualProcessor
from hypercall.tlfs.messages import (
    MEMORY_INTERCEPT_PAYLOAD,
    MSR_INTERCEPT_PAYLOAD,
    REGISTER_INTERCEPT_PAYLOAD,
    Message,
    MessageType,
)
from hypercall.tlfs.readings import ReadingSet
from hypercall.tlfs.registers import RegisterName as R

MakePartition = Callable[..., StandalonePartition]

READ, WRITE, EXECUTE = 0, 1, 2
CODE_64 = 0xA09B_0010_FFFF_FFFF << 64
G = 0x60
GVA = 0xFFFF_8000_0006_0123
GPA = G << 12 | 0x123
LOAD = b"\x48\x8b\x00"
STORE = b"\x48\x89\x00"
AFTER = b"\x90" * 13


@pytest.fixture
def box(make_partition: MakePartition) -> StandalonePartition:
    return make_partition()


def lower(box: StandalonePartition) -> VirtualProcessor:
    """A processor in VTL 0, in long mode, beneath a VTL 1 that has set SINT0 up."""
    vp = enable(box)
    with_messages(vp)
    registers = {
        R.CS: CODE_64,
        R.RIP: 0xFFFF_8000_0010_0000,
        R.RFLAGS: 0x10202,
        R.CR0: 0x80050033,
        R.EFER: 0xD01,
        R.DR7: 0x400,
        R.RAX: 0x1111_2222_3333_4444,
        R.RDX: 0x5555,
        R.R15: 0xF15,
    }
    for name, value in registers.items():
        box.effects.registers[vp.index, 0, name] = value
    box.effects.clear()
    return vp


def violate(
    vp: VirtualProcessor, access: int, instruction: bytes = LOAD + AFTER, gpa: int = GPA
) -> bool:
    return vp.partition.vsm.memory_violation(vp, GVA, gpa, access, instruction)


def slot(vp: VirtualProcessor, vtl: int = 1) -> Message:
    view = vp.vtls[vtl].synic.message_page.view
    assert view is not None
    return Message.parse(view[:256])


class TestMemory:
    def test_a110_the_message_of_a_read(self, box: StandalonePartition) -> None:
        vp = lower(box)
        vp.vtls[0].apic.write_task_priority(0x30)
        protect(box)
        box.partition.vsm.protect(1, [G], 0)
        assert violate(vp, READ)
        message = slot(vp)
        assert message.message_type == MessageType.GPA_INTERCEPT
        assert len(message.payload) == 80
        assert message.sender == box.partition.configuration.partition_id
        assert MEMORY_INTERCEPT_PAYLOAD.unpack_named(message.payload) == {
            "vp_index": 0,
            "instruction_length_and_cr8": 3 | 3 << 4,
            "access_type": 0,
            "execution_state": 1 << 2 | 1 << 3 | 1 << 4,
            "cs": CODE_64.to_bytes(16, "little"),
            "rip": 0xFFFF_8000_0010_0000,
            "rflags": 0x10202,
            "cache_type": 6,
            "instruction_byte_count": 3,
            "memory_access_info": 1,
            "tpr_priority": 3,
            "guest_virtual_address": GVA,
            "guest_physical_address": GPA,
            "instruction_bytes": LOAD + bytes(13),
        }
        assert vp.interrupting_vtl() == 1
        assert box.effects.named("interrupt_changed")
        box.partition.vsm.interrupt_entry(vp, 1)
        assert vp.pending_vector() == 0x30

    def test_a111_a118_the_message_of_a_write(self, box: StandalonePartition) -> None:
        vp = lower(box)
        box.partition.vsm.protect(1, [G], 1)
        assert violate(vp, WRITE, STORE)
        payload = MEMORY_INTERCEPT_PAYLOAD.unpack_named(slot(vp).payload)
        assert payload["access_type"] == 1
        assert payload["instruction_bytes"][:3] == STORE

    def test_a112_the_message_of_a_fetch(self, box: StandalonePartition) -> None:
        vp = lower(box)
        box.partition.vsm.protect(1, [G], 3)
        assert violate(vp, EXECUTE, b"")
        payload = MEMORY_INTERCEPT_PAYLOAD.unpack_named(slot(vp).payload)
        assert (payload["access_type"], payload["instruction_byte_count"]) == (2, 0)

    def test_the_privilege_level_and_other_state(self, box: StandalonePartition) -> None:
        vp = lower(box)
        box.effects.registers[0, 0, R.CS] = CODE_64 | 3 << 96
        box.effects.registers[0, 0, R.DR7] = 0x401
        box.partition.vsm.protect(1, [G], 0)
        assert violate(vp, READ)
        state = MEMORY_INTERCEPT_PAYLOAD.unpack_named(slot(vp).payload)["execution_state"]
        assert (state & 3, state >> 5 & 1, state >> 7 & 15) == (3, 1, 0)

    @pytest.mark.parametrize(
        ("mask", "access"), [(1, READ), (3, WRITE), (0xD, EXECUTE), (0xF, WRITE)]
    )
    def test_what_is_allowed_is_no_violation(
        self, box: StandalonePartition, mask: int, access: int
    ) -> None:
        vp = lower(box)
        box.partition.vsm.protect(1, [G], mask)
        assert not violate(vp, access)
        assert slot(vp).message_type == 0

    def test_pages_that_no_vtl_protects(self, box: StandalonePartition) -> None:
        vp = lower(box)
        box.partition.vsm.protect(1, [G], 0)
        assert not violate(vp, READ, gpa=0xFEE00000)
        box.partition.memory.map_overlay(0, G)
        assert not violate(vp, WRITE), "an overlay page hides the protection"

    def test_the_vtl_itself_is_not_bound(self, box: StandalonePartition) -> None:
        vp = lower(box)
        box.partition.vsm.protect(1, [G], 0)
        box.partition.vsm.vtl_call(vp)
        assert not violate(vp, READ)

    def test_the_lowest_vtl_that_forbids_it_hears_first(self, box: StandalonePartition) -> None:
        vp = lower(box)
        enable(box, 2)
        box.partition.vsm.protect(2, [G], 0)
        assert not violate(vp, READ), "VTL 2 has set nothing up"
        box.partition.vsm.protect(1, [G], 0)
        assert violate(vp, READ)
        assert slot(vp).message_type

    def test_messages_do_not_pile_up(self, box: StandalonePartition) -> None:
        vp = lower(box)
        box.partition.vsm.protect(1, [G], 0)
        for _ in range(3):
            assert violate(vp, READ)
            assert vp.interrupting_vtl() == 1
            box.partition.vsm.interrupt_entry(vp, 1)
            box.partition.vsm.vtl_return(vp, True)
            vp.vtls[1].apic.irr = 0
        synic = vp.vtls[1].synic
        assert synic.queue_length(0) == 1
        assert synic.message_page.view is not None
        synic.message_page.view[:4] = bytes(4)
        synic.scan_queues()
        assert slot(vp).message_type == MessageType.GPA_INTERCEPT
        assert synic.queue_length(0) == 0

    def test_the_task_priority_does_not_hold_an_intercept_back(
        self, box: StandalonePartition
    ) -> None:
        vp = lower(box)
        vp.vtls[1].apic.write_task_priority(0xF0)
        view = with_assist_page(vp)
        box.partition.vsm.protect(1, [G], 0)
        assert violate(vp, READ)
        assert vp.interrupting_vtl() == 1
        box.partition.vsm.interrupt_entry(vp, 1)
        assert view[8] == 3, "the reason is the intercept"

    def test_in_the_assist_page_without_sint0(self, box: StandalonePartition) -> None:
        vp = enable(box)
        view = with_assist_page(vp)
        with_apic(vp)
        box.partition.vsm.protect(1, [G], 0)
        assert violate(vp, READ)
        message = Message.parse(view[112:368])
        assert message.message_type == MessageType.GPA_INTERCEPT
        assert vp.interrupting_vtl() == 1
        box.partition.vsm.interrupt_entry(vp, 1)
        assert view[8] == 3

    def test_nobody_who_could_be_told(self, box: StandalonePartition) -> None:
        vp = enable(box)
        box.partition.vsm.protect(1, [G], 0)
        assert not violate(vp, READ)
        assert vp.interrupting_vtl() is None
        other = box.partition.by_index[1]
        assert not violate(other, READ), "it has no VTL 1"

    def test_the_form_by_reading(self, make_partition: MakePartition) -> None:
        found = {}
        for name in ("hyperv", "kvm", "xen", "openvmm"):
            box = make_partition(readings=ReadingSet.named(name))
            vp = lower(box)
            box.partition.vsm.protect(1, [G], 0)
            assert violate(vp, READ)
            payload = slot(vp).payload
            found[name] = (len(payload), payload[45] & 1)
            if name == "kvm":
                assert struct.unpack_from("<Q", payload, 0x70) == (0x1111_2222_3333_4444,)
                assert struct.unpack_from("<Q", payload, 0xE8) == (0xF15,)
        current = (80, 1)
        assert found == {"hyperv": current, "kvm": (240, 0), "xen": current, "openvmm": current}


class TestModeBasedExecution:
    @pytest.mark.parametrize(
        ("mask", "level", "smep", "allowed"),
        [
            (0xD, 0, True, True),
            (0xD, 3, True, True),
            (0x9, 0, True, False),
            (0x9, 3, True, True),
            (0x9, 3, False, False),
            (0x1, 3, True, False),
        ],
    )
    def test_fetches(
        self, box: StandalonePartition, mask: int, level: int, smep: bool, allowed: bool
    ) -> None:
        vp = enable(box, mbec=True)
        with_messages(vp)
        box.partition.registers.write(vp.vtls[1], R.VSM_VP_SECURE_CONFIG_VTL0, 1)
        box.effects.registers[0, 0, R.CS] = CODE_64 | level << 96
        box.effects.registers[0, 0, R.CR4] = 1 << 20 if smep else 0
        box.partition.vsm.protect(1, [G], mask)
        assert box.partition.vsm.user_execute_governs(vp) == smep
        assert violate(vp, EXECUTE, b"") != allowed

    def test_not_enabled_on_the_processor(self, box: StandalonePartition) -> None:
        vp = enable(box, mbec=True)
        with_messages(vp)
        box.effects.registers[0, 0, R.CS] = CODE_64 | 3 << 96
        box.effects.registers[0, 0, R.CR4] = 1 << 20
        box.partition.vsm.protect(1, [G], 0x9)
        assert violate(vp, EXECUTE, b""), "the kernel's permission governs all"


class TestParameters:
    @pytest.mark.parametrize(("write", "information"), [(False, 0), (True, 4)])
    def test_the_message(self, box: StandalonePartition, write: bool, information: int) -> None:
        vp = lower(box)
        box.partition.vsm.protect(1, [G], 0)
        assert box.partition.intercept_parameters(0, GPA, write=write)
        payload = MEMORY_INTERCEPT_PAYLOAD.unpack_named(slot(vp).payload)
        assert payload["memory_access_info"] == information
        assert payload["instruction_length_and_cr8"] & 0xF == 3
        assert payload["guest_physical_address"] == GPA
        assert payload["access_type"] == int(write)

    def test_memory_that_is_not_there(self, box: StandalonePartition) -> None:
        lower(box)
        assert not box.partition.intercept_parameters(0, 0x8000_0000, write=False)


class TestRegisters:
    def install(self, box: StandalonePartition, control: int, **masks: int) -> VirtualProcessor:
        vp = lower(box)
        state = vp.vtls[1]
        for name, value in masks.items():
            box.partition.registers.write(state, R[f"CR_INTERCEPT_{name.upper()}"], value)
        box.partition.registers.write(state, R.CR_INTERCEPT_CONTROL, control)
        return vp

    def test_a120_it_reads_back_and_reaches_the_processor(self, box: StandalonePartition) -> None:
        vp = self.install(box, 0x1000)
        assert box.partition.registers.read(vp.vtls[1], R.CR_INTERCEPT_CONTROL) == 0x1000
        assert vp.vtls[0].intercepted == 0x1000
        assert vp.vtls[1].intercepted == 0
        assert box.effects.named("intercepts_changed") == [(vp, 0)]

    def test_a119_a_write_of_an_msr(self, box: StandalonePartition) -> None:
        vp = self.install(box, 0x1000)
        with pytest.raises(Intercepted):
            box.partition.msrs.write(vp, 0x1B, 0xFEE00000)
        assert vp.vtls[0].apic.enabled, "it did not come about"
        message = slot(vp)
        assert message.message_type == MessageType.X64_MSR_INTERCEPT
        payload = MSR_INTERCEPT_PAYLOAD.unpack_named(message.payload)
        assert payload["msr_number"] == 0x1B
        assert (payload["rdx"], payload["rax"]) == (0x5555, 0x1111_2222_3333_4444)
        assert (payload["access_type"], payload["instruction_length_and_cr8"]) == (1, 2)
        assert box.partition.msrs.read(vp, 0x1B) == 0xFEE00900, "reads are not intercepted"

    def test_a_read_of_an_msr(self, box: StandalonePartition) -> None:
        vp = self.install(box, 1 << 11)
        with pytest.raises(Intercepted):
            box.partition.msrs.read(vp, 0x1B)
        assert MSR_INTERCEPT_PAYLOAD.unpack_named(slot(vp).payload)["access_type"] == 0

    @pytest.mark.parametrize(
        ("bit", "index"),
        [
            *((6, 0xC0000082), (8, 0xC0000081), (10, 0xC0000083), (14, 0xC0000080)),
            *((19, 0x174), (20, 0x176), (21, 0x175), (22, 0xC0000084), (23, 0xC0000103)),
            *((24, 0x8C), (24, 0x8F)),
        ],
    )
    def test_msrs_that_the_processor_keeps(
        self, box: StandalonePartition, bit: int, index: int
    ) -> None:
        vp = self.install(box, 1 << bit)
        assert not box.partition.vsm.msr_intercept(vp, index)
        assert box.partition.vsm.msr_intercept(vp, index, 0)
        assert not box.partition.vsm.msr_intercept(vp, 0x10, 0)

    def test_the_mask_of_misc_enable(self, box: StandalonePartition) -> None:
        vp = self.install(box, 1 << 4, ia32_misc_enable_mask=1 << 34)
        box.partition.msrs.write(vp, 0x1A0, 0)
        with pytest.raises(Intercepted):
            box.partition.msrs.write(vp, 0x1A0, 1 << 34)

    def test_the_vtl_that_installs_it_is_not_bound(self, box: StandalonePartition) -> None:
        vp = self.install(box, 0x1000)
        box.partition.vsm.vtl_call(vp)
        box.partition.msrs.write(vp, 0x1B, 0xFEE00000)
        assert not vp.vtls[1].apic.enabled

    @pytest.mark.parametrize(
        ("bit", "name"),
        [
            *((0, R.CR0), (1, R.CR4), (2, R.XFEM), (15, R.GDTR)),
            *((16, R.IDTR), (17, R.LDTR), (18, R.TR)),
        ],
    )
    def test_registers(self, box: StandalonePartition, bit: int, name: R) -> None:
        vp = self.install(box, 1 << bit)
        vsm = box.partition.vsm
        assert vsm.register_intercept(vp, name, 0x1234, b"\x0f\x22\xc0" + AFTER)
        message = slot(vp)
        assert message.message_type == MessageType.REGISTER_INTERCEPT
        payload = REGISTER_INTERCEPT_PAYLOAD.unpack_named(message.payload)
        assert payload["register_name"] == name
        assert payload["source_value"] == (0x1234).to_bytes(16, "little")
        assert (payload["flags"], payload["instruction_length_and_cr8"]) == (0, 3)
        assert vp.interrupting_vtl() == 1

    def test_a_memory_operand(self, box: StandalonePartition) -> None:
        vp = self.install(box, 1 << 15)
        assert box.partition.vsm.register_intercept(vp, R.GDTR, 0x5000, memory_operand=True)
        assert REGISTER_INTERCEPT_PAYLOAD.unpack_named(slot(vp).payload)["flags"] == 1

    def test_without_an_intercept(self, box: StandalonePartition) -> None:
        vp = lower(box)
        assert not box.partition.vsm.register_intercept(vp, R.CR0, 0)
        assert not box.partition.vsm.msr_intercept(vp, 0xC0000080, 0)
        assert slot(vp).message_type == 0

    @pytest.mark.parametrize(
        ("name", "register", "control"), [("cr0_mask", R.CR0, 1), ("cr4_mask", R.CR4, 2)]
    )
    def test_masks(self, box: StandalonePartition, name: str, register: R, control: int) -> None:
        vp = self.install(box, control, **{name: 1 << 20})
        box.effects.registers[0, 0, register] = 1 << 20 | 1
        assert not box.partition.vsm.register_intercept(vp, register, 1 << 20)
        assert box.partition.vsm.register_intercept(vp, register, 1)

    def test_without_a_mask_every_write_counts(self, box: StandalonePartition) -> None:
        vp = self.install(box, 1)
        assert box.partition.vsm.register_intercept(vp, R.CR0, 0x80050033)
