import random
import re
from collections.abc import Callable
from xml.etree import ElementTree

import pytest
from tests.gdb.guest import COUNTER, TICK

from hypercall.gdb.session import Session
from hypercall.gdb.target import Target
from hypercall.machine.machine import Machine
from hypercall.machine.result import StopReason

Ask = Callable[[str], str]


def text(reply: str) -> str:
    return bytes.fromhex(reply).decode()


def test_what_is_supported_is_said(ask: Ask) -> None:
    reply = ask("qSupported:multiprocess+;swbreak+;hwbreak+;xmlRegisters=i386")
    assert "PacketSize=4000" in reply
    assert "qXfer:features:read+" in reply
    assert "Reverse" not in reply
    assert ask("vCont?") == "vCont;c;C;s;S;r"
    assert ask("vMustReplyEmpty") == ""
    assert ask("qTStatus") == ""
    assert ask("qAttached") == "1"
    assert ask("qSymbol::") == "OK"
    assert ask("!") == ""


def test_quiet_is_agreed_on(ask: Ask, session: Session) -> None:
    assert not session.quiet
    assert ask("QStartNoAckMode") == "OK"
    assert session.quiet
    assert ask("QNonStop:1") == ""


def test_the_description_comes_in_pieces(ask: Ask) -> None:
    document = ""
    while True:
        reply = ask(f"qXfer:features:read:target.xml:{len(document):x},3f0")
        document += reply[1:]
        if reply[0] == "l":
            break
    assert "i386:x86-64" in document
    ElementTree.fromstring(document)
    assert ask("qXfer:features:read:other.xml:0,10") == "E00"
    assert ask("qXfer:features:write:target.xml:0:00") == ""
    assert ask("qXfer:auxv:read::0,10") == ""
    assert ask("qXfer:features:read:target.xml:fffff,10") == "l"


def test_threads_are_virtual_processors(ask: Ask) -> None:
    assert ask("qfThreadInfo") == "m1"
    assert ask("qsThreadInfo") == "l"
    assert ask("qC") == "QC1"
    assert text(ask("qThreadExtraInfo,1")) == "VTL0, running"
    assert ask("T1") == "OK"
    assert ask("T2") == "E01"
    assert ask("Hg1") == "OK"
    assert ask("Hg2") == "E01"
    assert ask("Hc-1") == "OK"
    assert ask("Hx1") == "E01"
    reply = ask("qXfer:threads:read::0,1000")
    thread = ElementTree.fromstring(reply[1:])[0]
    assert thread.attrib == {"id": "1", "core": "0", "name": "VP 0"}
    assert thread.text == "VTL0, running"


def test_registers_are_read_and_written(ask: Ask, target: Target) -> None:
    rbx = target.register_number("rbx")
    assert ask(f"P{rbx:x}=8877665544332211") == "OK"
    assert ask(f"p{rbx:x}") == "8877665544332211"
    everything = ask("g")
    assert everything[16 * 1 : 16 * 2] == "8877665544332211"
    assert ask("G" + "00" * 8 + everything[16:]) == "OK"
    assert ask("p0") == "0000000000000000"
    assert ask("G00") == "E01"
    assert ask("p400") == "E01"
    assert ask(f"P{rbx:x}=00") == "E01"
    # A selector alone is no segment.
    cs = target.register_number("cs")
    assert ask(f"P{cs:x}=ff000000") == "E01"


def test_memory_is_read_and_written(ask: Ask) -> None:
    assert ask(f"M{COUNTER:x},4:01020304") == "OK"
    assert ask(f"m{COUNTER:x},4") == "01020304"
    assert ask(f"X{COUNTER:x},3:a}}\x03b") == "OK"
    assert ask(f"m{COUNTER:x},4") == "61236204"
    assert ask(f"X{COUNTER:x},0:") == "OK"
    assert ask(f"M{COUNTER:x},4:0102") == "E01"
    assert ask("m8000000000000000,4") == "E01"
    # Only as much as there is, and as fits.
    assert len(ask("m0,ffffffff")) // 2 == 0x4000 // 2 - 16
    assert len(ask("mfffff0,40")) // 2 == 16


def test_code_that_gdb_changes_is_executed(ask: Ask, machine: Machine) -> None:
    assert ask(f"Z0,{TICK:x},1") == "OK"
    assert machine.run().reason is StopReason.DEBUGGER
    # The addition at TICK + 5 is of 2 from now on.
    assert ask(f"M{TICK + 8:x},1:02") == "OK"
    assert ask(f"z0,{TICK:x},1") == "OK"
    machine.run(1_000_000)
    assert machine.partition.memory.read(COUNTER, 4) == b"\x10\0\0\0"


