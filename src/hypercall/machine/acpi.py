r"""The ACPI tables of the board.

Source: ACPI Specification 6.4, chapter 5. Guests need them for more than devices: without a local
APIC from the MADT, Linux never looks for a hypervisor's interface, and without the VMBus device in
the DSDT its hv_vmbus driver does not start.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from hypercall.machine import aml
from hypercall.machine.devices.power_management import (
    PM1_CONTROL_BLOCK,
    PM1_EVENT_BLOCK,
    SLEEP_TYPE_OFF,
    SYSTEM_CONTROL_INTERRUPT,
    TIMER_BLOCK,
)
from hypercall.machine.devices.real_time_clock import CENTURY
from hypercall.machine.devices.reset_control import RESET_PORT, RESET_VALUE

#: Where the tables are: in the area in which guests without other knowledge search for the RSDP.
TABLES_ADDRESS = 0xE0000
#: The end of that area.
TABLES_END = 0x100000
LOCAL_APIC_ADDRESS = 0xFEE0_0000
IO_APIC_ADDRESS = 0xFEC0_0000
#: Guest-physical memory for the devices of the VMBus: address and length. There are none.
VMBUS_MEMORY = (0xF800_0000, 0x0400_0000)

_OEM_ID = b"HYPRCL"
_OEM_TABLE_ID = b"HYPERCAL"
_CREATOR_ID = b"HYPC"

_PCAT_COMPATIBLE = 1
_PROCESSOR_ENABLED = 1
_ALL_PROCESSORS = 0xFF
_LEVEL_ACTIVE_HIGH = 0x0D
_X2APIC_FIRST_ID = 0xFF

_ENTERPRISE_SERVER = 4
_LEGACY_DEVICES, _NO_VGA = 1 << 0, 1 << 2
_WBINVD, _C1_STATE, _NO_SLEEP_BUTTON, _RTC_NOT_FIXED = 1 << 0, 1 << 2, 1 << 5, 1 << 6
_TIMER_32_BIT, _RESET_REGISTER = 1 << 8, 1 << 10
_C2_C3_ABSENT = 0xFFFF


@dataclass(frozen=True, slots=True)
class AcpiTables:
    """All tables in one piece.

    Attributes:
        address: the guest-physical address that they are made for.
        data: their bytes.
        rsdp: the guest-physical address of the root pointer.
    """

    address: int
    data: bytes
    rsdp: int


def build_acpi_tables(
    processors: Sequence[tuple[int, int]],
    *,
    address: int = TABLES_ADDRESS,
    io_apic_id: int = 0,
    serial_port: int = 0x3F8,
    serial_irq: int = 4,
) -> AcpiTables:
    """Build RSDP, XSDT, FADT, FACS, MADT and DSDT.

    Args:
        processors: (processor UID, APIC id) of each, the boot processor first.
        address: where they will be, a multiple of 64.
        io_apic_id: the I/O APIC's id.
        serial_port: the first port of the serial port.
        serial_irq: its interrupt line.

    Raises:
        ValueError: the address is not aligned.
    """
    if address % 64:
        raise ValueError("the ACPI tables must start at a multiple of 64")
    # The RSDP has 36 bytes and the FACS must be aligned to 64.
    facs_address = address + 64
    dsdt_address = facs_address + 64
    dsdt = _dsdt(serial_port, serial_irq)
    fadt_address = _align(dsdt_address + len(dsdt))
    fadt = _fadt(facs_address, dsdt_address)
    madt_address = _align(fadt_address + len(fadt))
    madt = _madt(processors, io_apic_id)
    xsdt_address = _align(madt_address + len(madt))
    xsdt = _table(b"XSDT", 1, struct.pack("<QQ", fadt_address, madt_address))
    data = bytearray(xsdt_address + len(xsdt) - address)
    for start, part in (
        (address, _rsdp(xsdt_address)),
        (facs_address, _facs()),
        (dsdt_address, dsdt),
        (fadt_address, fadt),
        (madt_address, madt),
        (xsdt_address, xsdt),
    ):
        data[start - address : start - address + len(part)] = part
    return AcpiTables(address, bytes(data), address)


def _align(address: int) -> int:
    return (address + 63) & ~63


def _checksum(data: bytes | bytearray) -> int:
    return -sum(data) & 0xFF


def _table(signature: bytes, revision: int, body: bytes) -> bytes:
    """A system description table with its header and checksum."""
    header = struct.pack(
        "<4sIBB6s8sI4sI",
        signature,
        36 + len(body),
        revision,
        0,
        _OEM_ID,
        _OEM_TABLE_ID,
        1,
        _CREATOR_ID,
        1,
    )
    table = bytearray(header + body)
    table[9] = _checksum(table)
    return bytes(table)


def _rsdp(xsdt_address: int) -> bytes:
    rsdp = bytearray(
        struct.pack("<8sB6sBIIQB3x", b"RSD PTR ", 0, _OEM_ID, 2, 0, 36, xsdt_address, 0)
    )
    rsdp[8] = _checksum(rsdp[:20])
    rsdp[32] = _checksum(rsdp)
    return bytes(rsdp)


def _facs() -> bytes:
    return struct.pack("<4sIIIIIQB31x", b"FACS", 64, 0, 0, 0, 0, 0, 2)


def _io_register(port: int, size: int) -> bytes:
    """A generic address structure for an I/O register of ``size`` bytes; all zero without one."""
    if not port:
        return bytes(12)
    return struct.pack("<BBBBQ", 1, size * 8, 0, size.bit_length(), port)


def _fadt(facs_address: int, dsdt_address: int) -> bytes:
    body = struct.pack(
        "<IIBBH", facs_address, dsdt_address, 0, _ENTERPRISE_SERVER, SYSTEM_CONTROL_INTERRUPT
    )
    # No SMI command port: the machine is in ACPI mode from the start.
    body += struct.pack("<IBBBB", 0, 0, 0, 0, 0)
    body += struct.pack("<8I", PM1_EVENT_BLOCK, 0, PM1_CONTROL_BLOCK, 0, 0, TIMER_BLOCK, 0, 0)
    body += struct.pack("<8B", 4, 2, 0, 4, 0, 0, 0, 0)
    body += struct.pack("<HHHHBBBBB", _C2_C3_ABSENT, _C2_C3_ABSENT, 0, 0, 0, 0, 0, 0, CENTURY)
    body += struct.pack("<HB", _LEGACY_DEVICES | _NO_VGA, 0)
    flags = _WBINVD | _C1_STATE | _NO_SLEEP_BUTTON | _RTC_NOT_FIXED
    body += struct.pack("<I", flags | _TIMER_32_BIT | _RESET_REGISTER)
    body += _io_register(RESET_PORT, 1) + struct.pack("<BHB", RESET_VALUE, 0, 1)
    # The FACS has one address only, or it would count as two.
    body += struct.pack("<QQ", 0, dsdt_address)
    body += _io_register(PM1_EVENT_BLOCK, 4) + _io_register(0, 0)
    body += _io_register(PM1_CONTROL_BLOCK, 2) + _io_register(0, 0)
    body += _io_register(0, 0) + _io_register(TIMER_BLOCK, 4)
    # No general-purpose events, no sleep registers of the hardware-reduced kind.
    body += bytes(4 * 12) + bytes(8)
    return _table(b"FACP", 6, body)


def _madt(processors: Sequence[tuple[int, int]], io_apic_id: int) -> bytes:
    body = struct.pack("<II", LOCAL_APIC_ADDRESS, _PCAT_COMPATIBLE)
    for uid, apic_id in processors:
        if apic_id < _X2APIC_FIRST_ID:
            body += struct.pack("<BBBBI", 0, 8, uid, apic_id, _PROCESSOR_ENABLED)
        else:
            body += struct.pack("<BBHIII", 9, 16, 0, apic_id, _PROCESSOR_ENABLED, uid)
    body += struct.pack("<BBBBII", 1, 12, io_apic_id, 0, IO_APIC_ADDRESS, 0)
    # The timer's line is on pin 2; the system control interrupt is level triggered.
    body += struct.pack("<BBBBIH", 2, 10, 0, 0, 2, 0)
    line = SYSTEM_CONTROL_INTERRUPT
    body += struct.pack("<BBBBIH", 2, 10, 0, line, line, _LEVEL_ACTIVE_HIGH)
    body += struct.pack("<BBBHB", 4, 6, _ALL_PROCESSORS, 0, 1)
    return _table(b"APIC", 4, body)


def _dsdt(serial_port: int, serial_irq: int) -> bytes:
    off = aml.integer(SLEEP_TYPE_OFF)
    zero = aml.integer(0)
    serial = aml.device(
        "COM1",
        aml.name("_HID", aml.eisa_id("PNP0501"))
        + aml.name("_UID", aml.integer(1))
        + aml.name(
            "_CRS",
            aml.resource_template(aml.io_resource(serial_port, 8), aml.irq_resource(serial_irq)),
        ),
    )
    vmbus = aml.device(
        "VMB0",
        aml.name("_HID", aml.string("VMBUS"))
        + aml.name("_UID", aml.integer(0))
        + aml.name("_CRS", aml.resource_template()),
    )
    # A Hyper-V host has it below a module that gives it memory for its devices. Linux 5.10
    # looks for that memory upwards, and crashes at the root where nothing has any.
    module = aml.device(
        "VMOD",
        aml.name("_HID", aml.string("ACPI0004"))
        + aml.name("_UID", aml.integer(0))
        + aml.name("_CRS", aml.resource_template(aml.memory_resource(*VMBUS_MEMORY)))
        + vmbus,
    )
    body = aml.name("\\_S5", aml.package(off, off, zero, zero))
    return _table(b"DSDT", 2, body + aml.scope("\\_SB", serial + module))
