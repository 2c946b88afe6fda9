"""How many files of a folder in KernelBench_c's form run in the emulator and are transpiled, both with torch's numbers.

    python -m tests.transpile.rates DIR --out FILE.json [--levels level1,level2] [--again failed|all] [--only TEXT]

DIR has `KernelBench_c/levelN/*.cu` or is that folder; references are found as `warploom run` finds them. Files without a `__global__`
are counted apart. `--small` halves the reference's sizes first (batch size, then the largest) until inputs, weights and outputs fit into 1 M
elements; a file that fails so is judged at its own sizes. FILE.json is written after each file and taken up again by the next run; `--again failed` repeats what did not match.

A side matches torch where its largest error is at most 1e-3 of the largest value, or where all values are within the benchmark's own tolerance
(`allclose` at 1e-2, `close`). Where neither side does, `itself` says whether the two sides, which share nothing but the file, agree with each
other, and what the checker finds in the file.
"""

import argparse
import json
import os
import re
import shlex
import signal
import sys
import tempfile
import time
import types
from collections.abc import Callable
from pathlib import Path

from warploom.backends.cpu.fission.load import load_text
from warploom.backends.emulator.check_extension import check_extension
from warploom.backends.emulator.isolate import in_child
from warploom.backends.emulator.session import entry_of, find_reference, flat_tensors, max_error
from warploom.backends.emulator.torch_extension import load_extension
from warploom.ir.diagnostic import WarploomError
from warploom.transpiler import transpile_file

SMALL = 1 << 20  # elements
TINY = 1 << 16  # elements that the checker is given
AGREES = 1e-3  # largest absolute error over the largest absolute value
CLOSE = 1e-2  # the benchmark's own: absolute, and relative to each value


def sources(root: Path) -> list[Path]:
    folder = root / "KernelBench_c" if (root / "KernelBench_c").is_dir() else root

    def order(path: Path) -> tuple:
        number = re.match(r"\d+", path.stem)
        return path.parent.name, int(number[0]) if number else 1 << 30, path.stem

    return sorted(folder.glob("level*/*.cu"), key=order)


def reference(path: Path, small: bool, most: int = SMALL) -> tuple:
    """(model, inputs) of the reference, weights and inputs from seed 0."""
    import torch

    module = types.ModuleType("reference")
    exec(compile(path.read_text(), str(path), "exec"), module.__dict__)
    if small:
        shrink(module, most)
    torch.manual_seed(0)
    return module.Model(*module.get_init_inputs()), module.get_inputs()


