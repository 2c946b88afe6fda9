"""KernelBench-form problems on a GPU target without a GPU: which compile ahead for an architecture and agree with eager, at sizes that the
emulator (or Triton's interpreter) finishes.

    python -m tests.backends.sweep DIR --target triton --out FILE.json [--only TEXT] [--seconds 300] [--again failed|all] [--note TEXT]

Sizes are halved (batch, then the largest) until weights, inputs and outputs fit into 24,000 elements (6,000 where that takes too long); extents
of space and of reductions become odd, so that tiles have a ragged tail. Where a file's sizes are no names, its inputs are cut. Every kernel is compiled for sm_90 (CUDA: sm_80 too) before anything runs; then one draw of
inputs is compared with eager, in float64 terms. FILE.json is written after each problem and taken up again by the next run: a first run with
few `--seconds` and `--again failed` with more put the cheap problems first. `--note` is kept in the file (the machine's load, say).
"""

import argparse
import json
import re
import signal
import sys
import time
import types
import warnings
from pathlib import Path

from warploom.backends.cuda.nvrtc import ARCHITECTURES, compile_cubin
from warploom.backends.triton.run import compile_ahead
from warploom.compiler import verify_against_eager
from warploom.evaluation.agreement import SEEDS

ELEMENTS = (24_000, 6_000)
_KEPT = re.compile(r"kernel|group|stride|pad|dilation|num_|dim$|factor|scal")
_EVEN = re.compile(r"batch|channel|feature|hidden|size$")


class TooSlow(BaseException):
    """The problem took more than its seconds."""


def problem(path: Path, most: int) -> tuple:
    """(model, inputs, sizes) of the problem shrunk to `most` elements."""
    import torch

    module = types.ModuleType("problem")
    exec(compile(path.read_text(), str(path), "exec"), module.__dict__)
    sizes = {k: v for k, v in vars(module).items() if isinstance(v, int) and not isinstance(v, bool) and v > 2 and not _KEPT.search(k)}
    fixed: set[str] = set()
    while elements(module) > most and (name := _largest(sizes, fixed)):
        half = sizes[name] // 2 if _EVEN.search(name) else sizes[name] // 2 | 1
        setattr(module, name, half)
        try:
            elements(module)
            sizes[name] = half
        except Exception:
            setattr(module, name, sizes[name])
            fixed.add(name)
    cut_inputs(module, most)
    torch.manual_seed(0)
    return module.Model(*module.get_init_inputs()), module.get_inputs(), sizes


