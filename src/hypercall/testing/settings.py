"""What guest a test wants, and the machine that runs it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from hypercall.errors import InputError

if TYPE_CHECKING:
    from hypercall.machine.configuration import MachineConfiguration
    from hypercall.machine.machine import Machine

PROMPT = "\n/ # "
"""The end of the console when the busybox shell of the built initial RAM disk takes commands."""

_LINUX_APPEND = "console=ttyS0"


@dataclass(frozen=True)
class GuestSettings:
    """What guest a test wants; tests with equal settings share one boot.

    Attributes:
        kernel: the image, a path or the bytes; None if nobody has named one.
        initrd: the initial RAM disk, or None.
        busybox: a static busybox; an initial RAM disk with a shell on the console is built from
            it. Excludes `initrd`.
        files: more files for that disk: path in it, and the path on the host or the bytes.
        append: the kernel's command line; None for one that shows the console, if it is Linux.
        cpus: the number of virtual processors.
        memory: bytes of RAM.
        seed: varies the lengths of the processors' turns.
        like: the name of a reading set.
        privileges: a profile, a mask or changes.
        image_format: ``"auto"`` or ``"flat"``.
        ready: the guest is booted when its console has this text; None for the prompt of the
            built disk's shell, and for a flat image for its first instruction.
        boot_limit: the virtual seconds that the boot may take.
    """

    kernel: Path | bytes | None = None
    initrd: Path | None = None
    busybox: Path | None = None
    files: tuple[tuple[str, Path | bytes], ...] = ()
    append: str | None = None
    cpus: int = 1
    memory: int = 256 << 20
    seed: int = 0
    like: str = "hyperv"
    privileges: str = "default"
    image_format: Literal["auto", "flat"] = "auto"
    ready: str | None = None
    boot_limit: float = 60.0

    @property
    def name(self) -> str:
        """The guest in a few words, for messages."""
        kernel = self.kernel.name if isinstance(self.kernel, Path) else "an image of bytes"
        return f"{kernel} on {self.cpus} processor{'s' if self.cpus > 1 else ''}, seed {self.seed}"

    @property
    def awaited(self) -> str | None:
        """The console text at which the guest is booted; None for before its first instruction."""
        if self.ready is not None:
            return self.ready
        return None if self.busybox is None else PROMPT

    def check(self) -> None:
        """Check what can be checked without the files.

        Raises:
            InputError: a value is out of range, or two exclude each other.
        """
        self.configuration().partition_configuration()
        if self.initrd is not None and self.busybox is not None:
            raise InputError("initrd and busybox exclude each other: give one of them")
        if self.files and self.busybox is None:
            raise InputError("files are for the disk that is built from a busybox: give busybox")
        if self.initrd is not None and self.ready is None:
            raise InputError(
                "nothing says when a guest with an initrd of its own is up: give ready, a text on"
                " its console"
            )
        if not 0 < self.boot_limit <= 1e9:
            raise InputError(f"a boot_limit of {self.boot_limit:g} virtual seconds makes no sense")

    def configuration(self) -> MachineConfiguration:
        """The machine's configuration.

        Raises:
            InputError: a value is out of range.
        """
        from hypercall.machine.configuration import MachineConfiguration

        return MachineConfiguration(
            cpus=self.cpus,
            memory=self.memory,
            seed=self.seed,
            like=self.like,
            privileges=self.privileges,
        )

    def machine(self) -> Machine:
        """Make a machine with the guest loaded.

        Raises:
            InputError: there is no kernel, or a file is no good.
        """
        # Not at the top: it loads the engine.
        from hypercall.machine.machine import Machine

        if self.kernel is None:
            raise InputError(
                "the test wants a guest, and nothing says which: give --hypercall-kernel=FILE,"
                " hypercall_kernel in the ini file or @pytest.mark.hypercall(kernel=...)"
            )
        self.check()
        append = self.append
        if append is None:
            append = _LINUX_APPEND if self.initrd or self.busybox else ""
        machine = Machine(self.configuration())
        machine.load(self.kernel, self._disk(), append, image_format=self.image_format)
        return machine

    def _disk(self) -> Path | bytes | None:
        if self.busybox is None:
            return self.initrd
        from hypercall.machine.initrd import build_initrd

        return build_initrd(
            _read(self.busybox, "busybox"),
            shell=True,
            add={
                path: source if isinstance(source, bytes) else _read(source, "file")
                for path, source in self.files
            },
            name=str(self.busybox),
        )


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(
            f"{path}: the {what} cannot be read ({error.strerror}); check the path"
        ) from None
