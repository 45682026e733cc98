import json
import os
import re
from collections import deque
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest
from tests.guests.kit import Guest

import hypercall
import hypercall.faults.children
from hypercall.errors import InputError
from hypercall.machine.machine import Machine
from hypercall.partition.run_state import RunState
from hypercall.partition.timers import TimerHandle, TimerQueue
from hypercall.snapshot.encoding import OF_THE_HOST, Decoder, Encoder


def there_and_back(value: Any, fresh: Any = None, buffers: Any = None) -> Any:
    encoder = Encoder(buffers or {})
    described = json.loads(json.dumps(encoder.encode(value)))
    nodes = json.loads(json.dumps(encoder.nodes))
    return Decoder(nodes, buffers or {}).decode(described, fresh)


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        1 << 80,
        -1.5,
        "text",
        b"\xff\0",
        (1, (2, b"3")),
        frozenset({1, 2}),
        RunState.RUNNING,
        [1, [2]],
        {1: "a", (2, 3): [4], RunState.RUNNING: 5},
        {1, 2},
        deque([1, 2]),
        bytearray(b"ab"),
    ],
)
def test_values_come_back(value: Any) -> None:
    back = there_and_back(value)
    assert back == value
    assert type(back) is type(value)


def test_an_object_is_one_object_from_wherever_it_is_referred_to() -> None:
    inner: list[Any] = []
    inner.append(inner)
    first, second = there_and_back([inner, inner])
    assert first is second
    assert first[0] is first


def test_random_numbers_go_on() -> None:
    numbers = Random(3)
    numbers.random()
    assert there_and_back(numbers).random() == numbers.random()


def test_objects_of_a_fresh_machine_are_kept_and_filled() -> None:
    queue, fresh = TimerQueue(), TimerQueue()
    queue.schedule(5, partial(queue.cancel, TimerHandle(7, None)))
    back = there_and_back({"queue": queue}, {"queue": fresh})
    assert back["queue"] is fresh
    assert fresh.next_deadline() == 5
    callback = fresh._heap[0][2].callback
    assert isinstance(callback, partial)
    assert callback.args[0].at == 7
    assert callback.func.__self__ is fresh  # type: ignore[attr-defined]


def test_views_of_memory_stay_views() -> None:
    memory = memoryview(bytearray(100))
    view = there_and_back([memory[10:20]], None, {"ram": memory})[0]
    view[0] = 5
    assert memory[10] == 5
    assert len(view) == 10


def test_a_function_of_the_user_is_refused() -> None:
    machine = Guest("ret").machine()
    machine.partition.timers.schedule(5, lambda: None)
    with pytest.raises(InputError, match="function of yours"):
        Encoder({}).encode(machine)


def test_a_port_of_the_users_is_refused() -> None:
    machine = Guest("ret").machine()
    port = machine.port(77, "events")
    with pytest.raises(InputError, match="close the port"):
        Encoder({}).encode(machine)
    port.close()
    Encoder({}).encode(machine)


def fill(*nodes: Any) -> Any:
    return Decoder(list(nodes), {}).decode({"r": 0})


TIMERS = "hypercall.partition.timers"


@pytest.mark.parametrize(
    "nodes",
    [
        [{"c": "os:system", "o": {}}],
        [{"c": "subprocess:Popen", "o": {}}],
        [{"c": "hypercall.errors:InputError", "o": {}}],
        [{"c": "hypercall.partition.timers:missing", "o": {}}],
        [{"c": "hypercall.trace.hub:TraceHub", "o": {}}],
        [{"c": f"{TIMERS}:TimerQueue", "o": {"__class__": 5}}],
        [{"c": f"{TIMERS}:TimerQueue", "o": {"other": 5}}],
        [{"l": [{"fn": "os:system"}]}],
        [{"l": [{"p": [{"fn": "os:system"}, ["true"]]}]}],
        [{"l": [{"p": [{"fn": "hypercall.machine.debug_transport:open_debug_transport"}, []]}]}],
        [{"c": "hypercall.machine.debug_transport:SocketTransport", "o": {}}],
        [{"c": "hypercall.faults.children:Children", "o": {}}],
        [{"l": [{"p": [{"fn": "hypercall.faults.children:_signal_name"}, [1]]}]}],
        [{"c": "hypercall.machine.machine:Machine", "o": {"host_poll": {"fn": "builtins:bytes"}}}],
        [{"l": [{"m": [{"r": 1}, "__class__"]}]}, {"c": f"{TIMERS}:TimerQueue", "o": {}}],
        [{"l": [{"m": [{"r": 1}, "append"]}]}, {"l": []}],
        [{"l": [{"k": 0}]}],
        [{"l": [{"e": ["enum:Enum", 1]}]}],
        [{"l": [{"e": ["hypercall.partition.run_state:RunState", "no"]}]}],
        [{"l": [{"n": ["hypercall.partition.timers:TimerQueue", []]}]}],
        [{"l": [{"v": ["ram", 0, 1]}]}],
        [{"l": [{"b": "!"}]}],
        [{"l": [{"r": 7}]}],
        [{"l": [{"r": -5}]}],
        [{"l": [{"x": 7}]}],
        [{"l": [[]]}],
        [{"l": 5}],
        [{"random": [3, [1], None]}],
        [None],
        [],
    ],
)
def test_what_strangers_may_write_is_refused_in_one_line(nodes: list[Any]) -> None:
    with pytest.raises(InputError, match="the snapshot is damaged"):
        fill(*nodes)


HOST_MODULES = re.compile(
    r"^(?:import|from) (?:os|socket|subprocess|signal|shutil|tempfile|ctypes)\b", re.MULTILINE
)


def test_what_reaches_the_host_is_known() -> None:
    """A class or function that a file may name belongs to no module that opens or ends anything."""
    root = Path(hypercall.__file__).parent
    found = set()
    for folder in ("partition", "machine", "tlfs", "faults"):
        for path in (root / folder).rglob("*.py"):
            if HOST_MODULES.search(path.read_text()):
                name = path.relative_to(root).with_suffix("").as_posix().replace("/", ".")
                found.add(f"hypercall.{name}")
    assert found
    assert found <= OF_THE_HOST


def test_too_many_objects_are_refused() -> None:
    with pytest.raises(InputError, match="damaged"):
        Decoder([None] * 1_000_001, {})


def test_nothing_is_imported() -> None:
    with pytest.raises(InputError, match="damaged"):
        fill({"c": "hypercall.machine.no_such_module:Thing", "o": {}})


def test_a_mutilated_machine_is_read_or_refused() -> None:
    """Whatever is replaced in the description of a machine, there is one clear error or none."""
    encoder = Encoder({})
    described = encoder.encode(Guest("ret").machine())
    text = json.dumps(encoder.nodes)
    random = Random(7)
    rounds = int(os.environ.get("HYPERCALL_MUTILATIONS", "40"))
    refused = 0
    for _ in range(rounds):
        nodes = json.loads(text)
        for _ in range(5):
            node = nodes[random.randrange(len(nodes))]
            if node.get("o"):
                name = random.choice(list(node["o"]))
                node["o"][name] = random.choice(
                    [5, None, {"r": random.randrange(len(nodes))}, {"k": 0}, "x", {"t": []}]
                )
        fresh = Guest("ret").machine()
        try:
            assert isinstance(Decoder(nodes, {}).decode(described, fresh), Machine)
        except InputError:
            refused += 1
    assert refused < rounds
