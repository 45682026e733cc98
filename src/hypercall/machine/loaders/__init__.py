"""Boot loaders: each turns one kind of image into filled guest memory and a register state."""

from hypercall.machine.loaders.entry import EntryKind, EntryState, LoaderMemory, Segment
from hypercall.machine.loaders.image import load_image

__all__ = ["EntryKind", "EntryState", "LoaderMemory", "Segment", "load_image"]
