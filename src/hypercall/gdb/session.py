"""What one connected gdb asks and is told: the commands of the remote serial protocol.

GDB manual, Remote Serial Protocol: Packets, Stop Reply Packets, General Query Packets.
"""

from collections.abc import Callable, Mapping
from xml.sax.saxutils import quoteattr

from hypercall.errors import HypercallError, InputError
from hypercall.gdb.monitor import Monitor
from hypercall.gdb.numbers import address_range, hex_bytes, hex_number, thread_number
from hypercall.gdb.packets import MOST_PAYLOAD, escape, unescape
from hypercall.gdb.resumption import ACTIONS, Resumption, parse_actions
from hypercall.gdb.target import Point, Target
from hypercall.machine.debugging import Access, DebugStop, StopKind

SIGNAL_INTERRUPT = 2
SIGNAL_TRAP = 5
SIGNAL_ABORT = 6
# Half of it in hexadecimal digits, with room for what stands around them.
_MOST_MEMORY = MOST_PAYLOAD // 2 - 16
_ERROR = b"E01"
_OK = b"OK"
_WATCH_NAMES: Mapping[Access, bytes] = {
    Access.WRITE: b"watch",
    Access.READ: b"rwatch",
    Access.READ | Access.WRITE: b"awatch",
}


class Session:
    """The state of one connection.

    Args:
        target: the machine.
        monitor: serves ``monitor`` commands.
        reversible: whether the run can go back.

    Attributes:
        thread: the thread that registers and memory are asked of.
        resumption: how the guest is to go on; None while it is stopped.
        detached: gdb has left the guest to itself.
        killed: gdb wants the guest to end.
        quiet: packets are not acknowledged any more.
        changed: gdb has changed registers or memory.
        stop: the last stop reply.
    """

    def __init__(self, target: Target, monitor: Monitor, *, reversible: bool) -> None:
        self._target = target
        self._monitor = monitor
        self._reversible = reversible
        self.thread = target.current_thread
        self._step_thread = self.thread
        # gdb does not say which thread its user looks at when a monitor command is typed.
        self._stopped_thread = self.thread
        self.resumption: Resumption | None = None
        self.detached = False
        self.killed = False
        self.quiet = False
        self.changed = False
        self.stop = b"T%02xthread:%x;" % (SIGNAL_TRAP, self.thread)
        self._knows_breakpoint_stops = False
        self._commands: dict[bytes, Callable[[bytes], bytes | None]] = {
            b"?": lambda rest: self.stop,
            b"g": self._read_registers,
            b"G": self._write_registers,
            b"p": self._read_register,
            b"P": self._write_register,
            b"m": self._read_memory,
            b"M": self._write_memory,
            b"X": self._write_binary,
            b"Z": self._insert,
            b"z": self._remove,
            b"H": self._choose_thread,
            b"T": self._thread_lives,
            b"c": self._continue,
            b"C": self._continue,
            b"s": self._step,
            b"S": self._step,
            b"b": self._backward,
            b"D": self._detach,
            b"k": self._kill,
            b"v": self._verbose,
            b"q": self._query,
            b"Q": self._set,
        }

    def handle(self, payload: bytes) -> bytes | None:
        """Carry out a command.

        Args:
            payload: what came, as it was sent.

        Returns:
            The reply; None for none, or none yet.
        """
        command = self._commands.get(payload[:1])
        if command is None:
            return b""
        try:
            return command(payload[1:])
        except HypercallError:
            return _ERROR

    # --- stop replies ----------------------------------------------------------------------------

    def stopped(self, stop: DebugStop) -> bytes:
        """The reply for a stop at a breakpoint, watchpoint or step."""
        thread = stop.vp.index + 1
        reason = b""
        if stop.kind is StopKind.WATCHPOINT:
            reason = b"%b:%x;" % (_WATCH_NAMES[stop.access], stop.address)
        elif self._knows_breakpoint_stops:
            point = self._target.breakpoint_at(self._target.machine.debugging.linear_pc(stop.vp))
            if point is not None and stop.kind is StopKind.BREAKPOINT:
                reason = b"hwbreak:;" if point.kind == 1 else b"swbreak:;"
        return self.signalled(SIGNAL_TRAP, thread, reason)

    def signalled(self, signal: int, thread: int | None = None, reason: bytes = b"") -> bytes:
        """The reply for a stop with a signal; of the thread whose turn it is by default."""
        self.thread = thread or self._target.current_thread
        self._stopped_thread = self._step_thread = self.thread
        self.resumption = None
        registers = b""
        for name in ("rip", "rsp", "rbp", "eip", "esp", "ebp"):
            number = self._target.register_number(name)
            if number is not None:
                value = self._target.read_register(self.thread, number)
                registers += b"%02x:%b;" % (number, value.hex().encode())
        self.stop = b"T%02x%bthread:%x;core:%x;%b" % (
            signal,
            registers,
            self.thread,
            self.thread - 1,
            reason,
        )
        return self.stop

    # --- registers and memory --------------------------------------------------------------------

    def _read_registers(self, rest: bytes) -> bytes:
        return self._target.read_registers(self.thread).hex().encode()

    def _write_registers(self, rest: bytes) -> bytes:
        data = hex_bytes(rest)
        if data != self._target.read_registers(self.thread):
            self._target.write_registers(self.thread, data)
            self.changed = True
        return _OK

    def _read_register(self, rest: bytes) -> bytes:
        return self._target.read_register(self.thread, hex_number(rest)).hex().encode()

    def _write_register(self, rest: bytes) -> bytes:
        number, _, value = rest.partition(b"=")
        self._target.write_register(self.thread, hex_number(number), hex_bytes(value))
        self.changed = True
        return _OK

    def _read_memory(self, rest: bytes) -> bytes:
        address, length = address_range(rest)
        data = self._target.read_memory(self.thread, address, min(length, _MOST_MEMORY))
        return data.hex().encode()

    def _write_memory(self, rest: bytes) -> bytes:
        where, _, data = rest.partition(b":")
        return self._write(where, hex_bytes(data))

    def _write_binary(self, rest: bytes) -> bytes:
        where, _, data = rest.partition(b":")
        return self._write(where, unescape(data))

    def _write(self, where: bytes, data: bytes) -> bytes:
        address, length = address_range(where)
        if length != len(data):
            raise InputError(f"{length} bytes are announced, but {len(data)} came")
        self._target.write_memory(self.thread, address, data)
        self.changed = self.changed or bool(data)
        return _OK

    # --- breakpoints -----------------------------------------------------------------------------

    def _insert(self, rest: bytes) -> bytes:
        point = self._point(rest)
        if point is None:
            return b""
        self._target.insert(point)
        return _OK

    def _remove(self, rest: bytes) -> bytes:
        point = self._point(rest)
        if point is None:
            return b""
        self._target.remove(point)
        return _OK

    def _point(self, rest: bytes) -> Point | None:
        kind, _, where = rest.partition(b",")
        if kind not in (b"0", b"1", b"2", b"3", b"4"):
            return None
        address, length = address_range(where)
        return Point(int(kind), address, length)

    # --- threads ---------------------------------------------------------------------------------

    def _choose_thread(self, rest: bytes) -> bytes:
        operation, number = rest[:1], thread_number(rest[1:])
        if operation not in (b"g", b"c"):
            raise InputError("a thread is chosen for something unknown")
        if number > 0:
            self._target.vp(number)
            if operation == b"g":
                self.thread = number
            else:
                self._step_thread = number
        return _OK

    def _thread_lives(self, rest: bytes) -> bytes:
        self._target.vp(thread_number(rest))
        return _OK

    def _threads_xml(self) -> bytes:
        lines = ['<?xml version="1.0"?>', "<threads>"]
        for thread in self._target.threads:
            about = self._target.describe(thread)
            lines.append(
                f'<thread id="{thread:x}" core="{thread - 1}" '
                f"name={quoteattr(f'VP {thread - 1}')}>{about}</thread>"
            )
        lines.append("</threads>")
        return "\n".join(lines).encode()

    # --- going on --------------------------------------------------------------------------------

    def _continue(self, rest: bytes) -> None:
        self.resumption = Resumption()

    def _step(self, rest: bytes) -> None:
        self.resumption = Resumption(self._step_thread)

    def _backward(self, rest: bytes) -> bytes | None:
        if not self._reversible or rest not in (b"s", b"c"):
            return b""
        self.resumption = Resumption(self._step_thread if rest == b"s" else None, backward=True)
        return None

    def _detach(self, rest: bytes) -> bytes:
        self._target.remove_all()
        self.detached = True
        return _OK

    def _kill(self, rest: bytes) -> None:
        self._target.remove_all()
        self.killed = True

    def _verbose(self, rest: bytes) -> bytes | None:
        if rest == b"Cont?":
            return ACTIONS
        if rest.startswith(b"Cont;"):
            resumption = parse_actions(rest.removeprefix(b"Cont;"), self._step_thread)
            if resumption.step is not None:
                self._target.vp(resumption.step)
            self.resumption = resumption
            return None
        if rest.startswith(b"Kill"):
            self._kill(b"")
            return _OK
        return b""

    # --- queries ---------------------------------------------------------------------------------

    def _query(self, rest: bytes) -> bytes | None:
        name, _, arguments = rest.partition(b":")
        if name == b"Supported":
            return self._supported(arguments)
        if name == b"C":
            return b"QC%x" % self.thread
        if name == b"Attached" or rest.startswith(b"Attached"):
            return b"1"
        if name == b"fThreadInfo":
            return b"m" + b",".join(b"%x" % thread for thread in self._target.threads)
        if name == b"sThreadInfo":
            return b"l"
        if name == b"Symbol":
            return _OK
        if name == b"Xfer":
            return self._transfer(arguments)
        if rest.startswith(b"ThreadExtraInfo,"):
            thread = thread_number(rest.removeprefix(b"ThreadExtraInfo,"))
            return self._target.describe(thread).encode().hex().encode()
        if rest.startswith(b"Rcmd,"):
            return self._command(hex_bytes(rest.removeprefix(b"Rcmd,")))
        return b""

    def _supported(self, arguments: bytes) -> bytes:
        wanted = arguments.split(b";")
        self._knows_breakpoint_stops = b"swbreak+" in wanted and b"hwbreak+" in wanted
        answer = [
            b"PacketSize=%x" % MOST_PAYLOAD,
            b"QStartNoAckMode+",
            b"qXfer:features:read+",
            b"qXfer:threads:read+",
            b"vContSupported+",
            b"swbreak+",
            b"hwbreak+",
        ]
        if self._reversible:
            answer += [b"ReverseStep+", b"ReverseContinue+"]
        return b";".join(answer)

    def _transfer(self, arguments: bytes) -> bytes:
        subject, _, rest = arguments.partition(b":")
        operation, _, rest = rest.partition(b":")
        annex, _, where = rest.rpartition(b":")
        if operation != b"read":
            return b""
        if subject == b"features" and annex == b"target.xml":
            document = self._target.register_set.description()
        elif subject == b"threads" and annex == b"":
            document = self._threads_xml()
        else:
            return b"" if subject not in (b"features", b"threads") else b"E00"
        offset, length = address_range(where)
        piece = document[offset : offset + min(length, _MOST_MEMORY)]
        more = b"m" if offset + len(piece) < len(document) else b"l"
        return more + escape(piece)

    def _command(self, text: bytes) -> bytes:
        output = self._monitor.run(text.decode("utf-8", "replace"), self._stopped_thread)
        data = output.encode("utf-8", "replace")
        # Long answers would not fit into one packet; the rest of them would be of no use either.
        return data[:_MOST_MEMORY].hex().encode() or _OK

    def _set(self, rest: bytes) -> bytes:
        if rest == b"StartNoAckMode":
            self.quiet = True
            return _OK
        return b""
