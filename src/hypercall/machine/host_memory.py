"""The host's memory behind the guest's RAM: giving it back to the host and getting it again."""

import contextlib
import mmap

_PAGE = 4096
_ZERO_PAGE = bytes(_PAGE)
# Linux's advice that the mmap module has no names for.
_COLD = 20
_PAGE_OUT = 21
_POPULATE_READ = 22


class HostMemory:
    """What the host keeps of a machine's RAM.

    Advice is advice: a host that does not take it keeps the memory as it is, but for `discard`.

    Args:
        ram: the private anonymous mapping that is the guest's RAM.
    """

    def __init__(self, ram: mmap.mmap) -> None:
        self._ram = ram

    def cool(self, offset: int, length: int) -> None:
        """Give pages back whose content the guest will not need soon; the content stays.

        Pages that hold nothing but zeros are given back at once, for they need no place to be
        kept; what becomes of the others is the host's affair.

        Args:
            offset: where they begin in RAM, a multiple of 4096.
            length: how many bytes, a multiple of 4096.
        """
        start = offset
        for position in range(offset, offset + length, _PAGE):
            if self._ram[position : position + _PAGE] != _ZERO_PAGE:
                if position > start:
                    self.discard(start, position - start)
                start = position + _PAGE
        if offset + length > start:
            self.discard(start, offset + length - start)
        if not self._advise(_PAGE_OUT, offset, length):
            self._advise(_COLD, offset, length)

    def discard(self, offset: int, length: int) -> None:
        """Give pages back with their content; they read as zero from now on."""
        self._ram.madvise(mmap.MADV_DONTNEED, offset, length)

    def warm(self, offset: int, length: int) -> None:
        """Bring pages in that the guest will need soon."""
        if not self._advise(_POPULATE_READ, offset, length):
            self._advise(mmap.MADV_WILLNEED, offset, length)

    def _advise(self, advice: int, offset: int, length: int) -> bool:
        with contextlib.suppress(OSError):
            self._ram.madvise(advice, offset, length)
            return True
        return False
