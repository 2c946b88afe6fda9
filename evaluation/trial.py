"""A task's cases and a way to start the candidate come in, checked calls go out: what failed, where, in which order.

The first process sees the task's own inputs at one address, others there, the first again elsewhere, single changed elements,
then every family; the second process sees them shuffled, with other poison, other threads and other addresses.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from .contained import Contained
from .correctness import Case, Miss, compare, load_case, place, poison
from .host import Asked
from .library import reference_call
from .verdict import CannotJudge, Finding
from .workers import Maker

KEEP_BYTES = 1 << 30
FEW = 10
FEWEST, LONG = 6, 6  # so many cases at least, although they take so many times the budget
QUICK_S = 0.05
CANDIDATE_S = 10.0


@dataclass
class Failure:
    """One call whose outputs are beyond their allowance, with what it left and what its process had seen before."""

    case: Case
    misses: list[Miss]
    outputs: list[np.ndarray]
    poisoned: str
    before: list[str]
    stage: str

    @property
    def worst(self) -> Miss:
        """The output that stands worst."""
        return max(self.misses, key=lambda m: m.ratio)

    def finding(self, code: str, lead: str = "") -> Finding:
        """The failure under a code, in words."""
        miss = self.worst
        text = f"{lead}{miss.got:.9g} where {miss.wanted:.9g} is right: error {miss.error:.3g}, allowed {miss.tolerance:.3g}; {miss.count} elements"
        return Finding(code, text, place(miss, self.case.family))


class Cases:
    """Draws cases from the reference within a time budget, one ahead of the candidate, and keeps what fits in memory."""

    def __init__(self, reference: Asked, description, budget_s: float):
        self.reference, self.description, self.budget_s = reference, description, budget_s
        self.kept: dict[str, Case] = {}
        self.spent = 0.0
        self.seeds = random.SystemRandom()
        self.own_seed = self.seeds.getrandbits(40)
        self.skipped: list[str] = []

    def wanted(self) -> list[tuple[str, str, int]]:
        """(key, family, seed) in order of importance."""
        own = [("own0", "own", self.own_seed), ("own1", "own", self.seeds.getrandbits(40))]
        names = [n for n in self.description.families if n != "own"]
        if not names:
            return [*own, *((f"own{i}", "own", self.seeds.getrandbits(40)) for i in range(2, 8))]
        touch = [(f"touch{i}", f"touch:{i}", self.own_seed) for i in range(4)]
        few = [(f"few{i}", f"few:{i}", self.seeds.getrandbits(40)) for i in range(FEW)] if "many zeros" in names else []
        rest = [(f"{name} {i}", name, self.seeds.getrandbits(40)) for i, name in enumerate(names)]
        return [*own, touch[0], *few[:2], *rest, *touch[1:], *few[2:]]

    def __iter__(self) -> Iterator[Case]:
        """Cases as they come; the next is computed while the candidate works on this one."""
        queue = self.wanted()
        least = len(queue) - FEW if self.description.eager_s < QUICK_S else 10
        self._ask(queue[0])
        for at, (key, _, _) in enumerate(queue):
            got = self.reference.receive("case", 120.0)
            if not isinstance(got, str):
                self.spent += got.seconds
            more = at + 1 < len(queue) and (at + 1 < (least if self.spent < LONG * self.budget_s else FEWEST) or self.spent < self.budget_s)
            if more:
                self._ask(queue[at + 1])
            if isinstance(got, str):
                self.skipped.append(got)
            else:
                case = load_case(key, got)
                if key.startswith("own") or sum(c.nbytes for c in self.kept.values()) + case.nbytes < KEEP_BYTES:
                    self.kept[key] = case
                yield case
            if not more:
                return

    def _ask(self, wanted: tuple[str, str, int]) -> None:
        key, family, seed = wanted
        self.reference.send("case", key, family, seed, 4 if self.description.eager_s < 0.03 else 2)

    def of_family(self, family: str) -> Case | None:
        """One more case of a family, to tell causes apart; None where the family does not apply."""
        got = self.reference.call("case", f"more {family}", family, self.seeds.getrandbits(40), 2, timeout=120.0)
        return None if isinstance(got, str) else load_case(f"more {family}", got)

    def another(self, key: str, seed: int, exact: bool = True) -> Case:
        """One more case of the task's own kind, for timing; without `exact` its outputs are eager's, without tolerances."""
        got = self.reference.call("case", key, "own", seed, 2 if exact else 0, timeout=120.0)
        if isinstance(got, str):
            raise CannotJudge(f"the reference fails on its own inputs: {got}")
        self.kept[key] = load_case(key, got)
        return self.kept[key]


class Trial:
    """Runs a candidate on cases and checks every output. `worst` is the element nearest to or furthest beyond its allowance."""

    def __init__(self, cases: Cases, maker: Maker, description, threads: int):
        self.cases, self.maker, self.description, self.threads = cases, maker, description, threads
        self.signature = description.signature
        self.outputs = self.signature.of("output")
        self.failures: list[Failure] = []
        self.checked = 0
        self.worst: Miss | None = None
        self.notes: list[str] = []
        self.call_s = max(10.0, 200 * description.eager_s)
        self.longest_s = 0.0
        self.spent_s = 0.0
        self._open: list[Contained] = []
        self._before: dict[int, list[str]] = {}
        self._stage = "first process"

    # ---- processes ----
    def start(self, slots: int, threads: int) -> Contained:
        """A new process of the candidate. Raises `Ended`."""
        scalars = self.cases.kept["own0"].scalars
        wide = tuple(scalars) + (None,) * (len(self.signature.arguments) - len(scalars))
        contained = self.maker.start(wide, slots, threads)
        self._open.append(contained)
        self._before[id(contained)] = []
        return contained

    def close(self) -> None:
        """Ends every process of the candidate."""
        for contained in self._open:
            contained.close()

    def set_stage(self, name: str) -> None:
        """Names what later failures belong to."""
        self._stage = name

    # ---- one call ----
    def fill(self, contained: Contained, slot: int, case: Case, poisoned: str) -> None:
        """Puts a case's inputs and fresh poison into a slot."""
        buffers = contained.arena.layout.slots[slot]
        values = iter(case.arrays)
        at = 0
        for argument in self.signature.arguments:
            array = poison(argument, poisoned) if argument.role == "output" else next(values)
            if argument.kind == "tensor":
                contained.arena.fence(buffers[at])
                contained.arena.fill(buffers[at], array)  # pyright: ignore[reportArgumentType]
                at += 1

    def check(self, contained: Contained, slot: int, case: Case, poisoned: str) -> list[Finding]:
        """Compares a slot after its call: fences, inputs, outputs. A wrong output goes to `failures`."""
        if self.maker.collects:
            contained.ask(f"collect {slot}")
        buffers, found, at = contained.arena.layout.slots[slot], [], 0
        values, misses, outputs = iter(case.arrays), [], []
        for position, argument in enumerate(self.signature.arguments):
            array = next(values) if argument.role != "output" else None
            if argument.kind != "tensor":
                continue
            seen = contained.arena.view(buffers[at], argument.storage, argument.shape)
            if contained.arena.fence_broken(buffers[at]):
                found.append(Finding("out-of-bounds", f"bytes beside {argument.name} have changed", f"inputs {case.family!r}"))
            at += 1
            if argument.role == "output":
                copy = seen.copy()
                number = len(misses)
                misses.append(compare(number, copy, argument, case.outputs[number], poisoned))
                outputs.append(copy)
            elif not self._may_change(position, argument) and not np.array_equal(
                seen.view(np.uint8).reshape(-1), np.ascontiguousarray(array).view(np.uint8).reshape(-1)
            ):
                found.append(Finding("input-mutation", f"{argument.name} was changed", f"inputs {case.family!r}"))
        self.checked += 1
        self._note(contained, case, misses, outputs, poisoned)
        return found

    def _may_change(self, position: int, argument) -> bool:
        """What the reference itself changes (running statistics) a candidate may change too."""
        return position in self.description.mutated or (
            argument.role == "state"
            and argument.name.rsplit(".", 1)[-1] in {"running_mean", "running_var", "num_batches_tracked"}
        )

    def _note(self, contained: Contained, case: Case, misses: list[Miss], outputs: list[np.ndarray], poisoned: str) -> None:
        for miss in misses:
            if self.worst is None or miss.ratio > self.worst.ratio:
                self.worst = miss
        if any(m.wrong for m in misses):
            self.failures.append(Failure(case, misses, outputs, poisoned, list(self._before[id(contained)]), self._stage))
        self._before[id(contained)].append(case.key)

    def ran(self, contained: Contained, cases: Iterable[Case]) -> None:
        """Notes calls whose outputs nobody looked at: what fails after them did not fail in a fresh process."""
        self._before[id(contained)] += [c.key for c in cases]

    def call(self, contained: Contained, slot: int, case: Case, poisoned: str = "nan", stirred: bool = False) -> list[Finding]:
        """Fills a slot, calls once, checks. Raises `Ended`."""
        self.fill(contained, slot, case, poisoned)
        seconds = contained.run(slot, slot + 1, self.call_s, stirred)
        self.longest_s = max(self.longest_s, seconds)
        self.spent_s += seconds
        return self.check(contained, slot, case, poisoned)

    # ---- sequences ----
    def first_process(self) -> list[Finding]:
        """The long sequence. Stops early when enough has failed or a slow candidate has used up its time."""
        found: list[Finding] = []
        contained: Contained | None = None
        for number, case in enumerate(self.cases):
            if contained is None:
                self.cases.kept.setdefault(case.key, case)
                contained = self.start(2, self.threads)
            found += self.call(contained, int(number % 3 == 2), case, "nan" if number % 2 == 0 else "finite")
            if number == 0:
                found += [f for f in [contained.leftovers(), contained.clock_drift()] if f]
            if number == 1:
                found += self.call(contained, 1, self.cases.kept["own0"], "finite")
            if found or len(self.failures) >= 6 or (self.spent_s > CANDIDATE_S and number >= 8):
                break
        if contained and not found and not self.failures:
            for slot in (0, 0, 1):
                found += self.call(contained, slot, self.cases.kept["own0"])
            found += [f for f in [contained.leftovers()] if f]
        return found

    def watched_calls(self) -> list[Finding]:
        """Runs a call under the dispatcher's eyes, in a process that has made a few before."""
        contained = self.start(1, self.threads)
        self.fill(contained, 0, self.cases.kept["own0"], "nan")
        found = self.watched_call(contained, random.SystemRandom().randrange(2, 40))
        contained.close()
        return found

    def watched_call(self, contained: Contained, before: int = 0) -> list[Finding]:
        """Which library operators one call on slot 0 reaches, after `before` others; the slot is filled."""
        told = json.loads(contained.ask(f"observe {before}", 60.0))
        seen = [(name, int(size)) for name, (size, count) in told["operators"].items() for _ in range(min(int(count), 1000))]
        finding = reference_call(self.description.calls, seen, [str(name) for name in told["spoken"]])
        return [finding] if finding else []

    def second_process(self) -> list[Finding]:
        """Another order in a process with more threads than processors: kept state and races show."""
        self._stage = "second process"
        order = list(self.cases.kept.values())
        random.SystemRandom().shuffle(order)
        contained = self.start(3, 2 * self.threads + 1)
        found: list[Finding] = []
        started = time.perf_counter()
        for number, case in enumerate(order[:14]):
            found += self.call(contained, number % 3, case, "finite" if number % 2 == 0 else "nan")
            if found or len(self.failures) >= 3 or (time.perf_counter() - started > CANDIDATE_S / 2 and number >= 4):
                break
        repeats = 0
        while not found and not self.failures and repeats < 12 and time.perf_counter() - started < 1.0:
            found += self.call(contained, 0, self.cases.kept["own1"], stirred=self.maker.stirs)
            repeats += 1
        return found
