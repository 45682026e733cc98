"""Names of places in modules, of a guest that has a list of modules as Linux has."""

import struct
from collections.abc import Iterable
from pathlib import Path

import pytest
from tests.guests.assembly import leave
from tests.guests.kit import Guest, assemble, run_machine
from tests.guests.layout import DATA, HYPERCALL_PAGE, IDENTITY_TABLES, TABLES
from tests.trace.kernel_image import AREA, HEAD, KernelImage
from tests.trace.test_kallsyms import BASE, build
from tests.trace.test_symbols import build_elf

from hypercall.machine.guest_names import GuestNames
from hypercall.machine.guest_view import GuestView
from hypercall.machine.loaders.entry import EntryKind, EntryState, Segment
from hypercall.machine.machine import Machine
from hypercall.machine.result import StopReason
from hypercall.testing.recorder import recording
from hypercall.tlfs.registers import RegisterName
from hypercall.trace.events import HypercallEvent
from hypercall.trace.jsonl import JsonLinesWriter
from hypercall.trace.symbols import SymbolTable

KERNEL_PAGES, MODULE_PAGES = DATA, DATA + 0x20_0000
CODE = AREA + 0x4000
INIT_CODE = AREA + 0xA000
POST = ("hv_post", CODE, 0x100)
INIT = ("hv_init", INIT_CODE, 0x100)
# HvCallNotifyLongSpinWait in registers, from wherever this lies.
FUNCTION = assemble(
    f"mov rcx, 0x10008\nmov rdx, 1\nxor r8, r8\nmov rax, {HYPERCALL_PAGE}\ncall rax\nret"
)
SITE = CODE + len(FUNCTION) - 1
SYMBOLS = [(0x10, "Thv_start"), (0x1000, "Tkernel_end"), (HEAD - BASE, "dmodules")]
SYMBOLS.append((0x5000, "Dend"))
LARGE = 0x83


def call(address: int) -> str:
    return f"mov rax, {address}\ncall rax\n"


def spoil(address: int, value: int) -> str:
    """Let the guest change a word of memory."""
    return f"mov rax, {address}\nmov rbx, {value}\nmov [rax], rbx\n"


def content(image: KernelImage) -> Iterable[tuple[int, bytes]]:
    for address, page in image.pages.items():
        base, pages = (AREA, MODULE_PAGES) if address >= AREA else (BASE, KERNEL_PAGES)
        yield pages + address - base, bytes(page)


def guest(source: str, image: KernelImage) -> Machine:
    """A guest that has the pages of an image where Linux has them, and code in a module."""
    upper, kernel, modules = TABLES, TABLES + 0x1000, TABLES + 0x2000
    memory = {
        KERNEL_PAGES + 0x8000: build(SYMBOLS),
        IDENTITY_TABLES + 511 * 8: struct.pack("<Q", upper | 3),
        upper: struct.pack("<2Q", kernel | 3, modules | 3).rjust(4096, b"\0"),
        kernel: struct.pack("<9Q", *[0] * 8, KERNEL_PAGES | LARGE),
        modules: struct.pack("<Q", MODULE_PAGES | LARGE),
        MODULE_PAGES + 0x4000: FUNCTION,
        MODULE_PAGES + 0xA000: FUNCTION,
    }
    machine = Guest(source + leave(0), memory=memory | dict(content(image))).machine()
    machine.write_register(0, RegisterName.LSTAR, BASE + 0x20)
    return machine


def linux(initial: bool = False) -> KernelImage:
    image = KernelImage()
    image.add("hv_vmbus", [POST], initial=[POST, INIT] if initial else None)
    # Code lies in pages of its own, which the machine's memory has.
    assert CODE not in image.pages
    return image


def sites(machine: Machine) -> list[str]:
    """Run; return the places of the calls as they were named when the calls were made."""
    lines: list[str] = []
    JsonLinesWriter(lines.append, machine.symbol).attach(machine.trace)
    run_machine(machine)
    calls = [line for line in lines if '"symbol":' in line]
    return [line.split('"symbol":')[1].split(",")[0].strip('"') for line in calls]


