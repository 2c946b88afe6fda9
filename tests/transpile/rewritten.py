"""The corpus in other words: other names and rewritten loops must not change what the reader and the rules can do.

    python -m tests.transpile.rewritten records HPCTransEval/ --out FILE.json    bound and transpiled records, as they stand and rewritten
    python -m tests.transpile.rewritten files DIR --to FOLDER                    the files of DIR/KernelBench_c rewritten, for `rates` to judge
    python -m tests.transpile.rewritten beside RATES.json REWRITTEN.json --out FILE.json      the two rates, and the files that differ

Names of kernels, buffers and variables change (the number that ends the name of a record's kernel stays: it is the order of launches), counted
loops become other loops with the same iterations, and kernels without barriers are cut into blocks of another size.
"""

import argparse
import json
import re
import shutil
from pathlib import Path

from warploom.backends.emulator.binding import Bound, bind
from warploom.frontend.cuda import text
from warploom.frontend.cuda import tree as t
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
        own, launch = cuda.encode()[f.start : f.stop].decode(), launches.get(f.name)
        if launch is None or launch.block[1:] != (1, 1) or launch.grid[1:] != (1, 1) or re.search(r"__shared__|__sync|__shfl|gridDim|blockDim", own):
            continue
        old = launch.block[0]
        new = old * 2 if old <= 512 else old // 2
        brace = own.index("{", own.index(")", own.index(f.name)))
        head = re.sub(r"(__launch_bounds__\s*\(\s*)\d+", rf"\g<1>{new}", own[:brace])
        body = own[brace:].replace("blockIdx.x", f"(place_ / {old})").replace("threadIdx.x", f"(place_ % {old})")
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


def records(folder: Path, only: str = "") -> dict:
    """How many records are transpiled, and how many are said to contradict their C side, under each change."""
    changes = {"as they stand": dict, "renamed": renamed, "other loops": reloop, "other blocks": retiled}
    found = [r for path in sorted(folder.glob("*.json")) for r in json.loads(path.read_text()) if only in r["op_name"]]
    rates, odd = {}, {}
    for name, change in changes.items():
        outcomes = [outcome(change(r)) for r in found]
        rates[name] = {"records": len(found), "transpiled": outcomes.count("transpiled"), "contradict their C side": outcomes.count("WL-E081")}
        odd[name] = [f"{r['op_name']}: {o}" for r, o in zip(found, outcomes) if o != "transpiled"]
        print(name, rates[name], flush=True)
    return {"rates": rates, "not transpiled": odd}


# ------------------------------------------------------------------------------------------------ files with host code
_FOR = re.compile(r"for \((int|unsigned|unsigned int|size_t|int64_t|long) (\w+) = ([^;]+); \2 (<=?) ([^;]+); (?:\+\+\2|\2\+\+|\2 \+= ([^;()]+|[^;()]*\([^()]*\)[^;()]*))\)")
_PLACE = re.compile(r"blockIdx\.x \* blockDim\.x \+ threadIdx\.x|blockDim\.x \* blockIdx\.x \+ threadIdx\.x|threadIdx\.x \+ blockIdx\.x \* blockDim\.x|blockDim\.x \* gridDim\.x|gridDim\.x \* blockDim\.x")


def rewritten_file(source: str) -> str:
    """A file in other words: its kernels, device functions and their variables have other names, loops are other loops, and kernels that ask for
    nothing but their number in the grid have blocks of half the size."""
    return _other_blocks(_other_names(_other_loops(source)))


def _other_loops(source: str) -> str:
    return _FOR.sub(lambda m: f"for ({m[1]} {m[2]} = {m[3]}; ({m[5]}) {m[4].replace('<', '>')} {m[2]}; {m[2]} = {m[2]} + ({m[6] or 1}))", source)


def _other_names(source: str) -> str:
    file = read(source)
    data = source.encode()
    if file.source != source:  # macros were written out: places would be off
        return source
    taken = set(re.findall(r"\w+", source))
    for f in sorted((f for f in file.functions if f.kind in ("kernel", "device")), key=lambda f: f.start, reverse=True):
        text = data[f.start : f.stop].decode()
        names = {p.name for p in f.params} | {d.name for n in t.walk(f.body) if isinstance(n, t.Declare) for d in n.declarators}
        names -= {name for name, _ in file.macros} | {"x", "y", "z", "w"} | {f.name for f in file.functions}
        env = {n: f"{n}_v" for n in names if n and f"{n}_v" not in taken and not re.search(rf"\b{n}\s*(?:\(|::)", text)}
        data = data[: f.start] + _tokens(text, env).encode() + data[f.stop :]
    kernels = {f.name: f"{f.name}_stage" for f in file.kernels if f"{f.name}_stage" not in taken and "::" not in f.name}
    return _tokens(data.decode(), kernels)


