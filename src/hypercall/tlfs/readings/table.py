"""The table of all readings."""

from hypercall.tlfs.readings.calling_convention import CALLING_CONVENTION_READINGS
from hypercall.tlfs.readings.debugging import DEBUGGING_READINGS
from hypercall.tlfs.readings.gates import GATE_READINGS
from hypercall.tlfs.readings.memory_hints import MEMORY_HINT_READINGS
from hypercall.tlfs.readings.messages import MESSAGE_READINGS
from hypercall.tlfs.readings.nested import NESTED_READINGS
from hypercall.tlfs.readings.overlay_pages import OVERLAY_PAGE_READINGS
from hypercall.tlfs.readings.processors import PROCESSOR_READINGS
from hypercall.tlfs.readings.register_form import REGISTER_FORM_READINGS
from hypercall.tlfs.readings.targets import TARGET_READINGS
from hypercall.tlfs.readings.translation import TRANSLATION_READINGS
from hypercall.tlfs.readings.virtual_trust_levels import VIRTUAL_TRUST_LEVEL_READINGS

READINGS = (
    *CALLING_CONVENTION_READINGS,
    *OVERLAY_PAGE_READINGS,
    *REGISTER_FORM_READINGS,
    *GATE_READINGS,
    *TARGET_READINGS,
    *MESSAGE_READINGS,
    *PROCESSOR_READINGS,
    *DEBUGGING_READINGS,
    *NESTED_READINGS,
    *MEMORY_HINT_READINGS,
    *VIRTUAL_TRUST_LEVEL_READINGS,
    *TRANSLATION_READINGS,
)
"""Every decision."""