def test_a_call_from_a_module_has_the_function_and_the_module() -> None:
    machine = guest(call(CODE), linux())
    assert sites(machine) == [f"hv_post+{SITE - CODE:#x} [hv_vmbus]"]
    assert machine.symbol(CODE) == "hv_post [hv_vmbus]"
    assert machine.symbol(CODE + 0x200) is None
    assert machine.symbol(BASE + 0x12) == "hv_start+0x2"
    assert machine.symbol(0x10_0000) is None
    ((module, functions),) = machine.modules()
    assert (module, list(functions)) == ("hv_vmbus", [(CODE, "hv_post")])


@pytest.mark.parametrize("symbols", [[], [("modules", HEAD, 8, 1), ("start", 0x1000, 8, 2)]])
def test_an_elf_file_that_names_nothing_leaves_it_to_the_kernel(
    symbols: list[tuple[str, int, int, int]],
) -> None:
    machine = guest(call(CODE), linux())
    run_machine(machine)
    view = GuestView(machine.engine, machine.processors, machine.partition)
    segment = Segment(0, 0, 0, 0)
    registers = (0x10_0000, 0, 0, 0, 0, 0, segment, segment, 0, 0)
    view.entry = EntryState(EntryKind.FLAT, *registers, symbols=build_elf(symbols))
    view.names.note(SITE)
    assert view.names.lookup(SITE) == f"hv_post+{SITE - CODE:#x} [hv_vmbus]"
    assert view.names.lookup(0x1004) == ("start+0x4" if symbols else None)
    assert (view.names.lookup(BASE + 0x12) == "hv_start+0x2") is not bool(symbols)


def test_a_place_keeps_its_name_when_its_code_is_gone() -> None:
    image = linux(initial=True)
    pointer = AREA + 0x170
    machine = guest(call(INIT_CODE) + spoil(pointer, pointer + 8), image)
    with recording(machine) as calls:
        run_machine(machine)
    name = f"hv_init+{SITE - CODE:#x} [hv_vmbus]"
    assert calls.count == 1
    assert calls.first.site == name
    assert machine.symbol(INIT_CODE + SITE - CODE) == name
    assert machine.symbol(INIT_CODE + 1) is None
    for place, number in (
        ("hv_init", 1),
        ("hv_init [hv_vmbus]", 1),
        (name, 1),
        ("hv_init [hv_utils]", 0),
        ("hv_init+0x1 [hv_vmbus]", 0),
    ):
        assert calls.where(site=place).count == number, place


def test_each_call_is_named_by_what_is_loaded_then() -> None:
    other = int.from_bytes(b"hv_utils", "little")
    rename = spoil(AREA + 24, other)
    unload = spoil(HEAD, HEAD)
    load = spoil(HEAD, AREA + 8)
    place = f"+{SITE - CODE:#x}"
    at_module = call(CODE)
    source = at_module + rename + at_module + unload + at_module
    machine = guest(source, linux())
    # A module that only left the list is still what is there.
    assert sites(machine) == [f"hv_post{place} [hv_vmbus]", *[f"hv_post{place} [hv_utils]"] * 2]
    machine = guest(unload + at_module + at_module + load + at_module, linux())
    assert sites(machine) == [*["null"] * 2, f"hv_post{place} [hv_vmbus]"]


def test_a_fault_meets_a_function_of_a_module() -> None:
    for site, struck in (
        ("hv_post", True),
        (f"hv_post+{SITE - CODE:#x}", True),
        ("hv_post [hv_vmbus]", True),
        ("hv_post+0x1", False),
        ("hv_post [hv_utils]", False),
        ("hv_start", False),
    ):
        machine = guest(call(CODE), linux())
        armed = machine.inject(f"call,site={site},status=INVALID_PARAMETER")
        assert f"site={site}" in str(armed.fault)
        with recording(machine) as calls:
            run_machine(machine)
        assert (calls.first.status != 0) is struck, site


