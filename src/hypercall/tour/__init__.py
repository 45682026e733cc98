"""The tour: a bundled guest that makes every call and prints what came of each.

Its source is the assembly text in this folder; ``tour.bin`` is made of it by ``script/tour-image``.
"""

from importlib.resources import files

TOUR_CPUS = 2
"""How many virtual processors the tour wants."""
TOUR_PRIVILEGES = "all"
"""The profile under which every call of the tour is served."""
_IMAGE = "tour.bin"


def tour_image() -> bytes:
    """Return the guest, a flat binary for 0x100000 that is entered in 64-bit code."""
    return files(__name__).joinpath(_IMAGE).read_bytes()
