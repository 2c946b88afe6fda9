"""The corpus in other words: other names and rewritten loops must not change what the reader and the rules can do.

    python -m tests.transpile.rewritten HPCTransEval/        prints bound and transpiled records, as they stand and rewritten

Names of kernels and buffers change (the number that ends a kernel's name stays: it is the order of launches), counted loops become
other loops with the same iterations, and kernels without barriers are cut into blocks of another size.
"""

import json
import re
import sys
from pathlib import Path

from warploom.backends.emulator.binding import Bound, bind
from warploom.frontend.cuda.binding import read_reference
from warploom.frontend.cuda.read import read
from warploom.ir.diagnostic import WarploomError
from warploom.transpiler import transpile_program

_LOOP = re.compile(r"for \(int (\w+) = 0; \1 < (\d+); \+\+\1\)")


def renamed(record: dict) -> dict:
    """Every identifier of ours by another name, in both sides alike."""
    kernels = sorted(set(re.findall(r"\b(\w+)\s*\(float\*", record["cuda_code"])))
    stem = next((k for k in kernels if not k.rpartition("_")[2].isdigit()), "")
    cuda, c = record["cuda_code"], record["c_code"]
    if stem:
        cuda = re.sub(rf"\b{stem}(_\d+)?\b", lambda m: f"stage{m[1] or ''}", cuda)
    names = sorted(set(re.findall(r"float\*\s*(?:__restrict__\s+)?(\w+)", cuda + c)), key=len, reverse=True)
    bases = sorted({re.sub(r"(_\d+)+$", "", n) for n in names})
    env = {n: re.sub(r"^" + re.escape(b), f"buf{bases.index(b)}q", n) for n in names for b in [re.sub(r"(_\d+)+$", "", n)]}
    cuda, c = (re.sub(r"\b\w+\b", lambda m: env.get(m[0], m[0]), text) for text in (cuda, c))
    return {**record, "cuda_code": cuda, "c_code": c, "input_name": (), "output_name": ()}


def reloop(record: dict) -> dict:
    """`for (int k = 0; k < 50; ++k)` -> `for (int k = 0; 50 > k; k += 1)` and its like."""
    cuda = _LOOP.sub(lambda m: f"for (int {m[1]} = 0; {m[1]} <= {int(m[2]) - 1}; {m[1]} += 1)", record["cuda_code"])
    return {**record, "cuda_code": cuda}


def retiled(record: dict) -> dict:
    """Blocks of twice or half as many threads: a thread finds its old block and place from its number in the grid."""
    try:
        launches = {launch.kernel: launch for launch in bound(record).binding.launches}
    except WarploomError:
        return record
    cuda = record["cuda_code"]
    for f in sorted(read(cuda).kernels, key=lambda f: f.start, reverse=True):
        text, launch = cuda.encode()[f.start : f.stop].decode(), launches.get(f.name)
        if launch is None or launch.block[1:] != (1, 1) or launch.grid[1:] != (1, 1) or re.search(r"__shared__|__sync|__shfl|gridDim|blockDim", text):
            continue
        old = launch.block[0]
        new = old * 2 if old <= 512 else old // 2
        brace = text.index("{", text.index(")", text.index(f.name)))
        head = re.sub(r"(__launch_bounds__\s*\(\s*)\d+", rf"\g<1>{new}", text[:brace])
        body = text[brace:].replace("blockIdx.x", f"(place_ / {old})").replace("threadIdx.x", f"(place_ % {old})")
        number = f"{{\n  const int place_ = ((int)blockIdx.x) * {new} + ((int)threadIdx.x);\n  if (place_ < {launch.grid[0] * old}) "
        data = cuda.encode()
        cuda = (data[: f.start] + f"{head}{number}{body}\n}}".encode() + data[f.stop :]).decode()
    return {**record, "cuda_code": cuda}


def bound(record: dict) -> Bound:
    named = (record.get("input_name") or (), record.get("output_name") or ())
    reference = read_reference(record["c_code"], record["input_shape"], record["output_shape"], *named)
    return bind(record["cuda_code"], record["c_code"], reference)


def outcome(record: dict) -> str:
    """bound, transpiled, or the code of the error."""
    try:
        transpile_program(record["cuda_code"], bound(record).binding)
    except WarploomError as error:
        return error.code
    return "transpiled"


def main(folder: str, only: str = "") -> None:
    changes = {"as they stand": dict, "renamed": renamed, "other loops": reloop, "other blocks": retiled}
    records = [r for path in sorted(Path(folder).glob("*.json")) for r in json.loads(path.read_text()) if only in r["op_name"]]
    for name, change in changes.items():
        found = [outcome(change(r)) for r in records]
        print(f"{name:14s} {found.count('transpiled')} of {len(found)} transpiled, {found.count('WL-E081')} contradict their C side", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
