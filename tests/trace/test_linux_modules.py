import random
import struct
from typing import Any

import pytest
from tests.trace.kernel_image import (
    ABSOLUTE_SECTION,
    AREA,
    CODE,
    COMING,
    DATA_SECTION,
    FUNCTION,
    GOING,
    HEAD,
    LABEL,
    LIVE,
    OBJECT,
    UNDEFINED_SECTION,
    UNFORMED,
    KernelImage,
    Symbol,
)

from hypercall.trace.linux_modules import (
    MOST_WORK,
    ModulePlace,
    find_in_modules,
    functions_of,
    holds,
    list_modules,
)

POST = AREA + 0x4000
INIT = AREA + 0x7000
SYMBOLS = (
    ("hv_ringbuffer", AREA + 0x3F00, 0x80, OBJECT, DATA_SECTION),
    ("hv_post_message", POST, 0x120),
    ("hv_signal", POST + 0x130, 0x40),
    ("_printk", POST + 0x10, 0x200, FUNCTION, UNDEFINED_SECTION),
    ("a_number", POST + 0x20, 0x200, LABEL, ABSOLUTE_SECTION),
)


def image(**options: Any) -> KernelImage:
    memory = KernelImage()
    memory.add("hv_vmbus", SYMBOLS, **options)
    return memory


def search(memory: KernelImage, address: int) -> ModulePlace:
    return find_in_modules(memory.read, [HEAD], address)


def name(memory: KernelImage, address: int) -> str | None:
    place = search(memory, address).place
    return None if place is None else str(place)


@pytest.mark.parametrize("pointer", [0x58, 0x100, 0x170, 0x338, 0x7C0])
def test_a_function_is_named_wherever_the_version_has_the_pointer(pointer: int) -> None:
    memory = image(pointer=pointer)
    assert name(memory, POST + 0x90) == "hv_post_message+0x90 [hv_vmbus]"
    assert name(memory, POST) == "hv_post_message [hv_vmbus]"
    assert name(memory, POST + 0x131) == "hv_signal+0x1 [hv_vmbus]"


def test_only_what_a_function_covers_has_its_name() -> None:
    memory = image()
    # The address behind a call that does not return is the end of its function.
    assert name(memory, POST + 0x120) == "hv_post_message+0x120 [hv_vmbus]"
    assert name(memory, POST + 0x121) is None
    assert name(memory, POST - 1) is None
    assert name(memory, AREA + 0x3F10) is None
    assert name(memory, 0xFFFF_FFFF_FFFF_FFFF) is None
    # Where another begins, it is the other's.
    memory = KernelImage()
    memory.add("m", [("first", POST, 0x10), ("second", POST + 0x10, 0x10)])
    assert name(memory, POST + 0x10) == "second [m]"


def test_of_several_names_the_nearest_and_of_equals_the_first_is_taken() -> None:
    memory = KernelImage()
    symbols = [("outer", POST, 0x100), ("setup", POST + 8, 0x40), ("init_module", POST + 8, 0x40)]
    memory.add("m", symbols)
    assert name(memory, POST + 9) == "setup+0x1 [m]"


def test_a_label_of_assembly_reaches_to_the_end_of_its_page() -> None:
    memory = KernelImage()
    symbols: list[Symbol] = [
        ("entry", POST + 0x100, 0, LABEL, CODE),
        ("function", POST + 0x200, 0x10),
    ]
    memory.add("m", symbols)
    assert name(memory, POST + 0x180) == "entry+0x80 [m]"
    assert name(memory, POST + 0x208) == "function+0x8 [m]"
    assert name(memory, POST + 0xFFF) == "entry+0xeff [m]"
    assert name(memory, POST + 0x1000) is None


@pytest.mark.parametrize("letter", ["t", "T"])
def test_old_kernels_have_a_letter_for_the_type(letter: str) -> None:
    memory = KernelImage()
    symbols = [("old", POST, 0x10, ord(letter), CODE), ("data", POST, 0x10, ord("d"), CODE)]
    memory.add("m", symbols)
    assert name(memory, POST + 1) == "old+0x1 [m]"


