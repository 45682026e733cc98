"""The firmware configuration device at 0x510, from which test guests learn the processor count.

Source: QEMU's documentation, "QEMU Firmware Configuration (fw_cfg) Device". Only the traditional
interface is there: no DMA, and no files.
"""

from collections.abc import Sequence

_SELECTOR = 0x510
_DATA = 0x511
_ITEM_BITS = 0x3FFF


class FirmwareConfiguration:
    """A selector register and a data register that reads the selected item byte by byte.

    Args:
        processor_count: how many virtual processors the machine has.
        memory_size: bytes of RAM.
    """

    widest_access = 2

    def __init__(self, processor_count: int, memory_size: int) -> None:
        self._items: dict[int, bytes] = {
            0x00: b"QEMU",
            0x01: (1).to_bytes(4, "little"),
            0x03: memory_size.to_bytes(8, "little"),
            0x04: (1).to_bytes(2, "little"),
            0x05: processor_count.to_bytes(2, "little"),
            0x0F: processor_count.to_bytes(2, "little"),
            0x19: bytes(4),
        }
        self._item = b""
        self._offset = 0

    @property
    def ports(self) -> Sequence[range]:
        """Selector and data."""
        return (range(_SELECTOR, _DATA + 1),)

    def read_port(self, port: int, size: int) -> int:
        """Read the next byte of the selected item; zero after its end. The selector is 0."""
        if port == _SELECTOR:
            return 0
        value = self._item[self._offset] if self._offset < len(self._item) else 0
        self._offset += 1
        return value

    def write_port(self, port: int, size: int, value: int) -> None:
        """Select an item; the data register is read-only."""
        if port == _SELECTOR:
            self._item = self._items.get(value & _ITEM_BITS, b"")
            self._offset = 0