def test_breakpoints_are_set_and_taken_away(ask: Ask, machine: Machine) -> None:
    for kind, length in (("0", 1), ("1", 1), ("2", 4), ("3", 4), ("4", 8)):
        assert ask(f"Z{kind},{COUNTER:x},{length}") == "OK"
        assert ask(f"Z{kind},{COUNTER:x},{length}") == "OK"
    assert machine.debugging.breakpoints == {COUNTER}
    assert len(machine.debugging.watchpoints) == 3
    assert ask(f"z0,{COUNTER:x},1") == "OK"
    assert machine.debugging.breakpoints == {COUNTER}
    for kind, length in (("1", 1), ("2", 4), ("3", 4), ("4", 8)):
        assert ask(f"z{kind},{COUNTER:x},{length}") == "OK"
    assert machine.debugging.breakpoints == frozenset()
    assert not machine.debugging.watchpoints
    assert ask("Z5,1000,1") == ""
    assert ask("z,") == ""
    assert ask("Z2,1000,0") == "E01"
    assert ask("Z2,1000") == "E01"
    for number in range(40):
        ask(f"Z2,{0x1000 + 8 * number:x},4")
    assert len(machine.debugging.watchpoints) == 32
    assert ask("D") == "OK"
    assert not machine.debugging.watchpoints


def test_stop_replies_tell_why(ask: Ask, session: Session, machine: Machine) -> None:
    assert ask("?") == "T05thread:1;"
    ask("qSupported:swbreak+;hwbreak+")
    ask(f"Z1,{TICK:x},1")
    assert machine.run().reason is StopReason.DEBUGGER
    assert machine.debugging.stop is not None
    reply = session.stopped(machine.debugging.stop).decode()
    assert reply.startswith("T0510:0000910000000000;"[:6])
    assert "thread:1;core:0;" in reply
    assert reply.endswith("hwbreak:;")
    assert ask("?") == reply
    ask(f"z1,{TICK:x},1")
    ask(f"Z4,{COUNTER:x},4")
    assert machine.run().reason is StopReason.DEBUGGER
    assert session.stopped(machine.debugging.stop).decode().endswith(f"awatch:{COUNTER:x};")
    assert session.signalled(2).startswith(b"T02")


def test_going_on_is_left_to_the_server(ask: Ask, session: Session) -> None:
    for payload, step, first in (
        ("c", None, 0),
        ("C05", None, 0),
        ("s", 1, 0),
        ("vCont;s:1;c", 1, 0),
        ("vCont;r10,20:1", 1, 0x10),
    ):
        session.resumption = None
        assert ask(payload) == "nothing"
        assert session.resumption is not None
        assert (session.resumption.step, session.resumption.first) == (step, first)
    session.resumption = None
    assert ask("vCont;s:2") == "E01"
    assert ask("vCont;t") == "E01"
    assert ask("bs") == ""
    assert session.resumption is None
    assert ask("vKill;1") == "OK"
    assert session.killed


def test_the_monitor_is_asked(ask: Ask) -> None:
    assert "VP 0" in text(ask("qRcmd," + b"vp".hex()))
    assert "no command" in text(ask("qRcmd," + b"nonsense".hex()))
    assert ask("qRcmd,zz") == "E01"
    assert "no command" in text(ask("qRcmd," + b"\xff\xfe".hex()))


@pytest.mark.parametrize(
    "payload",
    [
        *(
            "",
            "m",
            "m,",
            "m-1,4",
            "m0,-4",
            "m1000,4,5",
            "M",
            "M0",
            "M0,1",
            "X",
            "X0",
            "P",
            "P=",
            "p",
        ),
        *("p-1", "G", "Gzz", "Z", "Z0", "Z0,", "Z0,zz,1", "z9,0,0", "H", "Hg", "HgX", "T", "T-1"),
        *("v", "vCont", "vCont;", "vCont;;;", "vFile:open:2f,0,0", "q", "qXfer", "qXfer:features"),
        *(
            "qXfer:features:read:target.xml",
            "qXfer:features:read:target.xml:z,1",
            "qRcmd",
            "qRcmd,",
        ),
        *(
            "qRcmd,0",
            "qThreadExtraInfo,",
            "qThreadExtraInfo,99",
            "Q",
            "b",
            "bx",
            "\x00",
            "\xff",
            "i",
        ),
        "m" + "f" * 5000,
        "P0=" + "f" * 5000,
        "qRcmd," + b"gpa 0xffffffffffffffff 0xffffffffffffffff".hex(),
        "qRcmd," + b"msr 0x10000000000000000".hex(),
    ],
)
def test_hostile_packets_get_an_answer(ask: Ask, payload: str) -> None:
    reply = ask(payload)
    assert reply == "nothing" or len(reply) <= 0x4000


def test_random_packets_get_an_answer(ask: Ask, session: Session) -> None:
    source = random.Random(1)
    starts = [
        "g",
        "G",
        "p",
        "P",
        "m",
        "M",
        "X",
        "Z",
        "z",
        "H",
        "T",
        "vCont;",
        "qXfer:",
        "qRcmd,",
        "q",
    ]
    for _ in range(3000):
        middle = "".join(
            source.choice("0123456789abcdef,;:-=pzgX}") for _ in range(source.randrange(24))
        )
        reply = session.handle((source.choice(starts) + middle).encode())
        assert reply is None or re.fullmatch(rb"[^$#]*", reply)
    assert ask("qC").startswith("QC")
