"""A build: a folder, a count and a seed come in, a data set goes out. Programs are drawn in order, worker processes make pairs, one file remembers.

Never more programs are under way than pairs are wanted, so that the pairs are those of the first numbers whatever the order in which workers
finish. Ctrl-C and kill -9 leave a folder that `--resume` goes on with.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..backends.toolchain import cores
from ..ir.diagnostic import Unreadable, WarploomError
from .dedup import sources_key
from .record import Reject
from .sample import Coverage, Exhausted, propose
from .sources import Sources, digest, read_sources
from .state import Drawn, State

MOST_REJECTED = 0.6
"""A build in which more is rejected, after ENOUGH programs, stops: something is wrong with the machine or with us."""
ENOUGH = 40
FINISH_SECONDS = 900


class TooManyRejected(WarploomError):
    """Most programs give no pair. The rejects table says why each did not."""

    code = "WL-E116"
    exit_code = 1


class WorkerLost(WarploomError):
    """A worker process ended before its pair was made, again and again: out of memory, or killed. What was done is kept."""

    code = "WL-E117"
    exit_code = 3


@dataclass(frozen=True)
class Progress:
    """What a reader wants to know: pairs done and wanted, rejected, pairs a minute of this spell, minutes left."""

    pairs: int
    count: int
    rejected: int
    rate: float
    left: float
    last: str

    def __str__(self) -> str:
        left = f"{self.left:.0f} min left" if self.left < 1e6 else "time left unknown"
        share = self.pairs / max(1, self.pairs + self.rejected)
        return f"{self.pairs}/{self.count} pairs, yield {share:.0%}, {self.rate:.1f} a minute, {left}; {self.last}"


Show = Callable[[Progress], None]


@dataclass(frozen=True)
class Request:
    """`workers` 0: one a processor; `models` whose parts become programs; `avoid`: benchmarks that no program may repeat;
    `operators`: the only ones to make programs of."""

    out: Path
    count: int
    seed: int = 0
    resume: bool = False
    workers: int = 0
    models: tuple[str, ...] = ()
    avoid: tuple[str, ...] = ()
    operators: tuple[str, ...] = ()

    def check(self) -> None:
        """Raises Unreadable."""
        if self.count < 1:
            raise Unreadable(f"--count {self.count}: at least one pair")
        if self.workers < 0:
            raise Unreadable(f"--workers {self.workers}: 0 (one a processor) or more")
        if self.seed < 0:
            raise Unreadable(f"--seed {self.seed}: 0 or more")


def build(request: Request, show: Show) -> State:
    """Draws and makes until there are `count` pairs. The caller closes the state. Raises OtherDataset, CannotWrite, Busy, Exhausted."""
    request.check()
    sources = read_sources(request.models, request.avoid, request.operators)
    state = State(request.out)
    try:
        for line in sources.left_out:
            print(f"left out: {line}", file=sys.stderr)
        state.agree({"seed": str(request.seed), "sources": digest(sources)}, request.resume)
        run = _Run(request, state, show, sources)
        if state.count("pair") < request.count:
            run.work()
        return state
    except BaseException:
        state.close()
        raise


class _Run:
    def __init__(self, request: Request, state: State, show: Show, sources: Sources):
        self.request, self.state, self.show, self.sources = request, state, show, sources
        self.coverage = Coverage()
        self.waiting: list[Drawn] = []
        self.next = 0
        for drawn in state.all_drawn():
            self.coverage.add(drawn)
            self.next = drawn.number + 1
            if drawn.outcome is None:
                self.waiting.append(drawn)
        self.pairs, self.rejected = state.count("pair"), state.count("reject")
        self.finished = 0
        self.texts = {_sources(text, number): number for number, _, text in state.results("pair")}
        self.spell = state.spells() + 1
        self.started = time.perf_counter()
        self.answers: queue.Queue[tuple[_Worker, str]] = queue.Queue()

    def work(self) -> None:
        cache = self.request.out / "work"
        workers = [_Worker(self.answers, cache) for _ in range(self.request.workers or cores())]
        try:
            self._drive(workers)
        finally:
            for w in workers:
                w.close()
        shutil.rmtree(cache, ignore_errors=True)

    def _drive(self, workers: list[_Worker]) -> None:
        lost = 0
        self._feed(workers)
        while any(w.busy for w in workers):
            try:
                worker, line = self.answers.get(timeout=FINISH_SECONDS)
            except queue.Empty:
                raise WorkerLost(f"no worker answered within {FINISH_SECONDS} s") from None
            drawn, worker.busy = worker.busy, None
            if drawn is None:
                continue
            if line:
                self._take(drawn, line)
            else:
                lost += 1
                if lost > 3 * len(workers):
                    raise WorkerLost("worker processes end before they answer")
                self.waiting.insert(0, drawn)
                worker.restart()
            self._feed(workers)

    def _take(self, drawn: Drawn, line: str) -> None:
        answer = json.loads(line)
        outcome, result = answer["outcome"], answer["result"]
        if outcome == "pair":
            outcome, result = self._distinct(drawn, result)
        self.state.finish(drawn.number, outcome, result, answer["seconds"])
        self.finished += 1
        self.state.spent(self.spell, time.perf_counter() - self.started, self.finished)
        good = outcome == "pair"
        self.pairs += good
        self.rejected += not good
        self._say("+".join(drawn.program.operators)[:60] + ("" if good else ": " + json.loads(result)["code"]))
        if self.finished >= ENOUGH and self.rejected > MOST_REJECTED * (self.pairs + self.rejected):
            raise TooManyRejected(f"{self.rejected} of {self.pairs + self.rejected} programs were rejected")

    def _distinct(self, drawn: Drawn, result: str) -> tuple[str, str]:
        """Of two pairs with equal sources the one of the lower number stays, whichever was made first."""
        key = _sources(result, drawn.number)
        other = self.texts.get(key)
        if other is not None and other < drawn.number:
            return "reject", _duplicate(drawn.number, result, other)
        if other is not None:
            self.state.refuse(other, _duplicate(other, self.state.result(other), drawn.number))
            self.pairs -= 1
            self.rejected += 1
        self.texts[key] = drawn.number
        return "pair", result

    def _say(self, last: str) -> None:
        minutes = (time.perf_counter() - self.started) / 60
        rate = self.finished * self.pairs / max(1, self.pairs + self.rejected) / max(minutes, 1e-6)
        self.show(Progress(self.pairs, self.request.count, self.rejected, rate, (self.request.count - self.pairs) / max(rate, 1e-9), last))

    def _feed(self, workers: list[_Worker]) -> None:
        for w in workers:
            under_way = sum(x.busy is not None for x in workers)
            if w.busy is None and self.pairs + under_way < self.request.count:
                drawn = self.waiting.pop(0) if self.waiting else self._draw()
                w.give(drawn, self.request.seed)

    def _draw(self) -> Drawn:
        """The next program; a number at which nothing new is found is passed over."""
        failed = 0
        while True:
            try:
                proposal = propose(self.request.seed, self.next, self.coverage, self.sources)
            except Exhausted:
                failed += 1
                if failed > 5:
                    raise
                self.next += 1
                continue
            for why, times in proposal.skipped.items():
                self.state.skip(why, times)
            self.state.draw(proposal.drawn)
            self.coverage.add(proposal.drawn)
            self.next += 1
            return proposal.drawn


def _sources(result: str, number: int) -> str:
    try:
        row = json.loads(result)
        return sources_key(row["cuda_source"], row["cuda_launches"], row["c_source"])
    except (ValueError, KeyError, TypeError) as error:
        raise Unreadable(f"the pair of program {number} is corrupted: {error}") from None


def _duplicate(number: int, result: str, other: int) -> str:
    """The rejection of the pair of `number`, equal to that of `other`."""
    row = json.loads(result)
    return Reject(
        number=number, code="duplicate", side="both", reason=f"its sources equal those of program {other} but for names", category=row["category"],
        operators=row["operators"], graph=row["graph"], cuda_source=row["cuda_source"], c_source=row["c_source"],
    ).model_dump_json()  # fmt: skip


class _Worker:
    """A worker process; its answers go to the queue, an empty one when it ends."""

    def __init__(self, answers: queue.Queue, cache: Path):
        self.answers, self.cache = answers, cache
        self.busy: Drawn | None = None
        self.restart()

    def restart(self) -> None:
        env = {**os.environ, "WARPLOOM_CACHE": str(self.cache.resolve()), "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "warploom.datasets.worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, text=True, start_new_session=True
        )
        threading.Thread(target=self._listen, args=(self.process,), daemon=True).start()

    def _listen(self, process: subprocess.Popen) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.answers.put((self, line))
        self.answers.put((self, ""))

    def give(self, drawn: Drawn, seed: int) -> None:
        assert self.process.stdin is not None
        self.busy = drawn
        try:
            self.process.stdin.write(json.dumps({"number": drawn.number, "seed": seed, "program": drawn.program.to_json()}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # its end is in the queue already

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