def test_a_restored_run_has_the_same_trace(tmp_path: Path) -> None:
    source = call(CODE) + spoil(HEAD, HEAD) + call(CODE) + call(INIT_CODE) + spoil(HEAD, AREA + 8)
    source += call(INIT_CODE) + call(CODE)
    machine = guest(source, linux(initial=True))
    lines: list[str] = []
    JsonLinesWriter(lines.append, machine.symbol).attach(machine.trace)

    end_of_pauses = machine.trace.subscribe(lambda event: machine.pause(), HypercallEvent)
    snapshots = []
    for number in range(5):
        assert machine.run().reason is StopReason.PAUSED
        snapshots.append((len(lines), machine.snapshot(), tmp_path / f"{number}"))
    end_of_pauses()
    run_machine(machine)
    unbroken = list(lines)
    assert [line.count("[hv_vmbus]") for line in unbroken[1:6]] == [1, 1, 0, 1, 1]
    for made, snapshot, path in snapshots:
        snapshot.save(path)
        machine.restore(snapshot)
        del lines[made:]
        run_machine(machine)
        assert lines == unbroken
        other = Machine.from_snapshot(path)
        told: list[str] = []
        JsonLinesWriter(told.append, other.symbol).attach(other.trace)
        run_machine(other)
        assert told[1:] == unbroken[made:]
        # What is shown when a run is over is the same too.
        for place in (SITE, INIT_CODE + SITE - CODE):
            assert other.symbol(place) == machine.symbol(place)


# --- by itself -----------------------------------------------------------------------------------


def names(image: KernelImage, time: list[int] | None = None) -> GuestNames:
    table = SymbolTable.from_pairs([(BASE, "start"), (HEAD, "modules"), (HEAD + 0x100, "end")])
    clock = time or [0]
    return GuestNames(lambda place: table, image.read, lambda: clock[0])


def test_places_outside_of_the_modules_cost_nothing() -> None:
    image = linux()
    found = names(image)
    image.reads = 0
    for place in (0, 0x10_0000, 0xFFFF_8880_0000_0000, BASE, HEAD, (1 << 64) - 1):
        found.note(place)
        found.lookup(place)
    assert image.reads == 0


def test_a_place_that_is_known_is_looked_at_but_not_looked_for() -> None:
    image = linux()
    found = names(image)
    found.note(SITE)
    image.reads = 0
    for _ in range(10):
        found.note(SITE)
    assert image.reads <= 30
    assert found.lookup(SITE) == f"hv_post+{SITE - CODE:#x} [hv_vmbus]"
    assert image.reads <= 30
    # So is one that nothing covers, as long as no module comes.
    found.note(CODE + 0x1000)
    image.reads = 0
    for _ in range(10):
        found.note(CODE + 0x1000)
    assert image.reads <= 30
    assert found.lookup(CODE + 0x1000) is None


def test_a_guest_cannot_have_names_looked_for_all_the_time() -> None:
    image = linux()
    time = [0]
    found = names(image, time)
    image.reads = 0
    for number in range(60_000):
        found.note(AREA + 0x10_0000 + number)
    spent = image.reads
    assert 0 < spent < 600_000
    found.note(SITE)
    assert found.lookup(SITE) is not None, "what users ask for has its own measure"
    assert found.lookup(SITE + 1) is not None
    for number in range(1000):
        found.note(AREA + 0x20_0000 + number)
    assert image.reads < spent + 50
    time[0] = 10_000_000_000
    found.note(SITE + 2)
    found.note(SITE)
    assert image.reads > spent + 5


@pytest.mark.parametrize("head", [None, 0, HEAD - 0x1000])
def test_kernels_without_the_list(head: int | None) -> None:
    pairs = [(BASE, "start"), (HEAD + 0x100, "end")]
    table = SymbolTable.from_pairs(pairs + ([(head, "modules")] if head is not None else []))
    found = GuestNames(lambda place: table, linux().read, lambda: 0)
    found.note(SITE)
    assert found.lookup(SITE) is None
    assert found.modules() == []


def test_the_table_is_looked_for_by_the_first_place() -> None:
    asked: list[int | None] = []
    found = GuestNames(asked.append, linux().read, lambda: 0)
    found.lookup(5)
    found.note(SITE)
    found.note(SITE + 1)
    assert asked == [None]
    assert found.table() is None
    assert asked == [None, SITE]
    assert found.modules() == []
    assert found.lookup(SITE) is None
