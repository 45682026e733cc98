"""Hints about memory."""

from hypercall.tlfs.readings.reading import reading
from hypercall.tlfs.status import HvStatus

MEMORY_HINT_READINGS = (
    reading(
        "memory_hint_small_range",
        "What answers a memory heat hint for a range below 2 MiB?",
        "Linux hv_balloon.c: older hosts 5, newer ones take it; nobody else has the call",
        hyperv=None,
        kvm=None,
        xen=None,
        openvmm=None,
        none="taken",
    ),
    reading(
        "async_memory_hint",
        "What answers HvExtCallMemoryHeatHintAsync when it has taken the hints?",
        "inferred from the name and from CALL_PENDING; no public implementation or use",
        hyperv=HvStatus.CALL_PENDING,
        kvm=HvStatus.CALL_PENDING,
        xen=HvStatus.CALL_PENDING,
        openvmm=HvStatus.CALL_PENDING,
    ),
)
