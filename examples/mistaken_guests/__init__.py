"""The guests of mistakes.py: one that breaks each rule, and its twin that does it right."""

from mistaken_guests.data import DATA_MISTAKES
from mistaken_guests.identities import IDENTITY_MISTAKES
from mistaken_guests.messages import MESSAGE_MISTAKES
from mistaken_guests.offers import OFFER_MISTAKES
from mistaken_guests.parameters import PARAMETER_MISTAKES
from mistaken_guests.spinning import SPIN_MISTAKES
from mistaken_guests.statuses import STATUS_MISTAKES
from mistaken_guests.translations import TRANSLATION_MISTAKES
from mistaken_guests.trust_levels import TRUST_LEVEL_MISTAKES

MISTAKES = (
    *PARAMETER_MISTAKES,
    *OFFER_MISTAKES,
    *STATUS_MISTAKES,
    *IDENTITY_MISTAKES,
    *DATA_MISTAKES,
    *MESSAGE_MISTAKES,
    *SPIN_MISTAKES,
    *TRUST_LEVEL_MISTAKES,
    *TRANSLATION_MISTAKES,
)
"""The guests, in the order of the rules."""
