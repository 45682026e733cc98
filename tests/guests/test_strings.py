"""Repeated string instructions against a model that moves one element at a time."""

import random
import struct
from dataclasses import dataclass

import pytest
from tests.guests.assembly import catch, put, put_word, write_apic
from tests.guests.kit import run_guest
from tests.guests.layout import DATA, FAULT, RESULTS, SHARED, WINDOW
from tests.guests.paging import USER_PAGE, window

PAGE = 4096
# Virtual pages of the window in an order of their own between two that are absent, and behind
# them another name of the first.
FRAMES = (None, 3, 0, 5, 1, 4, 2, None, 3)
PRESENT = 6
ENTRIES = tuple(0 if frame is None else DATA + frame * PAGE | USER_PAGE for frame in FRAMES)
OPCODES = {"movs": 0xA4, "cmps": 0xA6, "stos": 0xAA, "lods": 0xAC, "scas": 0xAE}
SIZES = {1: b"", 2: b"\x66", 4: b"", 8: b"\x48"}
PAGE_FAULT = 14


@dataclass
class State:
    """The registers of a string instruction."""

    rcx: int
    rsi: int
    rdi: int
    rax: int


class AbsentPageError(Exception):
    pass


class Model:
    """Memory by its frames, as the window shows it."""

    def __init__(self, content: bytes) -> None:
        self.frames = bytearray(content)

    def _offsets(self, address: int, width: int) -> list[int]:
        offsets = []
        for byte in range(address, address + width):
            page, offset = divmod(byte - WINDOW, PAGE)
            frame = FRAMES[page] if 0 <= page < len(FRAMES) else None
            if frame is None:
                raise AbsentPageError
            offsets.append(frame * PAGE + offset)
        return offsets

    def load(self, address: int, width: int) -> int:
        data = bytes(self.frames[offset] for offset in self._offsets(address, width))
        return int.from_bytes(data, "little")

    def store(self, address: int, width: int, value: int) -> None:
        offsets = self._offsets(address, width)
        for offset, byte in zip(offsets, value.to_bytes(width, "little"), strict=True):
            self.frames[offset] = byte

    def run(self, name: str, width: int, backwards: bool, state: State) -> bool:
        """Execute an instruction; returns whether it faulted."""
        step = -width if backwards else width
        mask = (1 << 8 * width) - 1
        while state.rcx:
            equal = False
            try:
                if name == "movs":
                    self.store(state.rdi, width, self.load(state.rsi, width))
                elif name == "stos":
                    self.store(state.rdi, width, state.rax & mask)
                elif name == "lods":
                    low = self.load(state.rsi, width)
                    state.rax = low if width == 4 else state.rax & ~mask | low
                elif name == "scas":
                    equal = self.load(state.rdi, width) == state.rax & mask
                else:
                    equal = self.load(state.rsi, width) == self.load(state.rdi, width)
            except AbsentPageError:
                return True
            if name in ("movs", "lods", "cmps"):
                state.rsi += step
            if name != "lods":
                state.rdi += step
            state.rcx -= 1
            # REPE CMPS goes on while equal, REPNE SCAS while not.
            if (name == "cmps" and not equal) or (name == "scas" and equal):
                break
        return False


def prefixed(name: str, width: int) -> str:
    """The bytes of a repeated instruction: REPNE for SCAS, REP or REPE for the others."""
    repeat = b"\xf2" if name == "scas" else b"\xf3"
    opcode = bytes([OPCODES[name] | (width > 1)])
    # A legacy prefix comes first, REX directly before the opcode.
    code = repeat + SIZES[width] + opcode
    return f".byte {', '.join(f'{byte:#x}' for byte in code)}"


