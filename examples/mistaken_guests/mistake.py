"""What a guest of these is."""

from dataclasses import dataclass

HERE = "mistake:"
"""The label of the instruction that breaks the rule."""


@dataclass(frozen=True)
class Mistake:
    """A guest that breaks a rule at its label ``mistake``, and one that does the same rightly.

    Attributes:
        rule: the rule's name.
        wrong: what the guest does.
        right: what its twin does.
        cpus: the number of processors.
        shuffle: the seed by which VP indexes differ from APIC ids; None for equal ones.
        privileges: what the partition may do and has.
        stale: whether the rule needs a look at the processors' translations.
    """

    rule: str
    wrong: str
    right: str
    cpus: int = 1
    shuffle: int | None = None
    privileges: str = "default"
    stale: bool = False