def test_every_module_of_the_list_is_looked_at() -> None:
    memory = KernelImage()
    for number in range(60):
        start = AREA + 0x10_0000 * number
        memory.add(f"m{number}", [(f"f{number}", start + 0x4000, 0x10)], start=start)
    assert name(memory, AREA + 0x10_0000 * 17 + 0x4004) == "f17+0x4 [m17]"
    # Code may be far from the structure, as it is from 6.4 on.
    memory.add("far", [("away", AREA + 0x3000_0000, 0x10)], start=AREA + 0x2000_0000)
    assert name(memory, AREA + 0x3000_0000) == "away [far]"
    assert [module.name for module in list_modules(memory.read, HEAD)][:2] == ["far", "m59"]


def test_code_that_initializes_has_names_while_it_is_there() -> None:
    memory = image(initial=[*SYMBOLS, ("hv_acpi_init", INIT, 0x100)], state=COMING)
    found = search(memory, INIT + 0x4A)
    assert str(found.place) == "hv_acpi_init+0x4a [hv_vmbus]"
    assert holds(memory.read, found.evidence)
    assert name(memory, POST + 1) == "hv_post_message+0x1 [hv_vmbus]"
    memory.end_of_initialization(AREA)
    assert not holds(memory.read, found.evidence)
    assert name(memory, INIT + 0x4A) is None
    assert name(memory, POST + 1) == "hv_post_message+0x1 [hv_vmbus]"


def test_a_module_that_leaves_has_names_and_one_that_is_not_complete_has_none() -> None:
    assert name(image(state=GOING), POST + 1) == "hv_post_message+0x1 [hv_vmbus]"
    assert name(image(state=UNFORMED), POST + 1) is None


def test_evidence_holds_as_long_as_an_answer_does() -> None:
    memory = image()
    found, missed = search(memory, POST + 1), search(memory, AREA + 0x20_4001)
    assert holds(memory.read, found.evidence)
    assert holds(memory.read, missed.evidence)
    other = memory.add("other", [("f", AREA + 0x20_4000, 8)], start=AREA + 0x20_0000)
    assert holds(memory.read, found.evidence)
    assert not holds(memory.read, missed.evidence)
    found = search(memory, AREA + 0x20_4001)
    assert str(found.place) == "f+0x1 [other]"
    memory.write(other, struct.pack("<I", UNFORMED))
    assert not holds(memory.read, found.evidence)
    memory.write(other, struct.pack("<I", LIVE))
    assert holds(memory.read, found.evidence)
    memory.write(other + 24, b"renamed\0")
    assert not holds(memory.read, found.evidence)


def test_the_absence_of_memory_is_evidence_too() -> None:
    memory = image()
    head = 0xFFFF_FFFF_8200_0000
    found = find_in_modules(memory.read, [head], POST)
    assert found.place is None
    assert holds(memory.read, found.evidence)
    memory.write(head, struct.pack("<QQ", AREA + 8, AREA + 8))
    assert not holds(memory.read, found.evidence)
    # Several symbols may have the name; one of them is the head.
    memory.word(head, 0)
    found = find_in_modules(memory.read, [head, HEAD], POST)
    assert str(found.place) == "hv_post_message [hv_vmbus]"


@pytest.mark.parametrize("size", [0x800, 0x400, 0x380])
def test_a_structure_at_the_end_of_what_is_mapped_is_read(size: int) -> None:
    memory = KernelImage()
    start = AREA + 0x20_0000 - size
    memory.add("m", [("f", POST, 0x10)], start=start, tables=AREA + 0x1000, pointer=0x300)
    assert AREA + 0x20_0000 not in memory.pages
    assert name(memory, POST + 1) == "f+0x1 [m]"


# --- guests that make it up ----------------------------------------------------------------------


def bounded(memory: KernelImage, address: int = POST + 1) -> str | None:
    memory.reads = 0
    found = search(memory, address)
    assert memory.reads <= MOST_WORK + 100
    assert found.work <= MOST_WORK + 100_000
    return None if found.place is None else str(found.place)


@pytest.mark.parametrize(
    "links",
    [
        [AREA + 8, AREA + 8],
        [AREA + 0x9008, HEAD],
        [0x1000, 0x1000],
        [AREA + 9, HEAD],
        [0xFFFF_FFFF_FFFF_FFF8, HEAD],
        [0xFFFF_FFFF_FFFF_FFFF, HEAD],
        [0, 0],
    ],
)
def test_links_that_lead_nowhere_or_round_in_circles(links: list[int]) -> None:
    memory = image()
    memory.write(AREA + 8, struct.pack("<QQ", *links))
    assert bounded(memory) == "hv_post_message+0x1 [hv_vmbus]"
    assert bounded(memory, AREA + 0x20_0000) is None
    memory.write(HEAD, struct.pack("<QQ", *links))
    bounded(memory)


