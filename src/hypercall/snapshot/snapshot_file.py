"""Snapshots in files: the state of a machine, from which another process can go on."""

import json
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from hypercall.errors import InputError
from hypercall.machine.configuration import MachineConfiguration
from hypercall.snapshot.condition import check_time
from hypercall.snapshot.container import (
    is_container,
    one_line,
    parse_json,
    read_container,
    write_container,
)
from hypercall.snapshot.encoding import Decoder, Encoder, Json
from hypercall.version import package_version

if TYPE_CHECKING:
    from hypercall.machine.guest_machine import GuestMachine

MAGIC = b"HCSNAP\r\n"
FORMAT = 1
"""The version of the format; it changes with the layout of the file, not with each release."""

_PAGE = 4096
_WRITTEN = 2
# Of a memory, what else is told of each page; and what does not depend on its size.
_MORE = 256 << 20
_LARGEST_HEAD = 64 << 20
_Made = TypeVar("_Made", bound="GuestMachine")
_NAMES = ("state", "fields", "tlb")
_LATEST = 1 << 63
_NUMBERS = ("count", "skew", "factor", "current", "delivers_again")


def save_machine(machine: "GuestMachine", path: Path) -> None:
    """Write the state of a machine to a file.

    Raises:
        InputError: the file cannot be written, the machine counts time by the host's clock, or the
            state refers to functions of the user.
    """
    check_time(machine)
    engine = machine.engine.save()
    parts: dict[str, bytes] = {}
    contexts = engine.pop("contexts")
    tables = engine.pop("tables")
    for name in ("pages", "stores", "msr_map", "statistics"):
        parts[name] = engine.pop(name)
    for number, context in enumerate(contexts):
        for name in _NAMES:
            parts[f"{name} {number}"] = context[name]
    for number, table in enumerate(tables):
        parts[f"table {number}"] = table
    memory = machine.partition.memory
    parts["ram"] = _pick(memory.ram, _ram_pages(parts["pages"]))
    arena_pages = _arena_pages(memory.arena)
    parts["arena"] = _pick(memory.arena, arena_pages)
    encoder = Encoder({"ram": memory.ram, "arena": memory.arena})
    head = {
        "hypercall": package_version(),
        "configuration": encoder.encode(_fields(machine.configuration)),
        "machine": encoder.encode(machine),
        "nodes": encoder.nodes,
        "engine": engine,
        "contexts": len(contexts),
        "tables": len(tables),
        "arena": arena_pages,
    }
    write_container(path, MAGIC, FORMAT, {"head": json.dumps(head).encode(), **parts})


def load_machine(path: Path, make: Callable[[MachineConfiguration], "_Made"]) -> "_Made":
    """Make a machine in the state that a file has.

    Args:
        path: the file.
        make: makes a machine.

    Raises:
        InputError: it is no snapshot, damaged, or of another version.
    """
    heads: list[Json] = []

    def rest(head: bytes) -> int:
        heads.append(_parse_head(head))
        return _configuration(heads[0]).memory * 101 // 100 + _MORE

    with one_line(path, "is damaged, or of another version of hypercall", "make it anew"):
        parts = read_container(path, MAGIC, FORMAT, "a snapshot of hypercall", _LARGEST_HEAD, rest)
        return _restored(heads[0], parts, make)


def is_snapshot(path: Path) -> bool:
    """Return whether a file looks like a snapshot."""
    return is_container(path, MAGIC)


def _parse_head(data: bytes) -> Json:
    head = parse_json(data)
    if head["hypercall"] != package_version():
        raise InputError(
            f"it was made by hypercall {str(head['hypercall'])[:40]}, and this is "
            f"{package_version()}: make it anew, or use the one that made it"
        )
    return head


def _configuration(head: Json) -> MachineConfiguration:
    configuration = MachineConfiguration(**Decoder(head["nodes"], {}).decode(head["configuration"]))
    if configuration.time == "host":
        raise InputError("a machine that follows the host's clock has no snapshots")
    return configuration


def _restored(
    head: Json, parts: dict[str, bytes], make: Callable[[MachineConfiguration], "_Made"]
) -> "_Made":
    machine = make(_configuration(head))
    memory = machine.partition.memory
    for buffer, name, pages in (
        (memory.ram, "ram", _ram_pages(parts["pages"])),
        (memory.arena, "arena", head["arena"]),
    ):
        _put(buffer, pages, parts[name])
    engine: dict[str, Any] = dict(head["engine"])
    engine["rest_of_block"] = tuple(engine["rest_of_block"])
    numbers = (*(engine[name] for name in _NUMBERS), *engine["rest_of_block"])
    if not all(isinstance(each, int) and 0 <= each < 1 << 64 for each in numbers):
        raise InputError("it is damaged: a number of its engine is none")
    # Time that runs round or in leaps would let turns end before they begin, for ever.
    if engine["factor"] != machine.engine.factor or engine["count"] + engine["skew"] >= _LATEST:
        raise InputError("it is damaged: its time is none")
    for name in ("pages", "stores", "msr_map", "statistics"):
        engine[name] = parts[name]
    engine["tables"] = [parts[f"table {number}"] for number in range(head["tables"])]
    engine["contexts"] = [
        {name: parts[f"{name} {number}"] for name in _NAMES} for number in range(head["contexts"])
    ]
    Decoder(head["nodes"], {"ram": memory.ram, "arena": memory.arena}).decode(
        head["machine"], machine
    )
    machine.engine.restore(engine, False)
    return machine


def _fields(configuration: MachineConfiguration) -> dict[str, Any]:
    return {field.name: getattr(configuration, field.name) for field in fields(configuration)}


def _ram_pages(states: bytes) -> list[int]:
    return [page for page, state in enumerate(states) if state & _WRITTEN]


def _arena_pages(arena: memoryview) -> list[int]:
    zeros = bytes(_PAGE)
    count = len(arena) // _PAGE
    return [page for page in range(count) if arena[page * _PAGE : (page + 1) * _PAGE] != zeros]


def _pick(buffer: memoryview, pages: list[int]) -> bytes:
    return b"".join(buffer[page * _PAGE : (page + 1) * _PAGE] for page in pages)


def _put(buffer: memoryview, pages: list[int], content: bytes) -> None:
    if len(content) != len(pages) * _PAGE:
        raise InputError("its memory is not as long as it says")
    for number, page in enumerate(pages):
        if not 0 <= page < len(buffer) // _PAGE:
            raise InputError("it has memory beyond the machine's")
        buffer[page * _PAGE : (page + 1) * _PAGE] = content[number * _PAGE : (number + 1) * _PAGE]
