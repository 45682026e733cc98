import struct

import pytest

from hypercall.machine.acpi import TABLES_ADDRESS, TABLES_END, AcpiTables, build_acpi_tables

PROCESSORS = [(0, 0), (1, 5), (2, 3), (3, 0x1234)]


class Parsed:
    """The tables as an operating system finds them: from the RSDP on, every checksum tested."""

    def __init__(self, tables: AcpiTables) -> None:
        self.tables = tables
        rsdp = self.read(tables.rsdp, 36)
        signature, _, _, revision, _, length, xsdt, _ = struct.unpack("<8sB6sBIIQB3x", rsdp)
        assert (signature, revision, length) == (b"RSD PTR ", 2, 36)
        assert sum(rsdp[:20]) % 256 == sum(rsdp) % 256 == 0
        entries = self.table(xsdt, b"XSDT")[36:]
        self.pointers = struct.unpack(f"<{len(entries) // 8}Q", entries)

    def read(self, address: int, length: int) -> bytes:
        start = address - self.tables.address
        assert 0 <= start <= len(self.tables.data) - length
        return self.tables.data[start : start + length]

    def table(self, address: int, signature: bytes) -> bytes:
        found, length = struct.unpack("<4sI", self.read(address, 8))
        assert found == signature
        table = self.read(address, length)
        assert sum(table) % 256 == 0
        return table


@pytest.fixture
def parsed() -> Parsed:
    return Parsed(build_acpi_tables(PROCESSORS))


def test_the_fadt_describes_the_board(parsed: Parsed) -> None:
    fadt = parsed.table(parsed.pointers[0], b"FACP")
    assert len(fadt) == 276
    facs, dsdt = struct.unpack_from("<II", fadt, 36)
    assert facs
    assert struct.unpack_from("<QQ", fadt, 132) == (0, dsdt)
    assert struct.unpack_from("<H", fadt, 46) == (9,)
    # No SMI command: ACPI mode is always on.
    assert struct.unpack_from("<I", fadt, 48) == (0,)
    for offset, extended, bits, port in (
        (56, 148, 32, 0x600),
        (64, 172, 16, 0x604),
        (76, 208, 32, 0x608),
    ):
        assert struct.unpack_from("<I", fadt, offset) == (port,)
        space, width, _, _, address = struct.unpack_from("<BBBBQ", fadt, extended)
        assert (space, width, address) == (1, bits, port)
    assert struct.unpack_from("<BB", fadt, 88) == (4, 2)
    assert fadt[91] == 4
    # No keyboard controller, no VGA; a real-time clock with a century.
    assert struct.unpack_from("<H", fadt, 109) == (0b101,)
    assert fadt[108] == 0x32
    flags = struct.unpack_from("<I", fadt, 112)[0]
    assert flags & 1 << 8
    assert flags & 1 << 10
    assert struct.unpack_from("<BBBBQB", fadt, 116) == (1, 8, 0, 1, 0xCF9, 6)


def test_the_facs_is_aligned(parsed: Parsed) -> None:
    fadt = parsed.table(parsed.pointers[0], b"FACP")
    facs = struct.unpack_from("<I", fadt, 36)[0]
    assert facs % 64 == 0
    assert parsed.read(facs, 8) == b"FACS" + struct.pack("<I", 64)


def test_the_madt_has_every_processor_and_interrupt(parsed: Parsed) -> None:
    madt = parsed.table(parsed.pointers[1], b"APIC")
    assert struct.unpack_from("<II", madt, 36) == (0xFEE0_0000, 1)
    entries: list[bytes] = []
    offset = 44
    while offset < len(madt):
        entries.append(madt[offset : offset + madt[offset + 1]])
        offset += madt[offset + 1]
    local = [struct.unpack("<BBBBI", entry)[2:] for entry in entries if entry[0] == 0]
    assert local == [(0, 0, 1), (1, 5, 1), (2, 3, 1)]
    extended = [struct.unpack("<BBHIII", entry)[3:] for entry in entries if entry[0] == 9]
    assert extended == [(0x1234, 1, 3)]
    io_apics = [struct.unpack("<BBBBII", entry)[4:] for entry in entries if entry[0] == 1]
    assert io_apics == [(0xFEC0_0000, 0)]
    overrides = [struct.unpack("<BBBBIH", entry)[2:] for entry in entries if entry[0] == 2]
    assert overrides == [(0, 0, 2, 0), (0, 9, 9, 0x0D)]
    assert [entry for entry in entries if entry[0] == 4] == [b"\x04\x06\xff\0\0\x01"]


def test_the_dsdt_has_vmbus_serial_and_s5(parsed: Parsed) -> None:
    fadt = parsed.table(parsed.pointers[0], b"FACP")
    dsdt = parsed.table(struct.unpack_from("<Q", fadt, 140)[0], b"DSDT")
    assert b"\x08\\_S5_\x12\x08\x04\x0a\x05\x0a\x05\0\0" in dsdt
    assert b"VMB0\x08_HID\x0dVMBUS\0" in dsdt
    # Linux 5.10 looks for the memory of the VMBus's devices above it.
    above = dsdt[dsdt.index(b"VMOD") : dsdt.index(b"VMB0")]
    assert struct.pack("<IIII", 0, 0xF800_0000, 0xFBFF_FFFF, 0) in above
    assert b"COM1\x08_HID\x0c\x41\xd0\x05\x01" in dsdt


def test_the_tables_of_64_processors_fit_into_their_area() -> None:
    tables = build_acpi_tables([(uid, uid) for uid in range(64)])
    assert tables.rsdp == tables.address == TABLES_ADDRESS
    assert tables.address + len(tables.data) < TABLES_END


def test_another_place_must_be_aligned() -> None:
    Parsed(build_acpi_tables(PROCESSORS, address=0xF0000))
    with pytest.raises(ValueError, match="multiple of 64"):
        build_acpi_tables(PROCESSORS, address=0xF0010)