def cut_inputs(module: types.ModuleType, most: int) -> None:
    """Halves the extents of space of the inputs, the largest first, as far as the model takes them."""
    kept: set[tuple[int, int]] = set()
    while elements(module) > most:
        shapes = [tuple(x.shape) if hasattr(x, "shape") else () for x in module.get_inputs()]
        places = [(s[d], n, d) for n, s in enumerate(shapes) for d in range(2, len(s)) if s[d] >= 18 and (n, d) not in kept]
        if not places:
            return
        size, n, d = max(places)
        old = module.get_inputs
        module.get_inputs = lambda n=n, d=d, size=size, old=old: [x.narrow(d, 0, size // 2 | 1).contiguous() if k == n else x for k, x in enumerate(old())]
        try:
            elements(module)
        except Exception:
            module.get_inputs = old
            kept.add((n, d))


def _largest(sizes: dict[str, int], fixed: set[str]) -> str | None:
    open_ = [k for k in sizes if k not in fixed and sizes[k] >= (4 if k.startswith("batch") else 10)]
    return max(open_, key=lambda k: sizes[k] * (1000 if k.startswith("batch") else 1), default=None)


def elements(module: types.ModuleType) -> int:
    """Elements of weights, inputs and outputs, from shapes alone. Raises where the sizes do not fit together."""
    import torch
    from torch.utils import _pytree as pytree

    with torch.device("meta"), torch.no_grad():
        model, inputs = module.Model(*module.get_init_inputs()), module.get_inputs()
        outputs = pytree.tree_leaves(model(*inputs))
    return sum(x.numel() for x in (*model.parameters(), *inputs, *outputs) if hasattr(x, "numel"))


def judged(path: Path, target: str, seconds: int) -> dict:
    """What came of one problem, at the first size that takes no longer than `seconds`."""
    row: dict = {}
    for most in ELEMENTS:
        row = judged_at(path, target, seconds, most)
        if not row.get("reason", "").startswith("more than"):
            return row
    return row


def judged_at(path: Path, target: str, seconds: int, most: int) -> dict:
    """One problem at one size: compiled ahead, then run and compared. `extern` names the operators that ATen runs, of `operators`."""
    import warploom

    start = time.monotonic()
    row: dict = {"ok": False, "ahead": False}
    signal.alarm(seconds)
    try:
        model, inputs, row["sizes"] = problem(path, most)
        row["inputs"] = [list(x.shape) for x in inputs if hasattr(x, "shape")]
        made = warploom.compile(model, inputs, target=target, verify=False)
        row["grids"] = [list(x.grid) for p in made.code.programs for x in p.at(made._dims()).launches]
        row["operators"] = len({n.origin for n in made.exported.graph.nodes})
        row["extern"] = sorted({s.node.origin for s in made.code.steps if hasattr(s, "node")})
        row["cubins"] = sum(cubins(p, target) for p in made.code.programs)
        row |= {"ahead": True, "ahead_seconds": round(time.monotonic() - start, 1)}
        verify_against_eager(model, made, tuple(inputs), SEEDS[:1])
        row |= {"ok": True, "error": max(d.relative for d in made.differences)}
    except TooSlow:
        row["reason"] = f"more than {seconds} s"
    except Exception as problem_:
        row["reason"] = f"{type(problem_).__name__} {problem_}"[:400]
    finally:
        signal.alarm(0)
    return row | {"seconds": round(time.monotonic() - start, 1)}


def cubins(program, target: str) -> int:
    """Compiles a program without a GPU: how many kernels, for each architecture, came out as a cubin. Raises TritonFailed, BuildFailed."""
    if target == "triton":
        return len(compile_ahead(program))
    return sum(len(compile_cubin(program.source, arch)) > 0 for arch in ARCHITECTURES) * len(program.kernels)


def summary(rows: list[dict]) -> dict:
    """Counts over all problems; two_blocks: problems in which some launch has two blocks or more along a grid axis."""
    return {
        "problems": len(rows),
        "compiled ahead": sum(r["ahead"] for r in rows),
        "agree": sum(r["ok"] for r in rows),
        "of these with two blocks or more": sum(r["ok"] and any(n > 1 for g in r["grids"] for n in g) for r in rows),
        "operators": sum(r.get("operators", 0) for r in rows),
        "extern": sum(len(r.get("extern", ())) for r in rows),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--target", default="triton")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", default="")
    parser.add_argument("--levels", default="level1,level2")
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--again", choices=("failed", "all"))
    parser.add_argument("--note", default="")
    given = parser.parse_args()
    warnings.filterwarnings("ignore")

    def slow(*_: object) -> None:
        raise TooSlow

    signal.signal(signal.SIGALRM, slow)
    rows = {r["problem"]: r for r in json.loads(given.out.read_text())["rows"]} if given.out.exists() and given.again != "all" else {}
    for level in given.levels.split(","):
        for path in sorted((given.folder / level).glob("*.py")):
            name = f"{level}/{path.stem}"
            if given.only not in name or (name in rows and not given.only and (rows[name]["ok"] or given.again != "failed")):
                continue
            rows[name] = {"problem": name} | judged(path, given.target, given.seconds)
            print(json.dumps(rows[name])[:300], file=sys.stderr, flush=True)
            command = f"python -m tests.backends.sweep kernelbench/ --target {given.target} --out {given.out.name}"
            value = {"command": command, "note": given.note, "summary": summary(list(rows.values())), "rows": list(rows.values())}
            given.out.write_text(json.dumps(value, indent=1) + "\n")
    print(json.dumps(summary(list(rows.values()))))


if __name__ == "__main__":
    main()
