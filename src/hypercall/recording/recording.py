"""Recordings in files: a guest, the machine for it, and all that came from outside."""

import hashlib
import json
from dataclasses import astuple, dataclass, field, fields, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hypercall.machine.configuration import MachineConfiguration
from hypercall.machine.result import REASON_TEXTS, RunResult, StopReason
from hypercall.recording.inputs import Input, InputPlayer
from hypercall.snapshot.container import (
    is_container,
    one_line,
    parse_json,
    read_container,
    write_container,
)
from hypercall.snapshot.encoding import Decoder, Encoder
from hypercall.version import package_version

if TYPE_CHECKING:
    from hypercall.machine.machine import Machine

TOUR_NAME = "tour"
"""What the image of the tour is called."""

MAGIC = b"HCRUN\r\n\0"
FORMAT = 1
"""The version of the format."""

_PAGE = 4096
# The configuration and the inputs; what an image has beyond the memory it fills is symbols.
_LARGEST_HEAD = 256 << 20
_MORE = 2 << 30
_MOST_INPUTS = 10_000_000


@dataclass(frozen=True, slots=True)
class Guest:
    """What was loaded.

    Attributes:
        image: the image.
        name: what it is called.
        initrd: the initial RAM disk, or None.
        append: the command line.
        entry: where a bzImage is entered.
        image_format: ``auto``, or ``flat`` for any bytes.
    """

    image: bytes
    name: str = "image"
    initrd: bytes | None = None
    append: str = ""
    entry: Literal["vmlinux", "decompressor"] = "vmlinux"
    image_format: Literal["auto", "flat"] = "auto"


@dataclass(frozen=True, slots=True)
class End:
    """How a run ended, as far as another run of it must end in the same way.

    Attributes:
        reason: why it ended.
        virtual_ns: the virtual time.
        executed: bytes of guest code executed.
        exits: how often each kind of exit came.
        exit_code: what the guest wrote to the debug exit port, or None.
        memory: the SHA-256 digest of the guest's memory, or None if it was not looked at.
    """

    reason: StopReason
    virtual_ns: int
    executed: int
    exits: dict[str, int]
    exit_code: int | None = None
    memory: str | None = None

    @classmethod
    def of(cls, result: RunResult, machine: "Machine | None" = None) -> "End":
        """Return how a run ended, and if there is the machine, what was in its memory then."""
        return cls(
            result.reason,
            result.virtual_ns,
            result.executed,
            dict(result.exits),
            result.exit_code,
            None if machine is None else memory_digest(machine),
        )


