"""What the calling convention needs of a processor and its partition."""

from collections.abc import Mapping
from typing import Protocol

from hypercall.tlfs.layout import Buffer
from hypercall.tlfs.privileges import ExtendedCapability, Feature, NestedFeature, Recommendation
from hypercall.tlfs.readings import ReadingSet


class CallerRegisters(Protocol):
    """The caller's registers and mode; the processor's side loads them when they are asked for."""

    @property
    def cpl(self) -> int:
        """Current privilege level, 0 to 3; virtual-8086 mode counts as 3."""

    @property
    def protected_mode(self) -> bool:
        """Whether CR0.PE is set."""

    @property
    def long_mode(self) -> bool:
        """Whether the caller runs 64-bit code: EFER.LMA and CS.L."""

    @property
    def rax(self) -> int:
        """The control input of a VTL call or return: RAX, or ECX of a 32-bit caller."""

    def read_xmm(self) -> bytes:
        """Return XMM0 to XMM5, 96 bytes."""

    def write_register_pairs(self, first_pair: int, data: bytes) -> None:
        """Write output registers.

        Args:
            first_pair: 0 is RDX and R8, n is XMM(n-1).
            data: a multiple of 16 bytes, low half of each pair first.
        """


class CallingProcessor(Protocol):
    """The virtual processor that makes a call."""

    @property
    def index(self) -> int:
        """Its VP index."""

    @property
    def active_vtl(self) -> int:
        """The VTL that it runs in."""

    @property
    def vtls(self) -> Mapping[int, object]:
        """Its state by VTL, for each VTL that is enabled on it."""


class ParameterMemory(Protocol):
    """Guest-physical memory; every method raises GuestMemoryError where access is not allowed."""

    def read(self, gpa: int, length: int, vtl: int = 0) -> bytes:
        """Return bytes."""

    def write(self, gpa: int, data: Buffer, vtl: int = 0) -> None:
        """Write bytes."""

    def check(self, gpa: int, length: int, vtl: int = 0, *, write: bool = False) -> None:
        """Find out whether an access would be allowed."""


class CallConfiguration(Protocol):
    """What of a partition's configuration decides about calls."""

    @property
    def features(self) -> Feature:
        """CPUID 0x40000003.EDX."""

    @property
    def recommendations(self) -> Recommendation:
        """CPUID 0x40000004.EAX."""

    @property
    def spin_retry_count(self) -> int:
        """CPUID 0x40000004.EBX."""

    @property
    def extended_capabilities(self) -> ExtendedCapability:
        """What HvExtCallQueryCapabilities reports."""

    @property
    def nested_features(self) -> NestedFeature | None:
        """CPUID 0x4000000A.EAX, or None."""

    @property
    def address_bits(self) -> int:
        """The width of a guest-physical address."""


class CallPartition(Protocol):
    """The partition whose processors make the calls."""

    @property
    def memory(self) -> ParameterMemory:
        """Where parameters lie."""

    @property
    def configuration(self) -> CallConfiguration:
        """What it has."""

    @property
    def privileges(self) -> int:
        """The partition privilege mask."""

    @property
    def readings(self) -> ReadingSet:
        """How contradictions of the sources are decided."""

    def hypercalls_enabled(self, vtl: int) -> bool:
        """Return whether the VTL has a guest OS id and an enabled hypercall page."""

    def intercept_parameters(self, vp_index: int, gpa: int, *, write: bool) -> bool:
        """Tell a VTL that protects parameters of a call from the caller.

        Args:
            vp_index: the caller.
            gpa: the guest-physical address of what it cannot access.
            write: it is output.

        Returns:
            Whether a VTL was told: it runs next, and then the call is tried again.
        """