def test_a_list_without_end() -> None:
    memory = KernelImage()
    for number in range(3000):
        links = AREA + 0x80 * number + 8
        memory.write(links - 8, struct.pack("<QQQ", 0, links + 0x80, links) + b"x\0")
    memory.word(HEAD, AREA + 8)
    assert bounded(memory) is None
    assert len(list(list_modules(memory.read, HEAD))) == 1024


@pytest.mark.parametrize("text", [b"", b"\xff\xfe\0", b"x" * 56, b"a b\0", b"\x1b[2J\0", b"a]b\0"])
def test_names_that_could_not_be_a_module(text: bytes) -> None:
    memory = image()
    memory.write(AREA + 24, text.ljust(56, b"\0"))
    assert bounded(memory) is None


@pytest.mark.parametrize(
    ("offset", "value"),
    [
        (0, 0),
        (0, AREA + 0x179),
        (0, AREA + 0x50_0000),
        (8, 0x1000),
        (8, AREA + 0x50_0000),
        (8, 0xFFFF_FFFF_FFFF_FFF0),
        (16, 0),
        (16, 1),
        (16, 0xFFFF_FFFF),
        (16, 0x10_0000),
        (24, 0x1000),
        (24, AREA + 0x50_0000),
        (24, 0xFFFF_FFFF_FFFF_FFFF),
    ],
)
def test_a_table_that_is_none(offset: int, value: int) -> None:
    memory = image()
    memory.word(AREA + 0x170 + offset, value)
    assert bounded(memory) is None


@pytest.mark.parametrize("text", [b"", b"\0", b"\x80\x81\0", b"y" * 600, b"a\nb\0", b".L12\0"])
def test_names_that_could_not_be_a_symbol(text: bytes) -> None:
    memory = image()
    table = AREA + 0x1000
    memory.write(table + 48, struct.pack("<I", 0x2000))
    names = table + 24 * 6
    memory.write(names + 0x2000, text)
    assert bounded(memory) is None
    memory.write(table + 48, struct.pack("<I", 0xFFFF_FFFF))
    assert bounded(memory) is None


def test_a_name_may_go_on_in_the_next_page() -> None:
    memory = image()
    names = AREA + 0x1000 + 24 * 6
    memory.write(AREA + 0x1000 + 48, struct.pack("<I", AREA + 0x2FFD - names))
    memory.write(AREA + 0x2FFD, b"across_pages\0")
    assert bounded(memory) == "across_pages+0x1 [hv_vmbus]"


def test_symbols_that_all_cover_everything_cost_no_more() -> None:
    memory = KernelImage()
    symbols = [("", POST + 1 - number % 0x100, 0x10_0000) for number in range(20_000)]
    memory.add("m", symbols)
    assert bounded(memory) is None
    assert memory.reads < 100


def test_a_structure_full_of_pointers_costs_no_more() -> None:
    memory = KernelImage()
    links = []
    for number in range(1000):
        start = AREA + 0x1000 * number
        memory.write(start, struct.pack("<512Q", *([start & ~0xFFF] * 512)))
        memory.write(start + 24, b"m\0")
        links.append(start + 8)
    for before, after in zip([HEAD, *links], [*links, HEAD], strict=True):
        memory.word(before, after)
    assert bounded(memory) is None


def test_whatever_is_in_memory_gives_an_answer() -> None:
    chance = random.Random(1)
    for _ in range(300):
        memory = image(initial=SYMBOLS)
        pages = list(memory.pages)
        for _ in range(chance.randrange(1, 40)):
            page = chance.choice(pages)
            place = page + 8 * chance.randrange(512 if chance.random() < 0.5 else 64)
            values = (0, 1, HEAD, AREA + 8, AREA + 0x170, place, chance.getrandbits(64), 1 << 63)
            memory.word(place, chance.choice(values))
        if chance.random() < 0.3:
            del memory.pages[chance.choice(pages)]
        bounded(memory)
        for module in list_modules(memory.read, HEAD):
            functions_of(memory.read, module)


def test_the_functions_of_a_module_are_told() -> None:
    memory = image()
    (module,) = list_modules(memory.read, HEAD)
    assert functions_of(memory.read, module) == [
        (POST, "hv_post_message"),
        (POST + 0x130, "hv_signal"),
    ]
    memory.word(AREA + 0x170, 0)
    assert functions_of(memory.read, module) == []
