from hypercall.partition.memory import GuestMemory, Permission
from hypercall.partition.overlay_register import OverlayRegister


def memory() -> GuestMemory:
    return GuestMemory(bytearray(8 * 4096), bytearray(2 * 4096))


def test_enable_move_and_disable() -> None:
    ram = memory()
    register = OverlayRegister(ram, 0, content=b"initial")
    assert register.view is None
    register.write(0x2FFF)
    assert register.value == 0x2FFF, "reserved bits are preserved"
    assert ram.read(0x2000, 7) == b"initial"
    ram.write(0x2000, b"changed")
    register.write(0x3001)
    assert ram.read(0x2000, 7) == bytes(7)
    assert ram.read(0x3000, 7) == b"changed"
    register.write(0x3000)
    assert not register.enabled
    assert register.view is None
    assert ram.overlay_pages() == []


def test_reset_gives_the_page_back() -> None:
    ram = memory()
    register = OverlayRegister(ram, 0, content=b"initial")
    for _ in range(5):
        register.write(0x1001)
        ram.write(0x1000, b"changed")
        register.reset()
        assert register.value == 0
    register.write(0x1001)
    assert ram.read(0x1000, 7) == b"initial"


def test_a_page_beyond_the_address_space_is_enabled_and_out_of_reach() -> None:
    ram = memory()
    register = OverlayRegister(ram, 0)
    register.write(0x1001)
    register.write(1 << 60 | 1)
    assert register.enabled
    assert register.view is not None
    assert ram.overlay_pages() == []


def test_the_guests_permissions_are_those_given() -> None:
    ram = memory()
    OverlayRegister(ram, 1, Permission.READ).write(0x1001)
    resolution = ram.resolve(1, vtl=1)
    assert resolution is not None
    assert resolution.permissions is Permission.READ


def test_a_page_in_ram_is_written_each_time_it_is_enabled() -> None:
    ram = memory()
    register = OverlayRegister(ram, 0, content=b"initial", in_ram=True)
    register.write(0x2001)
    assert (register.value, ram.overlay_pages()) == (0x2001, [])
    ram.write(0x2000, b"changed")
    register.write(0x2000)
    assert ram.read(0x2000, 7) == b"changed"
    register.write(0x2001)
    assert ram.read(0x2000, 7) == b"initial"
    register.write(0x9001)
    assert register.value == 0x9001, "where there is no memory it is enabled and nowhere"
