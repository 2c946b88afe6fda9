"""The process in which TVM lives: JSON lines come in on stdin, JSON lines go out. A crash of TVM ends this process alone.

{"ask": "cuda", "graph": text}                          -> {"made": Lowered}
{"ask": "run", "graph": text, "folder": path}           -> {"made": null}; FOLDER/in0.npy, .. are read, out0.npy, .. are written
What fails: {"error": {"code", "message", "exit_code"}}. torch stays out of the process: TVM works without it, and starts faster.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any


def _cuda(asked: dict[str, Any]) -> Any:
    from ...ir.graph_text import parse_graph
    from .lower import lower
    from .translate import translate

    graph = parse_graph(asked["graph"])
    return asdict(lower(translate(graph, helpers=True), [*graph.outputs, *(v for _, v in graph.updates)]))


def _run(asked: dict[str, Any]) -> Any:
    from ...ir.graph_text import parse_graph
    from .execute import execute

    execute(parse_graph(asked["graph"]), Path(asked["folder"]))


_ANSWERS: dict[str, Callable[[dict[str, Any]], Any]] = {"cuda": _cuda, "run": _run}


def answer(line: str) -> str:
    """One answer for one line."""
    from ...ir.diagnostic import WarploomError

    try:
        asked = json.loads(line)
        return json.dumps({"made": _ANSWERS[asked["ask"]](asked)})
    except WarploomError as error:
        return json.dumps({"error": {"code": error.code, "message": error.message, "exit_code": error.exit_code}})
    except Exception as error:  # whatever TVM raises is an answer, not the end of the process
        text = next((x for x in reversed(str(error).splitlines()) if x.strip()), type(error).__name__)
        return json.dumps({"error": {"code": "WL-E066", "message": f"TVM: {text.strip()[:300]}", "exit_code": 1}})


def main() -> None:
    """The process; it ends when its stdin does. What TVM prints goes to stderr."""
    sys.modules["torch"] = None  # type: ignore[assignment]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        answers.write(answer(line) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
