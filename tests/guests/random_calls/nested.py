"""Second-level address spaces that the guest flushes while Python translates by them."""

import random
import struct

from tests.guests.random_calls.inputs import NESTED_ROOTS
from tests.guests.random_calls.invariants import require
from tests.guests.random_calls.places import VPS

from hypercall.errors import GuestMemoryError
from hypercall.machine.machine import Machine
from hypercall.partition.nested_formats import NestedFormat
from hypercall.tlfs.calls import Call

PAGES = 512
_LEAF, _TABLE = 6 << 3 | 7, 7
_BASE = 0x200


class NestedSpaces:
    """Address spaces whose pages move, and what a processor may still remember of them.

    Args:
        machine: the machine.
        chooser: where chance comes from.
    """

    def __init__(self, machine: Machine, chooser: random.Random) -> None:
        self._partition = machine.partition
        self._chooser = chooser
        self._shifts = dict.fromkeys(NESTED_ROOTS, 0)
        # By root and VP: the page that each nested page is remembered as.
        self._known: dict[tuple[int, int], dict[int, int]] = {}
        self.flushes = 0
        for root in NESTED_ROOTS:
            table = root & ~0xFFF
            memory = self._partition.memory
            for level in range(3):
                memory.write_u64(table + 0x1000 * level, table + 0x1000 * (level + 1) | _TABLE)
            self._move(root, 0)
            self._partition.nested.register(root, NestedFormat.EPT)

    def _move(self, root: int, shift: int) -> None:
        """Let each nested page be another page of the partition."""
        self._shifts[root] = shift
        entries = [(_BASE + (page + shift) % PAGES) << 12 | _LEAF for page in range(PAGES)]
        self._partition.memory.write((root & ~0xFFF) + 0x3000, struct.pack(f"<{PAGES}Q", *entries))

    def use(self) -> None:
        """Translate some addresses, and at times move the pages."""
        chooser = self._chooser
        root = chooser.choice(NESTED_ROOTS)
        if chooser.random() < 0.2:
            self._move(root, chooser.randrange(PAGES))
        vp = chooser.randrange(VPS)
        for _ in range(3):
            self._translate(root, vp, chooser.randrange(PAGES))

    def _translate(self, root: int, vp: int, page: int) -> None:
        found = self._partition.nested.translate(root, page << 12, vp_index=vp) >> 12
        known = self._known.setdefault((root, vp), {})
        right = known.setdefault(page, _BASE + (page + self._shifts[root]) % PAGES)
        require(
            found == right,
            f"VP {vp} translates nested page {page:#x} to {found:#x}, but it is {right:#x}",
        )

    def after(self, vtl: int, control: int, input: int, output: int, result: object) -> None:
        """Forget what a flush has dropped, and see that the translator has done so too."""
        code = control & 0xFFFF
        if code not in (
            Call.FLUSH_GUEST_PHYSICAL_ADDRESS_SPACE,
            Call.FLUSH_GUEST_PHYSICAL_ADDRESS_LIST,
        ):
            return
        if type(result) is not int:
            # It waits, or goes on later: what it has dropped is not known.
            self._learn()
            return
        fast = control >> 16 & 1
        try:
            space = input if fast else self._partition.memory.read_u64(input, vtl)
        except GuestMemoryError:
            return
        root = next((root for root in NESTED_ROOTS if root >> 12 == space >> 12), None)
        if root is None:
            return
        if code == Call.FLUSH_GUEST_PHYSICAL_ADDRESS_SPACE and not result & 0xFFFF:
            self.flushes += 1
            for vp in range(VPS):
                self._known.pop((root, vp), None)
            self._same(root)
        elif fast:
            self._learn()
        else:
            self._list(root, input + 16, result >> 32 & 0xFFF, control >> 48 & 0xFFF, vtl)

    def _list(self, root: int, elements: int, done: int, start: int, vtl: int) -> None:
        for number in range(start, done):
            self.flushes += 1
            element = self._partition.memory.read_u64(elements + 8 * number, vtl)
            first, count = element >> 12, (element & 0x7FF) + 1
            if element & 0x800:
                pages = 1 << 18 if element & 0x1000 else 1 << 9
                first, count = (element >> 21) << 9, count * pages
            for vp in range(VPS):
                known = self._known.get((root, vp), {})
                for page in [page for page in known if first <= page < first + count]:
                    del known[page]
        self._same(root)

    def _same(self, root: int) -> None:
        """The translator remembers just what it should."""
        space = self._partition.nested.find(root)
        assert space is not None
        for vp in range(VPS):
            cached = [address >> 12 for address, _ in space.cached(vp)]
            known = sorted(self._known.get((root, vp), {}))
            require(
                cached == known,
                f"VP {vp} remembers nested pages {cached} of {root:#x} where {known} are left",
            )

    def _learn(self) -> None:
        """Take over what the translator remembers."""
        for (root, vp), known in self._known.items():
            space = self._partition.nested.find(root)
            assert space is not None
            cached = {address >> 12 for address, _ in space.cached(vp)}
            require(cached <= set(known), "the translator remembers what was never translated")
            for page in set(known) - cached:
                del known[page]
