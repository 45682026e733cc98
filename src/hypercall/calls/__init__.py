"""What each hypercall does: one module per family of calls."""

from hypercall.calls import (
    address_spaces,
    debugging,
    extended,
    interrupts,
    messages_and_events,
    nested,
    processors,
    registers,
    translation,
    virtual_trust_levels,
)
from hypercall.calls.registration import handlers_of

HANDLERS = handlers_of(
    (
        address_spaces,
        debugging,
        extended,
        interrupts,
        messages_and_events,
        nested,
        processors,
        registers,
        translation,
        virtual_trust_levels,
    )
)
"""The handler of every implemented call, by call code."""
