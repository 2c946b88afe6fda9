"""Transpiled code against the C code of the same record, and raised against fission, in one interleaved run.

    python -m tests.transpile.speed HPCTransEval/ --out FILE.json [--threads 1] [--only TEXT] [--seconds 1.0] [--again]

Every record that binds is transpiled three times (kernels as fission makes them; with those raised that Kernel IR can hold; and the default,
with those raised where it pays) and built with the flags of its C side. All run in turn on the same arrays, rounds in random order; a sample repeats the call, in C, for half a
millisecond. One thread is timed by CPU time, several by the wall. Ratios are medians over medians with 95% bootstrap intervals; records
whose C side takes 100 us and more are reported apart. FILE.json is written after each record and taken up again by the next run.
"""

import argparse
import ctypes
import json
import math
import os
import platform
import sys
from functools import partial
from pathlib import Path

import numpy as np
from warploom.backends.emulator.binding import allocate, bind, random_inputs
from warploom.backends.emulator.isolate import in_child
from warploom.backends.toolchain import compile_library, open_library
from warploom.evaluation.bench.interleave import interleave
from warploom.frontend.cuda.binding import Binding, Reference, read_reference
from warploom.ir.diagnostic import WarploomError
from warploom.transpiler import transpile_program

FLAGS = ("-std=gnu++17", "-O3", "-march=native", "-fopenmp", "-fpermissive")
C_HEAD = "#include <math.h>\n#include <stdint.h>\n#include <stdlib.h>\n#include <string.h>\n#include <algorithm>\nusing std::max;\nusing std::min;\n"
SIDES = ("c", "fission", "raised", "default")
RAISED = {"fission": False, "raised": True, "default": None}
C_TYPES = {"float32": "float", "float64": "double", "int32": "int", "int64": "int64_t", "uint32": "unsigned", "uint8": "uint8_t", "bool": "bool", "int8": "int8_t"}


def library(text: str, name: str, types: list[str]) -> Path:
    """`text` with a function that calls `name` as often as wanted."""
    args = ", ".join(f"({type_}*)a[{i}]" for i, type_ in enumerate(types))
    driver = f'\nextern "C" void warploom_repeat(void** a, long n) {{ while (n--) {name}({args}); }}\n'
    return compile_library([text + driver], FLAGS, None, "timed")


def sides(record: dict, reference: Reference, binding: Binding) -> dict:
    """Libraries by side, and which path each kernel took."""
    types = [C_TYPES[b.dtype] for b in reference.buffers]
    order = [next(i for i, b in enumerate(binding.buffers) if b.name == wanted.name) for wanted in reference.buffers]
    c = record["c_code"] if 'extern "C"' in record["c_code"] else f'extern "C" {{\n{record["c_code"]}\n}}\n'
    made = {side: transpile_program(record["cuda_code"], binding, "transpiled", order, raise_=RAISED[side]) for side in SIDES[1:]}
    found: dict = {"c": library(C_HEAD + c, reference.name, types)}
    found |= {side: library(m.text, "transpiled", types) for side, m in made.items()}
    return {"libraries": found, "paths": [{"path": k.path, "default": d.path, "why": d.why} for k, d in zip(made["raised"].kernels, made["default"].kernels)]}


def timed(libraries: dict[str, Path], reference: Reference, threads: int, seconds: float) -> dict:
    """Samples of all sides, the agreement of their outputs, in a process of its own."""
    ctypes.CDLL("libgomp.so.1").omp_set_num_threads(threads)
    inputs = random_inputs(reference.buffers, 0)
    runs, outputs, kept = {}, {}, []
    for side, path in libraries.items():
        arrays = allocate(reference.buffers, inputs)
        slots = (ctypes.c_void_p * len(arrays))(*(a.ctypes.data for a in arrays))
        entry = open_library(path).warploom_repeat
        entry(slots, ctypes.c_long(1))
        outputs[side] = [a.astype(np.float64) for a, b in zip(arrays, reference.buffers) if b.role == "out"]
        kept.append(arrays)
        runs[side] = partial(repeated, entry, slots)
    once = interleave(runs, [(1,)], 0.0, threads, min_rounds=3)
    repeats = max(1, int(0.0005 / max(once.median("c"), 1e-7)))
    samples = interleave(runs, [(repeats,)], seconds, threads, min_rounds=11, max_rounds=400)
    row: dict = {"us": {side: samples.median(side) / repeats * 1e6 for side in runs}}
    for side in SIDES[1:]:
        row[side] = {"speedup": samples.ratio("c", side), "interval": samples.interval("c", side), "error": error(outputs[side], outputs["c"])}
    for side in SIDES[2:]:
        row[side] |= {"over_fission": samples.ratio("fission", side)}
    return row