def shrink(module: types.ModuleType, most: int) -> None:
    """Halves the module's sizes until all tensors together are small."""
    sizes = {k: v for k, v in vars(module).items() if isinstance(v, int) and not isinstance(v, bool) and v > 2}
    fixed: set[str] = set()
    while elements(module) > most:
        batch = [k for k in sizes if k.startswith("batch") and k not in fixed and sizes[k] > 2]
        large = sorted((k for k in sizes if k not in fixed and sizes[k] >= 128 and sizes[k] % 2 == 0), key=lambda k: -sizes[k])
        if not (batch or large):
            return
        name = (batch or large)[0]
        setattr(module, name, sizes[name] // 2)
        try:
            elements(module)
            sizes[name] //= 2
        except Exception:
            setattr(module, name, sizes[name])
            fixed.add(name)


def elements(module: types.ModuleType) -> int:
    """Elements of weights, inputs and outputs, from shapes alone."""
    import torch

    with torch.device("meta"), torch.no_grad():
        model, inputs = module.Model(*module.get_init_inputs()), module.get_inputs()
        outputs = flat_tensors(model(*inputs))
    return sum(x.numel() for x in (*model.parameters(), *inputs, *outputs) if hasattr(x, "numel"))


def wanted(path: Path, kept: Path, small: bool) -> None:
    """Torch's own outputs, kept in a file."""
    import torch

    model, inputs = reference(path, small)
    with torch.no_grad():
        torch.save(flat_tensors(model(*inputs)), kept)


def errors_of(path: Path, load: Callable, kept: Path, small: bool, side: str) -> tuple[float, bool]:
    """How far the outputs with `load()`'s function in torch's place are from torch's, and whether the benchmark would take them.
    They are kept beside torch's."""
    import torch

    model, inputs = reference(path, small)
    with torch.no_grad():
        got = flat_tensors(model(*inputs, fn=entry_of(load())))
    torch.save(got, kept.with_suffix(f".{side}"))
    wanted = torch.load(kept)
    error = max_error(got, wanted)
    return error, error < float("inf") and all(torch.allclose(a.reshape(b.shape).to(b.dtype), b, CLOSE, CLOSE) for a, b in zip(got, wanted))


def limited(work: Callable, seconds: int) -> Callable:
    def run():
        signal.alarm(seconds)
        return work()

    return run


def outcome(work: Callable[[], tuple[float, bool]], seconds: int) -> dict:
    """What came of one side of one file: `ok`, and its error or the reason."""
    start = time.monotonic()
    try:
        error, close = in_child(limited(work, seconds))
    except WarploomError as problem:
        reason = f"{problem.code} {problem.message}".replace("SIGALRM", f"more than {seconds} s")
        return {"ok": False, "reason": reason[:400]}
    except Exception as problem:
        return {"ok": False, "reason": f"{type(problem).__name__}: {problem}"[:400]}
    ok = error <= AGREES or close
    return {"ok": ok, "max_error": error, "close": close, "seconds": round(time.monotonic() - start, 1)} | ({} if ok else {"reason": "disagrees"})


def transpiled(path: Path, beside: Path, kept: Path, small: bool, seconds: int) -> dict:
    try:
        made = transpile_file(path.read_text(errors="replace"))
    except WarploomError as problem:
        return {"ok": False, "reason": f"{problem.code} {problem.message}"[:400]}
    return outcome(lambda: errors_of(beside, lambda: load_text(made.text), kept, small, "transpiled"), seconds) | {"paths": [k.path for k in made.kernels]}


def judged(path: Path, small: bool, seconds: int) -> dict:
    row = {"file": f"{path.parent.name}/{path.stem}", "kernels": len(re.findall(r"\b__global__\b", path.read_text(errors="replace")))}
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / "wanted.pt"
        try:
            beside = find_reference([], [path])
            in_child(limited(lambda: wanted(beside, kept, small), seconds))
        except Exception as problem:
            return row | {"reference": f"{problem}"[:300]}
        row |= {"small": small, "emulator": outcome(lambda: errors_of(beside, lambda: load_extension([path.resolve()]), kept, small, "emulator"), seconds)}
        row |= {"transpiled": transpiled(path, beside, kept, small, seconds)}
        why = [row[side].get("reason", "") for side in ("emulator", "transpiled")]
        apart = {"apart": apart_of(kept)} if why == ["disagrees", "disagrees"] else {}
        return row | ({"itself": apart | itself(path, beside, seconds)} if all(w.startswith(("disagrees", "WL-E053")) for w in why) else {})


def apart_of(kept: Path) -> float:
    """How far the two sides are apart."""
    import torch

    return max_error(*(torch.load(kept.with_suffix(f".{side}")) for side in ("emulator", "transpiled")))


def itself(path: Path, beside: Path, seconds: int) -> dict:
    """What else speaks for the file being wrong: what the checker finds at small sizes."""
    try:
        findings, failure = in_child(limited(lambda: checked(path, beside), min(seconds, 120)))
    except Exception as problem:
        return {"checker": f"{problem}"[:200]}
    return {"findings": findings} | ({"failure": failure} if failure else {})


def checked(path: Path, beside: Path) -> tuple[list[str], str]:
    import torch

    model, inputs = reference(beside, True, TINY)
    with torch.no_grad():
        _, findings, failure = check_extension([path], model, inputs, include=(), defines=())
    return list(dict.fromkeys(f"line {f.here.line}: {f.kind}" for f in findings))[:4], failure[:200]


def rates(rows: list[dict]) -> dict:
    """Per level, of the files with a `__global__` whose reference runs: files, how many match on each side, and how many match on neither."""
    levels: dict[str, dict] = {}
    for row in rows:
        level = levels.setdefault(row["file"].split("/")[0], {"files": 0, "emulator": 0, "transpiled": 0, "wrong themselves": 0, "without a kernel": 0})
        level["without a kernel"] += row["kernels"] == 0
        if row["kernels"] and "reference" not in row:
            level["files"] += 1
            level["emulator"] += row["emulator"]["ok"]
            level["transpiled"] += row["transpiled"]["ok"]
            level["wrong themselves"] += "itself" in row
    return levels


def good(row: dict) -> bool:
    return "reference" not in row and row["emulator"]["ok"] and row["transpiled"]["ok"]


def refused(row: dict) -> bool:
    """Whether each side that is not good is so because of its text, whatever the sizes."""
    sides = [row[side] for side in ("emulator", "transpiled") if side in row]
    return bool(sides) and all(side["ok"] or re.match(r"WL-E(041|080) ", side["reason"]) for side in sides)


def command_of(arguments: list[str]) -> str:
    """The command with these arguments as it is stored: all options, folders and files by their last name."""
    return shlex.join(["python", "-m", "tests.transpile.rates", *(Path(a).name if "/" in a and not a.startswith("-") else a for a in arguments)])


def commands(arguments: list[str], stored: dict) -> list[str]:
    """The commands that made the rows of a file: those it has already, and this one."""
    earlier = stored.get("command", [])
    return list(dict.fromkeys([*([earlier] if isinstance(earlier, str) else earlier), command_of(arguments)]))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--levels", default="")
    parser.add_argument("--only", default="")
    parser.add_argument("--again", choices=("failed", "all"))
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--seconds", type=int, default=900, help="for one side of one file, compilation included")
    given = parser.parse_args()
    import torch  # once, before the forks

    stored = json.loads(given.out.read_text()) if given.out.exists() else {}
    rows = {row["file"]: row for row in stored.get("rows", ())}
    rows = {name: row for name, row in rows.items() if not (given.again == "all" or (given.again == "failed" and not good(row)))} if not given.only else rows
    stored = stored if rows else {}
    for path in sources(given.folder):
        name = f"{path.parent.name}/{path.stem}"
        if (given.levels and path.parent.name not in given.levels.split(",")) or given.only not in name or (name in rows and not given.only):
            continue
        rows[name] = judged(path, given.small, given.seconds)
        if given.small and not good(rows[name]) and not refused(rows[name]):
            rows[name] = judged(path, False, given.seconds)
        print(name, {k: v for k, v in rows[name].items() if k != "file"}, file=sys.stderr, flush=True)
        value = {"command": commands(sys.argv[1:], stored), "load": os.getloadavg()[0], "agrees": AGREES, "torch": torch.__version__, "cores": os.cpu_count()}
        given.out.write_text(json.dumps({**value, "rates": rates(list(rows.values())), "rows": list(rows.values())}, indent=1) + "\n")
    print(json.dumps(rates(list(rows.values()))))


if __name__ == "__main__":
    main()
