"""What lies where a call looks for its parameters, and in which form they come."""

from mistaken_guests.instructions import INDEX_OF, INPUT, IPI, OUTPUT, SELF, call, store
from mistaken_guests.mistake import HERE, Mistake

PARAMETER_MISTAKES = (
    Mistake(
        "parameter-overlap",
        store(INPUT, SELF, 0, 0) + call(INDEX_OF, INPUT, INPUT + 16, HERE),
        store(INPUT, SELF, 0, 0) + call(INDEX_OF, INPUT, INPUT + 24),
    ),
    Mistake(
        "parameter-alignment",
        store(INPUT + 4, SELF, 0, 0) + call(INDEX_OF, INPUT + 4, OUTPUT, HERE),
        store(INPUT + 8, SELF, 0, 0) + call(INDEX_OF, INPUT + 8, OUTPUT),
    ),
    Mistake(
        "parameter-page-crossing",
        store(INPUT + 0xFF0, SELF, 0, 0) + call(INDEX_OF, INPUT + 0xFF0, OUTPUT, HERE),
        store(INPUT + 0xFE8, SELF, 0, 0) + call(INDEX_OF, INPUT + 0xFE8, OUTPUT),
    ),
    Mistake(
        "reserved-bits",
        store(INPUT, SELF, 0, 0) + call(INDEX_OF | 1 << 27, INPUT, OUTPUT, HERE),
        store(INPUT, SELF, 0, 0) + call(INDEX_OF, INPUT, OUTPUT),
    ),
    Mistake(
        "layout-of-other-form",
        store(INPUT, "cr3", 0, 2) + call(0x13, INPUT, 0, HERE),
        store(INPUT, "cr3", 0, 2) + call(0x02, INPUT),
        cpus=2,
    ),
    Mistake(
        "empty-processor-set",
        store(INPUT, "cr3", 0, 0) + call(0x02, INPUT, 0, HERE),
        store(INPUT, "cr3", 0, 1) + call(0x02, INPUT),
    ),
    Mistake(
        "slow-form",
        store(INPUT, 0x40, 1) + call(0x0B, INPUT, 0, HERE),
        call(IPI, 0x40, 1),
    ),
    Mistake(
        "oversized-flush",
        store(INPUT, "cr3", 2, 1) + call(0x02, INPUT, 0, HERE),
        store(INPUT, 0, 2, 1) + call(0x02, INPUT),
    ),
)