def repeated(entry, slots, args: tuple) -> None:
    entry(slots, ctypes.c_long(args[0]))


def error(got: list, wanted: list) -> float:
    """The largest absolute difference over the largest absolute value."""
    worst = 0.0
    for a, b in zip(got, wanted):
        with np.errstate(invalid="ignore"):
            difference = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
        worst = max(worst, float(np.nan_to_num(difference, nan=np.inf).max(initial=0.0)) / max(float(np.abs(b[np.isfinite(b)]).max(initial=0.0)), 1e-30))
    return worst


def judged(record: dict, threads: int, seconds: float) -> dict:
    try:
        named = (record.get("input_name") or (), record.get("output_name") or ())
        reference = read_reference(record["c_code"], record["input_shape"], record["output_shape"], *named)
        found = sides(record, reference, bind(record["cuda_code"], record["c_code"], reference).binding)
        return in_child(lambda: timed(found["libraries"], reference, threads, seconds)) | {"paths": found["paths"]}
    except WarploomError as problem:
        return {"excluded": f"{problem.code} {problem.message}"[:300]}


def summary(rows: list[dict]) -> dict:
    """Geometric means over all records and over those of 100 us and more, the rows that lose, and how many kernels are raised."""
    measured = [r for r in rows if "us" in r]
    large = [r for r in measured if r["us"]["c"] >= 100]
    paths = [p["path"] for r in measured for p in r["paths"]]
    value: dict = {"records": len(measured), "excluded": len(rows) - len(measured), "kernels": len(paths), "kernels raised": paths.count("raised")}
    value["kernels raised by default"] = sum(p["default"] == "raised" for r in measured for p in r["paths"])
    for name, group in (("all", measured), ("100 us and more", large)):
        if group:
            value[name] = {"records": len(group)} | {side: geomean([r[side]["speedup"] for r in group]) for side in SIDES[1:]}
            value[name] |= {f"{side} over fission": geomean([r[side]["over_fission"] for r in group]) for side in SIDES[2:]}
            value[name] |= {f"{side} wholly below 0.8": [r["id"] for r in group if r[side]["interval"][1] < 0.8] for side in SIDES[1:]}
    return value


def geomean(values: list[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1.0, help="of rounds a record")
    parser.add_argument("--only", default="")
    parser.add_argument("--again", action="store_true")
    given = parser.parse_args()
    rows = {} if given.again or not given.out.exists() else {r["id"]: r for r in json.loads(given.out.read_text())["rows"]}
    for path in sorted(given.folder.glob("*.json")):
        for number, record in enumerate(json.loads(path.read_text())):
            id_ = f"{path.stem}/{number}"
            if given.only not in f"{id_} {record['op_name']}" or (id_ in rows and not given.only):
                continue
            rows[id_] = {"id": id_, "name": record["op_name"]} | judged(record, given.threads, given.seconds)
            shown = {k: v for k, v in rows[id_].items() if k != "paths"}
            print(json.dumps(shown, default=float)[:400], file=sys.stderr, flush=True)
            head = {"command": f"python -m tests.transpile.speed HPCTransEval/ --threads {given.threads} --seconds {given.seconds} --out {given.out.name}", "threads": given.threads}
            head |= {"flags": FLAGS, "cpu": platform.processor() or platform.machine(), "cores": os.cpu_count(), "load": os.getloadavg()[0]}
            given.out.write_text(json.dumps(head | {"summary": summary(list(rows.values())), "rows": list(rows.values())}, indent=1, default=float) + "\n")
    print(json.dumps(summary(list(rows.values())), indent=1, default=float))


if __name__ == "__main__":
    main()
