"""Where sources disagree: one named decision for each question, with its variants and sources.

A partition has a `ReadingSet`. ``hyperv`` is the default: what the TLFS says, unless there is
evidence that Microsoft's hypervisor does otherwise. ``kvm``, ``xen`` and ``openvmm`` answer as
those implementations do; a question that one of them never meets has the answer of ``hyperv``.
"""

from hypercall.tlfs.readings.calling_convention import ReservedControlBits
from hypercall.tlfs.readings.debugging import DebugRemainder
from hypercall.tlfs.readings.gates import Enforcement
from hypercall.tlfs.readings.overlay_pages import PageWithoutOsId
from hypercall.tlfs.readings.reading import SET_NAMES, Reading
from hypercall.tlfs.readings.reading_set import ReadingSet
from hypercall.tlfs.readings.register_form import FastXmmGate
from hypercall.tlfs.readings.table import READINGS
from hypercall.tlfs.readings.targets import EmptyMask, IpiTargetVtl, ReservedFields, SetFormat
from hypercall.tlfs.readings.virtual_trust_levels import ExecuteBits, ProtectionTarget

__all__ = [
    "DebugRemainder",
    "EmptyMask",
    "Enforcement",
    "ExecuteBits",
    "FastXmmGate",
    "IpiTargetVtl",
    "PageWithoutOsId",
    "ProtectionTarget",
    "READINGS",
    "Reading",
    "ReadingSet",
    "ReservedControlBits",
    "ReservedFields",
    "SET_NAMES",
    "SetFormat",
]