@dataclass(frozen=True, slots=True)
class Recording:
    """A run that can be had again.

    Attributes:
        configuration: what the machine was made of.
        guest: what was loaded.
        faults: the faults that were injected, as users write them.
        inputs: what came from outside.
        end: how it ended, or None while nobody knows.
        version: the version of hypercall that ran it.
    """

    configuration: MachineConfiguration
    guest: Guest
    faults: tuple[str, ...] = ()
    inputs: list[Input] = field(default_factory=list)
    end: End | None = None
    version: str = field(default_factory=package_version)

    def machine(self) -> "Machine":
        """Make the machine, with the guest loaded and the inputs to come."""
        # Not at the top: it takes a moment.
        from hypercall.machine.machine import Machine

        machine = Machine(self.configuration)
        guest = self.guest
        machine.load(
            guest.image,
            guest.initrd,
            guest.append,
            entry=guest.entry,
            image_format=guest.image_format,
            name=guest.name,
        )
        for fault in self.faults:
            machine.inject(fault)
        InputPlayer(machine, self.inputs)
        return machine

    def difference(self, result: RunResult, machine: "Machine") -> str | None:
        """Tell how a run that should have been this one ended differently.

        Args:
            result: how it ended.
            machine: the machine, as it is at its end.

        Returns:
            A sentence, or None if it ended in the same way, or nobody knows how this one did.
        """
        if self.end is None:
            return None
        end = End.of(result, None if self.end.memory is None else machine)
        if self.limit_ns is not None:
            # Who stopped it, and how, is no part of the run.
            end = replace(end, reason=self.end.reason)
        if end == self.end:
            return None
        text = f"it ended {_told(self.end)} when it was recorded, and {_told(end)} now"
        if self.version != package_version():
            text += f"; hypercall {self.version} recorded it, and this is {package_version()}"
        return text

    @property
    def is_tour(self) -> bool:
        """Whether the guest is the bundled one, which makes mistakes on purpose."""
        return (self.guest.name, self.guest.image_format) == (TOUR_NAME, "flat")

    @property
    def limit_ns(self) -> int | None:
        """The virtual time at which somebody stopped the run, or None if the guest ended it."""
        end = self.end
        if end is None or end.reason not in _STOPPED:
            return None
        return end.virtual_ns

    def save(self, path: Path) -> None:
        """Write it to a file.

        Raises:
            InputError: it cannot be written.
        """
        encoder = Encoder({})
        configuration = {
            each.name: getattr(self.configuration, each.name) for each in fields(self.configuration)
        }
        guest, end = self.guest, self.end
        head = {
            "hypercall": self.version,
            "configuration": encoder.encode(configuration),
            "nodes": encoder.nodes,
            "guest": [guest.name, guest.append, guest.entry, guest.image_format],
            "faults": list(self.faults),
            "inputs": [each.to_json() for each in self.inputs],
            "end": end and [end.reason.name, *astuple(end)[1:]],
        }
        parts = {"head": json.dumps(head).encode(), "image": guest.image}
        if guest.initrd is not None:
            parts["initrd"] = guest.initrd
        write_container(path, MAGIC, FORMAT, parts)

    @classmethod
    def load(cls, path: Path) -> "Recording":
        """Read it from a file.

        Raises:
            InputError: it is no recording, or damaged.
        """
        heads: list[dict[str, Any]] = []

        def rest(data: bytes) -> int:
            heads.append(parse_json(data))
            return _configuration(heads[0]).memory + _MORE

        with one_line(path, "is damaged", "record the run anew"):
            parts = read_container(
                path, MAGIC, FORMAT, "a recording of hypercall", _LARGEST_HEAD, rest
            )
            return cls._from_parts(heads[0], parts)

    @classmethod
    def _from_parts(cls, head: dict[str, Any], parts: dict[str, bytes]) -> "Recording":
        name, append, entry, image_format = head["guest"]
        if entry not in ("vmlinux", "decompressor") or image_format not in ("auto", "flat"):
            raise ValueError("its guest")
        inputs = head["inputs"]
        if len(inputs) > _MOST_INPUTS:
            raise ValueError("too many inputs")
        end = None
        if head["end"] is not None:
            reason, virtual_ns, executed, exits, exit_code, memory = head["end"]
            if not (exit_code is None or type(exit_code) is int):
                raise ValueError("its exit code")
            if not (memory is None or isinstance(memory, str)):
                raise ValueError("the digest of its memory")
            end = End(
                StopReason[reason], int(virtual_ns), int(executed), dict(exits), exit_code, memory
            )
        return cls(
            _configuration(head),
            Guest(parts["image"], str(name), parts.get("initrd"), str(append), entry, image_format),
            tuple(map(str, head["faults"])),
            [Input.from_json(each) for each in inputs],
            end,
            str(head["hypercall"]),
        )


def _configuration(head: dict[str, Any]) -> MachineConfiguration:
    values = Decoder(head["nodes"], {}).decode(head["configuration"])
    if not isinstance(values.get("date"), datetime):
        raise ValueError("its date")
    return MachineConfiguration(**values)


_STOPPED = (StopReason.INTERRUPTED, StopReason.LIMIT, StopReason.PAUSED, StopReason.UNTIL)


def _told(end: End) -> str:
    exits = sum(end.exits.values())
    value = "" if end.exit_code is None else f" with the value {end.exit_code}"
    memory = "" if end.memory is None else f", its memory {end.memory[:8]}"
    return (
        f"at {end.virtual_ns} ns after {end.executed:,} bytes of code and {exits:,} exits"
        f" ({REASON_TEXTS[end.reason]}{value}{memory})"
    )


def memory_digest(machine: "Machine") -> str:
    """Return the SHA-256 digest of what is in a guest's memory, and where."""
    written, ram = bytes(machine.engine.written_pages()), machine.partition.memory.ram
    digest, zeros = hashlib.sha256(), bytes(_PAGE)
    for page, state in enumerate(written):
        content = ram[page * _PAGE : (page + 1) * _PAGE] if state else zeros
        if content != zeros:
            digest.update(page.to_bytes(8, "little"))
            digest.update(content)
    return digest.hexdigest()


def is_recording(path: Path) -> bool:
    """Return whether a file looks like a recording."""
    return is_container(path, MAGIC)
