"""KernelBench-form problems on a GPU target without a GPU: which compile and agree with eager, at sizes that the emulator (or Triton's
interpreter) finishes.

    python -m tests.backends.sweep DIR --target triton --out FILE.json [--only TEXT] [--seconds 300] [--again failed|all]

Sizes are halved (batch, then the largest) until weights, inputs and outputs fit into 24,000 elements; extents of space and of reductions
become odd, so that tiles have a ragged tail. FILE.json is written after each problem and taken up again by the next run.
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

ELEMENTS = 24_000
_KEPT = re.compile(r"kernel|group|stride|pad|dilation|num_|dim$|factor|scal")
_EVEN = re.compile(r"batch|channel|feature|hidden|size$")


class TooSlow(Exception):
    """The problem took more than its seconds."""


def problem(path: Path) -> tuple:
    """(model, inputs, sizes) of the shrunk problem."""
    import torch

    module = types.ModuleType("problem")
    exec(compile(path.read_text(), str(path), "exec"), module.__dict__)
    sizes = {k: v for k, v in vars(module).items() if isinstance(v, int) and not isinstance(v, bool) and v > 2 and not _KEPT.search(k)}
    fixed: set[str] = set()
    while elements(module) > ELEMENTS and (name := _largest(sizes, fixed)):
        half = sizes[name] // 2 if _EVEN.search(name) else sizes[name] // 2 | 1
        setattr(module, name, half)
        try:
            elements(module)
            sizes[name] = half
        except Exception:
            setattr(module, name, sizes[name])
            fixed.add(name)
    torch.manual_seed(0)
    return module.Model(*module.get_init_inputs()), module.get_inputs(), sizes


def _largest(sizes: dict[str, int], fixed: set[str]) -> str | None:
    open_ = [k for k in sizes if k not in fixed and sizes[k] >= (4 if k.startswith("batch") else 18)]
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
    import warploom

    start = time.monotonic()
    signal.alarm(seconds)
    try:
        model, inputs, sizes = problem(path)
        made = warploom.compile(model, inputs, target=target)
        blocks = [list(launch.grid) for p in made.code.programs for launch in p.launches]
        steps = len(made.code.steps)
        extern = [s.node.origin for s in made.code.steps if not hasattr(s, "kernels") and not hasattr(s, "launches")]
        row = {"ok": True, "error": max(d.relative for d in made.differences), "grids": blocks, "steps": steps, "extern": extern, "sizes": sizes}
    except TooSlow:
        row = {"ok": False, "reason": f"more than {seconds} s"}
    except Exception as problem_:
        row = {"ok": False, "reason": f"{type(problem_).__name__} {problem_}"[:400]}
    finally:
        signal.alarm(0)
    return row | {"seconds": round(time.monotonic() - start, 1)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--target", default="triton")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", default="")
    parser.add_argument("--levels", default="level1,level2")
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--again", choices=("failed", "all"))
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
            good = sum(r["ok"] for r in rows.values())
            summary = {"problems": len(rows), "agree": good}
            given.out.write_text(json.dumps({"command": command, "summary": summary, "rows": list(rows.values())}, indent=1) + "\n")
    print(f"{sum(r['ok'] for r in rows.values())} of {len(rows)} agree")


if __name__ == "__main__":
    main()
