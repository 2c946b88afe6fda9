"""One process that makes pairs: JSON lines {number, seed, program} come in on stdin, lines {number, outcome, result, seconds} go out on stdout.

It ends when stdin does, and dies with the build that started it.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
from typing import TextIO

import torch

from ..ir.graph_text import print_graph
from .make import Refusal, make_pair
from .program import Program
from .record import Reject

_PR_SET_PDEATHSIG = 1


def serve(lines: TextIO, answers: TextIO) -> None:
    """Answers line by line."""
    for line in lines:
        asked = json.loads(line)
        start = time.perf_counter()
        outcome, result = work(asked["number"], asked["seed"], Program.from_json(asked["program"]))
        seconds = time.perf_counter() - start
        answers.write(json.dumps({"number": asked["number"], "outcome": outcome, "result": result, "seconds": seconds}) + "\n")
        answers.flush()


def work(number: int, seed: int, program: Program) -> tuple[str, str]:
    """("pair", the record) or ("reject", the rejection), as JSON text."""
    try:
        made = make_pair(program, seed * 1_000_003 + number)
    except Exception as error:  # a defect of ours must cost one pair, not the build; it is seen in the rejects table
        made = Refusal("defect", "both", f"{type(error).__name__}: {error}"[:500])
    if not isinstance(made, Refusal):
        return "pair", made.model_dump_json()
    return "reject", Reject(
        number=number, code=made.code, side=made.side, reason=made.reason, category=program.category, operators=list(program.operators),
        graph=print_graph(program.graph), cuda_source=made.cuda_source, c_source=made.c_source,
    ).model_dump_json()  # fmt: skip


def main() -> None:
    """The process. What libraries print goes to stderr."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    torch.set_num_threads(1)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    serve(sys.stdin, answers)


if __name__ == "__main__":
    main()
