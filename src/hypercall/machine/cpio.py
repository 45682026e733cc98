"""Writes cpio archives in the "newc" format, which is what Linux unpacks as its first root.

Source: Linux, Documentation/driver-api/early-userspace/buffer-format.rst. The same entries always
give the same bytes: times are 0 and inode numbers count up.
"""

from hypercall.errors import InputError

_DIRECTORY, _FILE, _SYMBOLIC_LINK, _CHARACTER_DEVICE = 0o040000, 0o100000, 0o120000, 0o020000
_TRAILER = "TRAILER!!!"
_SIZE_LIMIT = 0xFFFF_FFFF


class CpioArchive:
    """An archive to which entries are added in order; directories come before what is in them."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._inode = 0
        self._directories: set[str] = set()

    def add_directory(self, path: str, mode: int = 0o755) -> None:
        """Add a directory and those above it; one that is there already is left as it is.

        Args:
            path: without a leading slash.
            mode: the permission bits.
        """
        path = path.strip("/")
        if not path or path in self._directories:
            return
        self._add_parents(path)
        self._directories.add(path)
        self._add(path, _DIRECTORY | mode, b"", links=2)

    def add_file(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """Add a regular file and the directories above it.

        Raises:
            InputError: it has 4 GiB or more.
        """
        if len(data) > _SIZE_LIMIT:
            raise InputError(f"{path}: a file in an initial RAM disk must be smaller than 4 GiB")
        self._add_parents(path)
        self._add(path.strip("/"), _FILE | mode, data)

    def add_symbolic_link(self, path: str, target: str) -> None:
        """Add a symbolic link and the directories above it."""
        self._add_parents(path)
        self._add(path.strip("/"), _SYMBOLIC_LINK | 0o777, target.encode())

    def add_character_device(self, path: str, major: int, minor: int, mode: int = 0o600) -> None:
        """Add a character device node and the directories above it."""
        self._add_parents(path)
        self._add(path.strip("/"), _CHARACTER_DEVICE | mode, b"", device=(major, minor))

    def finish(self) -> bytes:
        """The whole archive, padded to a multiple of 512 bytes."""
        trailer = self._entry(0, _TRAILER, 0, b"", 1, (0, 0))
        data = b"".join((*self._parts, trailer))
        return data + bytes(-len(data) % 512)

    def _add_parents(self, path: str) -> None:
        parent = path.strip("/").rpartition("/")[0]
        if parent:
            self.add_directory(parent)

    def _add(
        self,
        path: str,
        mode: int,
        data: bytes,
        *,
        links: int = 1,
        device: tuple[int, int] = (0, 0),
    ) -> None:
        self._inode += 1
        self._parts.append(self._entry(self._inode, path, mode, data, links, device))

    @staticmethod
    def _entry(
        inode: int, path: str, mode: int, data: bytes, links: int, device: tuple[int, int]
    ) -> bytes:
        encoded = path.encode("utf-8", "surrogateescape") + b"\0"
        # Inode, mode, user, group, links, time, size, device of the file (two), device node (two),
        # length of the name, check.
        fields = (inode, mode, 0, 0, links, 0, len(data), 0, 0, *device, len(encoded), 0)
        header = b"070701" + b"".join(b"%08X" % field for field in fields) + encoded
        return header + bytes(-len(header) % 4) + data + bytes(-len(data) % 4)