def _tokens(text: str, env: dict[str, str]) -> str:
    """Identifiers replaced outside strings, comments, directives and members."""
    pattern = r'"(?:\\.|[^"\\\n])*"|//[^\n]*|/\*.*?\*/|^[ \t]*#[^\n]*|(?:\.|->)\s*[A-Za-z_]\w*|[A-Za-z_]\w*'
    return re.sub(pattern, lambda m: env.get(m[0], m[0]), text, flags=re.S | re.M)


def _other_blocks(source: str) -> str:
    file = read(source)
    data = source.encode()
    if file.source != source:
        return source
    spans = {f.name: source.encode()[f.start : f.stop].decode() for f in file.kernels}
    for site in sorted(file.launches, key=lambda s: s.start, reverse=True):
        body = _PLACE.sub("", spans.get(site.kernel, "blockIdx"))
        grid, block = (text.expression(e) for e in site.configuration[:2])
        whole = not re.search(r"\bdim3\b", grid + block) and not re.search(rf"\bdim3\s+(?:\w+\s*(?:\([^;]*\))?\s*,\s*)*(?:{re.escape(grid)}|{re.escape(block)})\b", source)
        if re.search(r"__shared__|__sync|__shfl|blockIdx|threadIdx|blockDim|gridDim|__launch_bounds__", body) or not whole:
            continue
        launch = data[site.start : site.stop].decode()
        inner = re.search(r"<<<(.*?)>>>", launch, re.S)
        if inner is None:
            continue
        rest = [text.expression(e) for e in site.configuration[2:]]
        halves = ", ".join([f"({grid}) * 2", f"({block}) / 2", *rest])
        data = data[: site.start] + (launch[: inner.start(1)] + halves + launch[inner.end(1) :]).encode() + data[site.stop :]
    return data.decode()


def files(folder: Path, to: Path) -> dict:
    """Writes the rewritten files in the corpus's own structure beside a copy of its references; how many are other than they were."""
    changed = 0
    for path in sorted(folder.glob("KernelBench_c/level*/*.cu")):
        source = path.read_text(errors="replace")
        made = rewritten_file(source)
        changed += made != source
        place = to / path.relative_to(folder)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(made)
    shutil.copytree(folder / "EvalEngine", to / "EvalEngine", dirs_exist_ok=True)
    return {"files": len(list(to.glob("KernelBench_c/level*/*.cu"))), "rewritten": changed}


def beside(original: Path, other: Path) -> dict:
    """Rates of two runs of `rates`, over the files that both judged, and the files whose outcome differs."""
    sides = [{r["file"]: r for r in json.loads(path.read_text())["rows"] if r["kernels"] and "reference" not in r} for path in (original, other)]
    both = sorted(set(sides[0]) & set(sides[1]))
    rates = {}
    for name, rows in zip(("as they stand", "rewritten"), sides):
        for level in sorted({f.split("/")[0] for f in both}):
            inside = [rows[f] for f in both if f.startswith(level)]
            rates[f"{level}, {name}"] = {"files": len(inside)} | {side: sum(r[side]["ok"] for r in inside) for side in ("emulator", "transpiled")}
    differ = {f: {side: [r[f][side].get("reason", "ok") for r in sides] for side in ("emulator", "transpiled")} for f in both}
    return {"rates": rates, "differ": {f: d for f, d in differ.items() if any((a == "ok") != (b == "ok") for a, b in d.values())}}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("records", "files", "beside"))
    parser.add_argument("paths", type=Path, nargs="+")
    parser.add_argument("--only", default="")
    parser.add_argument("--to", type=Path)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    made = records(given.paths[0], given.only) if given.what == "records" else files(given.paths[0], given.to) if given.what == "files" else beside(*given.paths)
    print(json.dumps(made.get("rates", made), indent=1))
    if given.out:
        given.out.write_text(json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    main()
