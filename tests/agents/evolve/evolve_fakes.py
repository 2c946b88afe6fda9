"""What a test puts in the place of clocks, the judge and a model: times that are a function of the program, and scripted answers."""

import hashlib

from warploom.agents.evolve.judged import Judging, TooSlow
from warploom.agents.evolve.race import Timing
from warploom.agents.llm import Budget, NoReply, Reply
from warploom.evaluation.verdict import Finding, Verdict

PROBLEM = """
import torch
import torch.nn as nn

class Model(nn.Module):
    def forward(self, x):
        return torch.softmax(x * 2.0, 1)

def get_inputs():
    return [torch.randn(24, 70)]

def get_init_inputs():
    return []
"""


class Clock:
    """Seconds that only a test lets pass."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class FakeArena:
    """A race in which each program has its own ratio, between 0.5 and 1.3; counts the races of each program."""

    most = 6

    def __init__(self, control, clock=None, seconds=0.5):
        self.control, self.clock, self.seconds, self.raced = control, clock, seconds, []

    def race(self, candidates, stages=(3,)):
        if self.clock:
            self.clock.now += self.seconds * len(candidates)
        out = []
        for c in candidates:
            self.raced.append((c.key, tuple(stages)))
            ratio = 1.0 if c.key == self.control.key else 0.5 + int(hashlib.sha256(c.key.encode()).hexdigest()[:4], 16) / 82000
            out.append(Timing(ratio, 1e-3 * ratio, 5, tuple(1e-3 * ratio / len(c.kernels) for _ in c.kernels)))
        return out


class FakeBench(Judging):
    """Accepts what has no `hostile` in it; counts verdicts."""

    def __init__(self, clock=None, seconds=1.0):
        self.clock, self.seconds, self.judged = clock, seconds, []

    def verdict(self, source, language, measure, within=None):
        if self.clock:
            self.clock.now += self.seconds if within is None else min(self.seconds, within)
        if within is not None and self.seconds > within:
            raise TooSlow("no verdict yet")
        self.judged.append(source)
        bad = "hostile" in source
        finding = Finding("sandbox-violation", "it tried to open a socket")
        return Verdict(
            not bad, ("sandbox-violation",) if bad else (), speedup=1.5, time_ms=1.0, trials=10, findings=(finding,) if bad else (), threads=1,
            seconds=self.seconds,
        )  # fmt: skip

    def close(self):
        pass


class Scripted:
    """A model that says each of its answers in turn, then the last one again; None: no answer at all."""

    def __init__(self, answers, tokens=100, cost=0.01):
        self.answers, self.tokens, self.cost, self.asked = answers, tokens, cost, []

    def ask(self, messages, sampling, budget: Budget, failed):
        held = budget.reserve(self.tokens, self.cost)
        budget.settle(held, self.tokens, self.cost)
        self.asked.append(messages)
        text = self.answers[min(len(self.asked), len(self.answers)) - 1]
        if text is None:
            raise NoReply("silent")
        return Reply(text, self.tokens // 2, self.tokens - self.tokens // 2, self.cost, 0.1)
