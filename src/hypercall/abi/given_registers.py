"""The registers of a caller that is not a processor: they are given, and hold what comes back."""

from dataclasses import dataclass

_PAIR = 16
_XMM_SIZE = 96


@dataclass(slots=True)
class GivenRegisters:
    """Registers for a call that no guest code makes.

    Attributes:
        cpl: current privilege level, 0 to 3.
        protected_mode: whether CR0.PE is set.
        long_mode: whether the caller runs 64-bit code.
        rax: the control input of a VTL call or return.
        xmm: XMM0 to XMM5, 96 bytes; output of a fast call replaces what it occupies.
        rdx: what a fast call has written to RDX, or None.
        r8: what a fast call has written to R8, or None.
    """

    cpl: int = 0
    protected_mode: bool = True
    long_mode: bool = True
    rax: int = 0
    xmm: bytes = bytes(_XMM_SIZE)
    rdx: int | None = None
    r8: int | None = None

    def read_xmm(self) -> bytes:
        """Return XMM0 to XMM5, 96 bytes."""
        return self.xmm.ljust(_XMM_SIZE, b"\0")

    def write_register_pairs(self, first_pair: int, data: bytes) -> None:
        """Keep output registers.

        Args:
            first_pair: 0 is RDX and R8, n is XMM(n-1).
            data: a multiple of 16 bytes, low half of each pair first.
        """
        if first_pair == 0:
            self.rdx = int.from_bytes(data[:8], "little")
            self.r8 = int.from_bytes(data[8:_PAIR], "little")
            data = data[_PAIR:]
            first_pair = 1
        start = (first_pair - 1) * _PAIR
        xmm = self.read_xmm()
        self.xmm = xmm[:start] + data + xmm[start + len(data) :]