def random_case(chooser: random.Random) -> tuple[str, int, bool, State]:
    name = chooser.choice(("movs", "movs", "stos", "stos", "lods", "scas", "cmps"))
    width = chooser.choice((1, 1, 2, 4, 8))
    backwards = chooser.random() < 0.3
    count = chooser.choice((0, 1, 2, 3, chooser.randrange(64), chooser.randrange(9000 // width)))
    size = PRESENT * PAGE

    def place() -> int:
        return (
            WINDOW
            + PAGE
            + chooser.choice(
                (chooser.randrange(size), chooser.randrange(PRESENT) * PAGE, size - 40 * width)
            )
        )

    source, target = place(), place()
    if chooser.random() < 0.3:
        target = source + chooser.choice((-9, -8, -1, 0, 1, 3, 8, 100))
    return name, width, backwards, State(count, source, target, chooser.getrandbits(64))


@pytest.mark.parametrize("seed", range(8))
def test_random_instructions(seed: int) -> None:
    chooser = random.Random(seed)
    content = chooser.randbytes(6 * PAGE)
    # Long runs of one byte, so that comparisons have something to compare.
    content = content[: 2 * PAGE] + b"\x55" * (2 * PAGE) + content[4 * PAGE :]
    model = Model(content)
    text, expected = [], []
    for number in range(25):
        name, width, backwards, state = random_case(chooser)
        instruction = prefixed(name, width)
        text.append(
            f"mov rcx, {state.rcx}\nmovabs rsi, {state.rsi}\nmovabs rdi, {state.rdi}\n"
            f"movabs rax, {state.rax}\n{'std' if backwards else 'cld'}\n"
            + catch(f"case_{number}", instruction)
            + f"cld\n{put('rcx', 'rsi', 'rdi', 'rax')}\n{put_word(FAULT)}"
        )
        faulted = model.run(name, width, backwards, state)
        vector = PAGE_FAULT if faulted else 2**64 - 1
        expected.append(
            (f"{name} {width} {backwards}", state.rcx, state.rsi, state.rdi, state.rax, vector)
        )
    run = run_guest("\n".join(text), memory=window(*ENTRIES) | {DATA: content})
    words = run.words(5 * len(expected))
    found = [(case[0], *words[5 * number : 5 * number + 5]) for number, case in enumerate(expected)]
    assert found == expected
    assert run.memory(DATA, 6 * PAGE) == bytes(model.frames)


@pytest.mark.parametrize("name", ["movs", "stos"])
@pytest.mark.parametrize("width", [1, 8])
def test_an_interrupt_in_the_middle(name: str, width: int) -> None:
    size = 1 << 20
    source, target = DATA, DATA + (4 << 20)
    content = random.Random(width).randbytes(size)
    run = run_guest(
        f"""
            jmp behind_hook
        hook:
            mov rbx, [rsp + 16]
            test rbx, rbx
            jz not_inside
            cmp rbx, {size // width}
            je not_inside
            inc qword ptr [{SHARED}]
        not_inside:
            ret
        behind_hook:
            mov qword ptr [0x114000 + 8 * 0x60], hook
            {write_apic(0xF0, 0x1FF)}
            {write_apic(0x320, 0x20060)}
            {write_apic(0x3E0, 0xB)}
            {write_apic(0x380, 10_000)}
            sti
            mov ecx, {size // width}
            mov esi, {source}
            mov edi, {target}
            mov rax, 0x1122334455667788
            {prefixed(name, width)}
            cli
            {put("rcx", "rsi", "rdi")}
        """,
        memory={source: content},
    )
    moved = source + (size if name == "movs" else 0)
    assert run.words(3) == [0, moved, target + size]
    filler = struct.pack("<Q", 0x1122334455667788)[:width] * (size // width)
    assert run.memory(target, size) == (content if name == "movs" else filler)
    assert run.memory_words(SHARED, 1)[0] > 3


def test_time_passes_by_the_iterations() -> None:
    """A long repeated instruction takes as much virtual time as its iterations would."""
    text = f"mov ecx, {{}}\nmov edi, {DATA}\nxor eax, eax\nrep stosb"
    times = [run_guest(text.format(count)).result.virtual_ns for count in (1000, 101_000)]
    assert times[1] - times[0] == 200_000


def test_a_16_bit_counter_wraps_nothing_more() -> None:
    """With an address-size prefix ECX counts, and the upper halves are cleared."""
    run = run_guest(
        f"""
        movabs rcx, 0x500000003
        movabs rdi, {DATA}
        mov al, 7
        .byte 0x67
        rep stosb
        {put("rcx", "rdi")}
        """
    )
    assert run.words(2) == [0, DATA + 3]
    assert run.memory(DATA, 5) == b"\7\7\7\0\0"
    assert RESULTS < DATA
