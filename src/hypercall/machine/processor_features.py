"""The CPUID leaves below the hypervisor's: what processor the guest finds.

The leaves show what the engine executes and this machine emulates, no more: no XSAVE, no PCID, no
MTRRs, no machine checks. Source of the numbers: Intel SDM, volume 2, CPUID.
"""

import struct

from hypercall.partition.clock import TSC_FREQUENCY
from hypercall.partition.configuration import PartitionConfiguration
from hypercall.tlfs.cpuid import hypervisor_leaves

Leaf = tuple[int, int, int, int]

_MAXIMUM = 0x16
_MAXIMUM_EXTENDED = 0x80000008
_SIGNATURE = 0x306F2
_VENDOR = b"GenuineIntel"
_BRAND = b"Hypercall Virtual Processor"
_LEAF1_ECX = (0, 9, 13, 19, 20, 23, 31)
_LEAF1_EDX = (0, 2, 3, 4, 5, 6, 8, 9, 11, 13, 15, 16, 17, 19, 23, 24, 25, 26)
_ALWAYS_RUNNING_APIC_TIMER = 4
_APIC = 1 << 9
_X2APIC = 1 << 21
_LEAF7_EBX = (7, 9, 20)  # SMEP, fast REP MOVSB, SMAP
_LEAF7_EDX = (26, 27, 29)  # IA32_SPEC_CTRL, its STIBP bit, IA32_ARCH_CAPABILITIES
_EXTENDED_EDX = (11, 20, 26, 27, 29)
_NOTHING: Leaf = (0, 0, 0, 0)


def _bits(*numbers: int) -> int:
    return sum(1 << number for number in numbers)


class ProcessorFeatures:
    """The answers of CPUID on every virtual processor of a partition.

    Args:
        configuration: the partition's configuration, from which the hypervisor's leaves come.
    """

    def __init__(self, configuration: PartitionConfiguration) -> None:
        brand = _BRAND.ljust(48, b"\0")
        ebx, edx, ecx = struct.unpack("<III", _VENDOR)
        megahertz = TSC_FREQUENCY // 1_000_000
        self._leaves: dict[int, Leaf] = {
            0: (_MAXIMUM, ebx, ecx, edx),
            2: (0x00FEFF01, 0, 0, 0xF0),
            6: (_ALWAYS_RUNNING_APIC_TIMER, 0, 0, 0),
            0x16: (megahertz, megahertz, 100, 0),
            0x80000000: (_MAXIMUM_EXTENDED, 0, 0, 0),
            0x80000001: (0, 0, 1, _bits(*_EXTENDED_EDX)),
            **{
                0x80000002 + part: struct.unpack_from("<IIII", brand, 16 * part)
                for part in range(3)
            },
            0x80000007: (0, 0, 0, 1 << 8),
            0x80000008: (0x3000 | configuration.address_bits, 0, 0, 0),
            **hypervisor_leaves(
                configuration.privileges,
                configuration.features,
                configuration.recommendations,
                spin_retry_count=configuration.spin_retry_count,
                max_virtual_processors=64,
                physical_address_bits=configuration.address_bits,
                nested_features=configuration.nested_features,
            ),
        }
        self._count = len(configuration.processors)
        self._x2apic = configuration.has_x2apic

    def read(self, apic_id: int, leaf: int, subleaf: int, *, apic_enabled: bool = True) -> Leaf:
        """What CPUID returns.

        Args:
            apic_id: the APIC id of the processor that executes it.
            leaf: EAX.
            subleaf: ECX.
            apic_enabled: whether that processor's IA32_APIC_BASE enables its APIC, of which leaf 1
                tells.

        Returns:
            EAX, EBX, ECX, EDX.
        """
        if leaf == 1:
            shared = min(self._count, 255) << 16
            ecx = _bits(*_LEAF1_ECX) | (_X2APIC if self._x2apic else 0)
            edx = _bits(*_LEAF1_EDX) | (1 << 28 if self._count > 1 else 0)
            if not apic_enabled:
                edx &= ~_APIC
            return (_SIGNATURE, apic_id << 24 | shared | 0x800, ecx, edx)
        if leaf == 4:
            return self._cache(subleaf)
        if leaf == 7:
            return (0, _bits(*_LEAF7_EBX), 0, _bits(*_LEAF7_EDX)) if subleaf == 0 else _NOTHING
        if leaf == 0xB:
            return self._topology(apic_id, subleaf)
        return self._leaves.get(leaf, _NOTHING)

    def _cache(self, subleaf: int) -> Leaf:
        # Three levels of 64-byte lines, not shared between processors.
        kinds = ((1, 1, 8, 64), (2, 1, 8, 64), (3, 2, 8, 512), (3, 3, 16, 8192))
        if subleaf >= len(kinds):
            return _NOTHING
        kind, level, ways, sets = kinds[subleaf]
        return (kind | level << 5 | 1 << 8, (ways - 1) << 22 | 63, sets - 1, 0)

    def _topology(self, apic_id: int, subleaf: int) -> Leaf:
        # One thread a core, all cores in one package.
        if subleaf == 0:
            return (0, 1, 1 << 8, apic_id)
        if subleaf == 1:
            return ((self._count - 1).bit_length(), self._count, 2 << 8 | 1, apic_id)
        return (0, 0, subleaf, apic_id)
