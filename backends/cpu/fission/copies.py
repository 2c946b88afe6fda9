"""`cuda::pipeline` and `cuda::barrier` in the words that the other steps know. A file comes in; one goes out that waits by `__syncthreads()`.

Asynchronous copies are made at once (`groups.py`), so that what is left of a pipeline of a block is where its threads wait for one another:
before a stage is filled again and before it is read. A pipeline of one thread has nothing to wait for.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from ....frontend.cuda import text
from ....frontend.cuda import tree as t
from ....frontend.cuda.read import UnsupportedCuda

_STATE = re.compile(r"(?:\w+::)*pipeline_shared_state\b")
_BARRIER = re.compile(r"(?:\w+::)+barrier\s*<")
ALIAS = re.compile(r"\busing\s+(\w+)\s*=\s*(?:\w+::)+barrier\s*<[^;]*;")
_PIPELINE = re.compile(r"(?:\w+::)*pipeline\s*<")
_WAITING = ("producer_acquire", "consumer_wait")
_PASSING = ("producer_commit", "consumer_release", "quit")
_ALL = re.compile(r"(?:\w+\.(?:size|num_threads)\(\)|blockDim\.x(?:\*blockDim\.[yz])*)")
_SYNC = t.Call(t.Name("__syncthreads"), ())


def synchronous(file: t.CudaFile) -> t.CudaFile:
    """The file without them. Raises UnsupportedCuda with its line for what has no rule."""
    if not re.search(r"\bcuda::|\bpipeline\b", file.source):
        return file
    aliases = frozenset(ALIAS.findall(file.source))
    return replace(file, functions=tuple(f if f.kind not in ("device", "kernel") else _Rewriter(f, aliases).run() for f in file.functions))


def _names_a_barrier(s: Any) -> bool:
    """`using barrier = cuda::barrier<...>;`"""
    return isinstance(s, t.Evaluate) and isinstance(s.value, t.Opaque) and ALIAS.match(f"{s.value.parts[0]};") is not None


class _Rewriter:
    def __init__(self, function: t.Function, aliases: frozenset[str]):
        self.function, self.line = function, function.line
        self.pipes: dict[str, bool] = {}  # name -> whether it is the block's
        self.barriers: set[str] = set()
        self.states: set[str] = set()
        for n in t.walk(function.body):
            if isinstance(n, t.Declare):
                for d in n.declarators:
                    self.learn(n, d, aliases)

    def learn(self, s: t.Declare, d: t.Declarator, aliases: frozenset[str]) -> None:
        if _STATE.match(s.type):
            self.states.add(d.name)
        elif _BARRIER.match(s.type) or s.type in aliases:
            self.barriers.add(d.name)
        elif isinstance(d.init, t.Call) and t.called(d.init) == "make_pipeline":
            if len(d.init.args) > 2:
                raise UnsupportedCuda(f"line {s.line}: a pipeline whose threads are producers or consumers")
            self.pipes[d.name] = bool(d.init.args)
        elif _PIPELINE.match(s.type):
            raise UnsupportedCuda(f"line {s.line}: pipeline {d.name} is not made by `cuda::make_pipeline`")

    def run(self) -> t.Function:
        if not (self.pipes or self.barriers or self.states):
            return self.function
        body = tuple(s for s in t.rewrite(self.function.body, self.change) if not _names_a_barrier(s))
        known = self.pipes.keys() | self.barriers | self.states
        for n in t.walk(body):
            self.line = getattr(n, "line", 0) or self.line
            if isinstance(n, t.Name) and n.text in known:
                self.refuse(f"{n.text} is used in a way that has no rule")
        return replace(self.function, body=body)

    def refuse(self, why: str) -> None:
        raise UnsupportedCuda(f"line {self.line}: {why} (pipelines and barriers of a block)")

    def change(self, n: Any) -> Any:
        self.line = getattr(n, "line", 0) or self.line
        if isinstance(n, t.Declare):
            kept = tuple(d for d in n.declarators if not self.gone(d))
            return n if len(kept) == len(n.declarators) else replace(n, declarators=kept) if kept else ()
        if isinstance(n, t.Evaluate):
            return self.statement(n)
        return self.call(n) if isinstance(n, t.Call) else n

    def gone(self, d: t.Declarator) -> bool:
        arrived = isinstance(d.init, t.Call) and self.method(d.init)[1] == "arrive"
        return arrived or d.name in self.pipes or d.name in self.barriers or d.name in self.states

    def method(self, call: t.Call) -> tuple[str, str]:
        """The object and the name, where one of theirs is called."""
        f = call.function
        if isinstance(f, t.Member) and isinstance(f.value, t.Name) and (f.value.text in self.pipes or f.value.text in self.barriers):
            return f.value.text, f.name
        return "", ""

    def statement(self, s: t.Evaluate) -> Any:
        call = s.value
        if not isinstance(call, t.Call):
            return s
        name, method = self.method(call)
        if name in self.pipes and method in _WAITING:
            return replace(s, value=_SYNC) if self.pipes[name] else ()
        if (name in self.pipes and method in _PASSING) or (name in self.barriers and method == "arrive"):
            return ()
        if t.called(call) == "init" and call.args and call.args[0] in [t.Unary("&", t.Name(b)) for b in self.barriers]:
            if not _ALL.fullmatch("".join(text.expression(call.args[1]).split())):
                self.refuse("a barrier that is not said to be for all threads of the block")
            return ()
        if t.called(call) == "pipeline_consumer_wait_prior" and len(call.args) == 1 and isinstance(call.args[0], t.Name):
            return replace(s, value=_SYNC) if self.pipes.get(call.args[0].text) else ()
        return s

    def call(self, n: t.Call) -> Any:
        name, method = self.method(n)
        if name in self.barriers and method in ("arrive_and_wait", "wait"):
            return _SYNC
        if t.called(n) == "memcpy_async" and n.args and isinstance(n.args[-1], t.Name) and n.args[-1].text in (*self.pipes, *self.barriers):
            if len(n.args) == 5:
                return replace(n, args=n.args[:-1])
            return t.Call(t.Name("memcpy"), n.args[:-1])
        return n
