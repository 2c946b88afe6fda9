"""A built candidate and a memory layout come in, a contained process that runs it call by call goes out.

`Contained` is the judge's end of the conversation. It holds the clock: a call lasts from the command's departure to the
reply's arrival. Everything the other side says is checked for form and otherwise only used against it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import signal
import socket
import struct
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from .arena import NAME, PAGE, Arena
from .sandbox import kill
from .verdict import Finding

CLOCK_CALLS = {164: "settimeofday", 227: "clock_settime", 159: "adjtimex", 305: "clock_adjtime"}
_MOST_REPLY = 1 << 20
BUSY_NS = 6_000_000
STARVED_WAITS = 8  # further waits of half the limit each, for a process that a busy machine keeps from running
MUCH_MEMORY = 2 << 30


class Ended(Exception):
    """The candidate's process can take no more calls; `finding` says why."""

    def __init__(self, finding: Finding):
        self.finding = finding
        super().__init__(finding.message)


@dataclass
class Contained:
    """One process of a candidate. `pid` is its number on this machine; `repeats`: its runner can repeat calls by itself."""

    process: subprocess.Popen
    channel: socket.socket
    arena: Arena
    keep: tuple[int, ...] = ()
    repeats: bool = False
    pid: int = 0
    _pending: bytes = b""
    calls: int = 0
    threads: tuple[int, int] = (0, 0)
    _closed: bool = field(default=False)
    _used_ns: int = 0
    _mapped: list[str] = field(default_factory=list)

    def wait_ready(self, timeout: float) -> None:
        """Waits until the candidate is loaded. Raises `Ended`."""
        self.channel.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        for fd in self.keep:
            os.close(fd)
        line = self._line(time.perf_counter() + timeout, timeout, "loading")
        if line != "ready":
            raise Ended(self._told(line, "while loading"))
        self._mapped = self._mappings()

    def run(self, first: int, last: int, timeout: float, stirred: bool = False) -> float:
        """Calls the kernel once on each slot of `first..last-1`; returns the seconds that took. Raises `Ended`.

        `stirred`: the runner stops its threads at arbitrary instructions for a moment (native candidates only).
        """
        return self._calls("stir" if stirred else "run", f"{first} {last}", last - first, timeout)

    def run_often(self, first: int, last: int, repeats: int, timeout: float) -> float:
        """As `run`, `repeats` times over in one go; before each call some word of every output is spoilt. Where `self.repeats` only."""
        return self._calls("time", f"{first} {last} {repeats}", (last - first) * repeats, timeout)

    def _calls(self, verb: str, slots: str, count: int, timeout: float) -> float:
        token = secrets.token_hex(7)
        if self._pending or select.select([self.channel], [], [], 0)[0]:
            raise Ended(self._end(Finding("sandbox-violation", "it wrote to the judge's channel")))
        self._used_ns = self._processor_ns()
        command = f"{verb} {token} {slots}\n".encode()
        start = time.perf_counter()
        self._send(command)
        line = self._line(start + timeout, timeout, "a call")
        seconds = time.perf_counter() - start
        words = line.split()
        if len(words) != 5 or words[0] != "ok" or words[1].lstrip("0") != token.lstrip("0"):
            raise Ended(self._told(line, f"in call {self.calls + 1}"))
        self.calls += count
        self.threads = (int(words[2]), int(words[3]))
        if words[4] == "1":
            raise Ended(self._end(Finding("memory", "an allocation beyond the limit failed")))
        return seconds

    def ask(self, command: str, timeout: float = 20.0) -> str:
        """Another command's reply, one line without its token."""
        token = secrets.token_hex(7)
        verb, _, rest = command.partition(" ")
        self._send(f"{verb} {token} {rest}".rstrip().encode() + b"\n")
        line = self._line(time.perf_counter() + timeout, timeout, verb)
        words = line.split(" ", 2)
        if len(words) < 2 or words[0] != verb or words[1].lstrip("0") != token.lstrip("0"):
            raise Ended(self._told(line, f"at {verb}"))
        return words[2] if len(words) > 2 else ""

    def leftovers(self) -> Finding | None:
        """What still lives or works after a call has returned: other threads, processes, or work in the background; fences that are gone."""
        tasks = self._tasks()
        if self._mapped and self._mappings() not in ([], self._mapped):
            return Finding("out-of-bounds", "it has mapped its buffers, or the fences between them, anew")
        if self.threads[0] > 0:
            return Finding("sandbox-violation", f"{self.threads[0]} threads were left running at return")
        if self.threads[1] >= 0 and tasks and len(tasks) > 1 + self.threads[1]:
            return Finding("sandbox-violation", f"{len(tasks) - 1 - self.threads[1]} threads were left running at return")
        if self._children():
            return Finding("sandbox-violation", "processes were left running at return")
        busy = [self._busy_ns(pause) for pause in (0.02, 0.06, 0.12)] if self._busy_ns(0.02) > BUSY_NS else [0]
        if min(busy) > BUSY_NS:
            return Finding("sandbox-violation", f"work went on in the background after return ({min(busy) / 1e6:.0f} ms of 15)")
        return None

    def _busy_ns(self, pause: float) -> int:
        """Processor time used in 15 ms that begin after a pause."""
        time.sleep(pause)
        before = self._processor_ns()
        time.sleep(0.015)
        return self._processor_ns() - before

    def clock_drift(self) -> Finding | None:
        """Holds the process's own clocks against the judge's over 30 ms."""
        earliest = time.perf_counter()
        first, latest = self.ask("clock"), time.perf_counter()
        time.sleep(0.03)
        least = time.perf_counter() - latest
        second = self.ask("clock")
        most = time.perf_counter() - earliest
        for a, b in zip(first.split(), second.split()):
            told = (int(b) - int(a)) / 1e9
            if not least * 0.9 - 0.002 < told < most * 1.1 + 0.002:
                return Finding(
                    "timer-tamper", f"its clock moved {told * 1e3:.1f} ms in {least * 1e3:.0f} to {most * 1e3:.0f} ms"
                )
        return None

    def close(self) -> None:
        """Ends the process and all it started."""
        if not self._closed:
            self._closed = True
            kill(self.process)
            self.channel.close()
            self.arena.close()

    # ---- the channel ----
    def _send(self, data: bytes) -> None:
        try:
            self.channel.sendall(data)
        except OSError:
            raise Ended(self._gone("before a call")) from None

    def _line(self, deadline: float, limit: float, doing: str) -> str:
        while b"\n" not in self._pending:
            if len(self._pending) > _MOST_REPLY:
                raise Ended(self._end(Finding("sandbox-violation", "it floods the judge's channel")))
            self._receive(deadline, limit, doing)
        line, _, self._pending = self._pending.partition(b"\n")
        return line.decode(errors="replace")

    def _receive(self, deadline: float, limit: float, doing: str) -> None:
        waits = [max(0.0, deadline - time.perf_counter()), *[limit / 2] * STARVED_WAITS]
        while not select.select([self.channel], [], [], waits.pop(0))[0]:
            if not waits or not self._starved(limit):
                raise Ended(self._end(self._late(doing, limit)))
        try:
            data, ancillary, _, _ = self.channel.recvmsg(4096, socket.CMSG_SPACE(12))
        except OSError:
            data, ancillary = b"", []
        if not data:
            raise Ended(self._gone(f"in {doing}"))
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS and not self.pid:
                self.pid = struct.unpack("3i", content[:12])[0]
        self._pending += data

    def _starved(self, limit: float) -> bool:
        """True where it could run but was given little processor time: the machine is busy, not the candidate slow."""
        used = self._processor_ns() - self._used_ns
        return used < 0.5e9 * limit and any(
            _read(f"/proc/{self.pid}/task/{t}/stat").rpartition(")")[2][1:2] == "R" for t in self._tasks()
        )

    def _late(self, doing: str, limit: float) -> Finding:
        """A timeout, or what made it late: memory beyond all need."""
        held = _read(f"/proc/{self.pid}/statm").split()
        resident = int(held[1]) * PAGE - self.arena.layout.size if len(held) > 1 else 0
        if resident > MUCH_MEMORY:
            return Finding("memory", f"{doing} takes more than {limit:.0f} s and holds {resident >> 30} GiB")
        return Finding("timeout", f"{doing} takes more than {limit:.0f} s")

    # ---- how it ended ----
    def _end(self, finding: Finding) -> Finding:
        self.close()
        return finding

    def _told(self, line: str, when: str) -> Finding:
        """What the runner reports of its own end."""
        words = line.split()
        verb = words[0] if words else ""
        number = int(words[1]) if len(words) > 1 and words[1].lstrip("-").isdigit() else 0
        if verb == "syscall":
            code = "timer-tamper" if number in CLOCK_CALLS else "sandbox-violation"
            return self._end(Finding(code, f"it made a system call that no kernel needs (number {number}) {when}"))
        if verb == "fence":
            return self._end(Finding("out-of-bounds", f"it touched memory beside its buffers {when}"))
        if verb == "signal":
            full = len(words) > 2 and words[2] == "1"
            return self._end(_by_signal(number, when, full))
        if verb == "memory":
            return self._end(Finding("memory", f"an allocation failed {when}"))
        if verb == "exception":
            return self._end(Finding("crash", f"it threw {' '.join(words[1:]) or 'an exception'} {when}"[:300]))
        if verb == "shape":
            return self._end(Finding("wrong-shape", " ".join(words[1:])[:300]))
        if verb == "violation":
            return self._end(Finding("sandbox-violation", " ".join(words[1:])[:300]))
        if verb == "timer":
            return self._end(Finding("timer-tamper", " ".join(words[1:])[:300]))
        if verb == "no-model":
            return self._end(Finding("compile-error", " ".join(words[1:])[:300]))
        if verb == "gone":
            return self._end(
                _by_signal(number, when, False) if number else Finding("crash", f"it left {when} (exit {words[-1]})")
            )
        if verb in {"no-library", "no-kernel"}:
            why = 'it defines no extern "C" kernel' if verb == "no-kernel" else "it cannot be loaded: " + " ".join(words[1:])
            return self._end(Finding("compile-error", why[:300]))
        return self._end(Finding("sandbox-violation", f"it spoke out of turn on the judge's channel {when}"))

    def _gone(self, when: str) -> Finding:
        """The process ended without a word."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=2)
        code = self.process.poll()
        self.close()
        if code is None or code == 0:
            return Finding("crash", f"it left {when} (exit 0)")
        if code > 128 or code < 0:
            return _by_signal(code - 128 if code > 128 else -code, when, False)
        return Finding("crash", f"it left {when} (exit {code})")

    # ---- what the machine says of it ----
    def _tasks(self) -> list[str]:
        try:
            return os.listdir(f"/proc/{self.pid}/task") if self.pid else []
        except OSError:
            return []

    def _mappings(self) -> list[str]:
        """Ranges and rights of the shared memory in its address space; none where this user may not look."""
        lines = _read(f"/proc/{self.pid}/maps").splitlines()
        return [" ".join(line.split()[:2]) for line in lines if NAME in line]

    def _children(self) -> bool:
        return any(_read(f"/proc/{self.pid}/task/{task}/children").strip() for task in self._tasks())

    def _processor_ns(self) -> int:
        texts = [_read(f"/proc/{self.pid}/task/{task}/schedstat").split() for task in self._tasks()]
        return sum(int(t[0]) for t in texts if t)


def _by_signal(number: int, when: str, full: bool) -> Finding:
    name = signal.Signals(number).name if number in {s.value for s in signal.Signals} else f"signal {number}"
    if full:
        return Finding("memory", f"it ran out of memory {when} ({name})")
    if number == signal.SIGSYS:
        return Finding("sandbox-violation", f"it made a system call that no kernel needs {when}")
    if number == signal.SIGXCPU:
        return Finding("timeout", f"it used up its processor time {when}")
    if number == signal.SIGKILL:
        return Finding("memory", f"it was killed {when}, most likely for memory")
    return Finding("crash", f"{name} {when}")


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
