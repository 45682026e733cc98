"""An immutable table of declarations, looked up by code or by any of a call's names."""

import re
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType

from hypercall.errors import InputError
from hypercall.tlfs.declaration import CallDeclaration


class CallTable:
    """Declarations in order of their codes.

    Attributes:
        by_code: the declarations by call code.
    """

    __slots__ = ("_by_name", "by_code")

    def __init__(self, declarations: Iterable[CallDeclaration]) -> None:
        """Build the table.

        Raises:
            ValueError: if two declarations share a code or a name.
        """
        by_code: dict[int, CallDeclaration] = {}
        by_name: dict[str, CallDeclaration] = {}
        for declaration in sorted(declarations, key=lambda declaration: declaration.code):
            if declaration.code in by_code:
                raise ValueError(f"call code {declaration.code:#06x} is declared twice")
            by_code[declaration.code] = declaration
            for name in (declaration.name, *declaration.aliases):
                key = _key(name)
                if by_name.setdefault(key, declaration) is not declaration:
                    raise ValueError(f"call name {name} is declared twice")
        self.by_code: Mapping[int, CallDeclaration] = MappingProxyType(by_code)
        self._by_name = by_name

    def __iter__(self) -> Iterator[CallDeclaration]:
        return iter(self.by_code.values())

    def __len__(self) -> int:
        return len(self.by_code)

    def find(self, name_or_code: str | int) -> CallDeclaration:
        """Return the declaration that a person means.

        Args:
            name_or_code: ``0x13``, ``19``, or a name in any of its forms and any case:
                ``HvCallFlushVirtualAddressSpaceEx``, ``HvFlushVirtualAddressSpaceEx``,
                ``FLUSH_VIRTUAL_ADDRESS_SPACE_EX``, ``HvExtCallQueryCapabilities``,
                ``HVCALL_SEND_IPI``.

        Raises:
            InputError: if no call is meant by it.
        """
        if isinstance(name_or_code, int):
            code: int | None = name_or_code
            text = f"{name_or_code:#06x}"
        else:
            text = name_or_code.strip()
            try:
                code = int(text, 0)
            except ValueError:
                code = None
        if code is not None:
            declaration = self.by_code.get(code)
            if declaration is None:
                raise InputError(
                    f"no call has the code {text[:60]}; `hypercall calls` lists them all"
                )
            return declaration
        declaration = self._by_name.get(_key(text))
        if declaration is None:
            raise InputError(f"no call is named {text[:60]!r}; `hypercall calls` lists them all")
        return declaration


def _key(name: str) -> str:
    """Reduce a name to what all its spellings share."""
    bare = re.sub(r"[^a-z0-9]", "", name.lower())
    return re.sub(r"^hv(ext)?(call)?", "", bare)
