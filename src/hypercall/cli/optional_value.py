"""Options that may stand without their value, as ``--check``, beside arguments of any kind.

The parser knows options with a value, and flags. Given an option whose value may be left out, it
takes whatever word follows for the value, even the name of an image. So before it sees the words
those that are meant without a value get it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import pairwise
from types import MappingProxyType
from typing import Any, ClassVar

import typer
import typer.core

from hypercall.cli.findings import CHECK_MODES

# The class of the click that typer uses, which may be one of its own.
_USAGE_ERROR: type[Exception] = next(
    kind
    for kind in typer.BadParameter.__mro__
    if issubclass(kind, Exception) and kind.__name__ == "UsageError"
)


class CommandWithOptionalValues(typer.core.TyperCommand):
    """A command of whose options some may stand without their value.

    Attributes:
        optional_values: the values of such an option, by its name; the first is meant where there
            is none of them.
    """

    optional_values: ClassVar[MappingProxyType[str, Sequence[str]]] = MappingProxyType(
        {"--check": CHECK_MODES}
    )

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Give the options their values, and parse the words."""
        taking = {
            name
            for option in self.params
            if option.param_type_name == "option" and not getattr(option, "is_flag", False)
            for name in option.opts
        }
        words = list(args)
        try:
            return super().parse_args(ctx, with_values(words, self.optional_values, taking))
        except _USAGE_ERROR as error:
            hint = self._hint(words, str(error))
            if hint is None:
                raise
            raise typer.BadParameter(hint, ctx) from None

    def _hint(self, words: Sequence[str], complaint: str) -> str | None:
        """Return what to say where a word too many stands in the place of an option's value."""
        for word, following in pairwise(words):
            values = self.optional_values.get(word)
            if values is not None and f"({following})" in complaint:
                choices = f"{', '.join(values[:-1])} or {values[-1]}"
                return f"{word}: {following!r} is neither a value of it ({choices}) nor needed"
        return None


def with_values(
    words: Sequence[str],
    optional_values: MappingProxyType[str, Sequence[str]],
    taking: Collection[str],
) -> list[str]:
    """Return words of a command line in which each option has its value.

    Args:
        words: those of the command line.
        optional_values: the values of the options that may stand without one, by their names; the
            first is the one that is meant then.
        taking: the names of all options that take a value.
    """
    given: list[str] = []
    at = 0
    while at < len(words):
        word = words[at]
        following = words[at + 1 : at + 2]
        at += 1
        if word == "--":
            return [*given, word, *words[at:]]
        values = optional_values.get(word)
        if values is not None:
            own = following[0] if following and following[0] in values else None
            at += own is not None
            given.append(f"{word}={own or values[0]}")
        elif word in taking:
            # The next word is its value, whatever it looks like.
            given += [word, *following]
            at += 1
        else:
            given.append(word)
    return given
