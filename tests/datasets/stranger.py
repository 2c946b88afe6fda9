"""What somebody without warploom does with a data set: its folder comes in, one line for each thing that does not hold goes out (exit 1).

    python stranger.py FOLDER [MOST]     MOST: so many pairs are compiled and run; the rest is only read

Needs NumPy, pyarrow and g++; nvcc where there is one.
"""

import collections
import ctypes
import hashlib
import json
import math
import multiprocessing
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import numpy as np
import pyarrow.parquet

NESTED = ["cuda_launches", "cuda_strategy", "buffers", "c_args", "c_strategy", "inputs", "outputs", "verdicts", "times", "provenance"]
C_TYPE = {"float32": "float", "float64": "double", "int64": "int64_t", "int32": "int32_t", "int16": "int16_t", "int8": "int8_t", "uint8": "uint8_t", "bool": "uint8_t", "float16": "uint16_t", "bfloat16": "uint16_t"}
CUDA_TYPES = {
    "float32": {"float"}, "float64": {"double"}, "int64": {"long long", "int64_t"}, "int32": {"int", "int32_t"}, "int16": {"short", "int16_t"},
    "int8": {"signed char", "int8_t", "char"}, "uint8": {"unsigned char", "uint8_t"}, "bool": {"bool", "unsigned char", "uint8_t"}, "float16": {"__half", "half"},
    "bfloat16": {"__nv_bfloat16"},
}
PUBLISHED = {"op_name", "c_code", "cuda_code", "ir_code", "input_shape", "output_shape", "op_args"}
faults = []


def fault(where, what):
    faults.append(f"{where}: {what}")


def rows_of(folder):
    rows = pyarrow.parquet.read_table(folder / "pairs.parquet").to_pylist()
    return [{k: json.loads(v) if k in NESTED else v for k, v in r.items()} for r in rows]


# ---------------------------------------------------------------------------------------------- what is read
def bare(text):
    return re.sub(r'//[^\n]*|/\*.*?\*/', " ", text, flags=re.DOTALL)


def kernels_of(source):
    """Name -> (parameters as (type, name), threads of its launch bounds or None)."""
    text, out = bare(source), {}
    for m in re.finditer(r"__global__\s+void\s+(?:__launch_bounds__\((\d+)\)\s*)?(\w+)\s*\(([^)]*)\)", text):
        params = []
        for p in m[3].split(","):
            words = re.sub(r"\b(const|__restrict__|volatile)\b", " ", p).replace("*", " ").split()
            params.append((" ".join(words[:-1]), words[-1]))
        out[m[2]] = params, int(m[1]) if m[1] else None
    return out


def static(row):
    who, buffers = row["id"], {b["name"]: b for b in row["buffers"]}
    kernels = kernels_of(row["cuda_source"])
    if len(kernels) != len(re.findall(r"__global__", bare(row["cuda_source"]))):
        fault(who, "a kernel of the CUDA source cannot be read")
    launched, bound = set(), set()
    for x in row["cuda_launches"]:
        if x["kernel"] not in kernels:
            fault(who, f"{x['kernel']} is launched and not there")
            continue
        params, bounds = kernels[x["kernel"]]
        launched.add(x["kernel"])
        bound |= set(x["args"])
        if len(params) != len(x["args"]):
            fault(who, f"{x['kernel']} takes {len(params)} arguments, {len(x['args'])} are bound")
        for (kind, name), a in zip(params, x["args"]):
            if a not in buffers:
                fault(who, f"{x['kernel']}: no buffer {a}")
            elif kind not in CUDA_TYPES[buffers[a]["dtype"]]:
                fault(who, f"{x['kernel']}: {name} is {kind}, {a} holds {buffers[a]['dtype']}")
        threads = math.prod(x["block"])
        if len(x["grid"]) != 3 or len(x["block"]) != 3 or min(x["grid"] + x["block"]) < 1 or threads > 1024 or threads > (bounds or 1024):
            fault(who, f"{x['kernel']}: launch {x['grid']} {x['block']}")
        if x["grid"][1] > 65535 or x["grid"][2] > 65535 or not 0 <= x["shared_bytes"] <= 227 << 10:
            fault(who, f"{x['kernel']}: launch beyond the hardware")
        if "extern __shared__" in row["cuda_source"] and len(kernels) == 1 and not x["shared_bytes"]:
            fault(who, f"{x['kernel']} needs shared memory, 0 bytes are given")
    if launched != set(kernels):
        fault(who, f"never launched: {sorted(set(kernels) - launched)}")
    if bound != set(buffers):
        fault(who, f"buffers without a kernel: {sorted(set(buffers) - bound)}")
    args = {a["name"]: a for a in row["c_args"]}
    for role, short in (("input", "in"), ("output", "out")):
        if {b["name"] for b in row["buffers"] if b["role"] == role} != {n for n, a in args.items() if a["role"] == short}:
            fault(who, f"the two sides have other {role}s")
    for n, a in args.items():
        if a["type"] != C_TYPE[buffers[n]["dtype"]]:
            fault(who, f"{n} is {a['type']} in C and {buffers[n]['dtype']} by its buffer")
    if not row["inputs"]["cases"] or {c for o in row["outputs"] for c in [o["case"]]} != set(range(len(row["inputs"]["cases"]))):
        fault(who, "cases without outputs, or the other way round")
    if not all(v["accepted"] for k, v in row["verdicts"].items() if k in ("c", "cuda")):
        fault(who, "a side is not accepted")


KEYWORDS = set(
    ["const", "void", "float", "double", "int", "long", "char", "short", "bool", "unsigned", "signed", "static", "extern", "inline", "template", "typename", "struct", "return", "for", "if", "else", "while", "do", "switch", "case", "break", "continue", "sizeof", "auto", "int8_t", "int16_t", "int32_t", "int64_t", "uint8_t", "uint16_t", "uint32_t", "uint64_t", "__global__", "__device__", "__shared__", "__restrict__", "__launch_bounds__", "blockIdx", "threadIdx", "blockDim", "gridDim", "x", "y", "z", "dim3", "__syncthreads"]
)


def renamed(text):
    """The text with every name that is its own replaced by a number, in order of appearance, comments and layout left out."""
    names, out = {}, []
    for word in re.findall(r"[A-Za-z_]\w*|\d[\w.]*|[^\s\w]", bare(text)):
        called = word in KEYWORDS or not re.match(r"[A-Za-z_]", word)
        out.append(word if called else f"n{names.setdefault(word, len(names))}")
    return " ".join(out)


def together(rows):
    seen, families, ids = {}, collections.defaultdict(set), collections.Counter(r["id"] for r in rows)
    for r in rows:
        launches = [(x["grid"], x["block"], x["shared_bytes"]) for x in r["cuda_launches"]]
        for what, key in (
            ("the sources", renamed(r["cuda_source"]) + str(launches) + renamed(r["c_source"][r["c_source"].rindex("namespace wl") :])),
            ("the graph", renamed(r["graph"].split("(", 1)[1])),
        ):
            first = seen.setdefault((what, key), r["id"])
            if first != r["id"]:
                fault(r["id"], f"{what} equal those of {first} up to renaming")
        families[r["family"]].add(r["split"])
        if ids[r["id"]] > 1:
            fault(r["id"], "twice")
    for name, splits in families.items():
        if len(splits) > 1:
            fault(name, f"the family stands in {sorted(splits)}")


def chats(folder, rows):
    """Every pair once, in its own split, the launch complete in the question, the whole C side in the answer."""
    by_id, met = {r["id"]: r for r in rows}, collections.Counter()
    for path in sorted(folder.glob("chat-*.jsonl")):
        for line in path.read_text().splitlines():
            chat = json.loads(line)
            row, (_, user, answer) = by_id[chat["id"]], (m["content"] for m in chat["messages"])
            met[chat["id"]] += 1
            if path.stem != f"chat-{row['split']}":
                fault(chat["id"], f"in {path.name}, its split is {row['split']}")
            if row["cuda_source"].rstrip() not in user or row["c_source"].rstrip() not in answer or any(f"{x['kernel']}<<<" not in user for x in row["cuda_launches"]):
                fault(chat["id"], "its chat is incomplete")
    if set(met.values()) - {1} or set(met) != set(by_id):
        fault("chats", "not every pair once")


# ---------------------------------------------------------------------------------------------- what is run
def arrays_of(row, case):
    made = {n: np.ascontiguousarray(eval(text, {"__builtins__": {}, "np": np})) for n, text in case["values"].items()}
    for b in row["buffers"]:
        if b["role"] == "output":
            made[b["name"]] = np.full(b["shape"], 55, np.uint16 if b["dtype"] == "bfloat16" else b["dtype"])
        elif b["role"] == "input" and list(made[b["name"]].shape) != b["shape"]:
            raise SystemExit(f"{row['id']}: {b['name']} has shape {made[b['name']].shape}")
    return made


def differs(o, array):
    if "sha256" in o:
        return "another digest" if hashlib.sha256(array.tobytes()).hexdigest() != o["sha256"] else ""
    flat = ((array.astype(np.uint32) << 16).view(np.float32) if o["dtype"] == "bfloat16" else array).astype(np.float64).reshape(-1)
    got, wanted = flat[o["indices"]], np.array([float(v) for v in o["values"]])
    with np.errstate(invalid="ignore"):
        right = (got == wanted) | (np.isnan(got) & np.isnan(wanted)) | (abs(got - wanted) <= o["tolerance"])
    if not right.all() or len(wanted) < min(64, flat.size):
        return f"{got[~right][:1]} for {wanted[~right][:1]}, {o['tolerance']:.3g} allowed"
    return "" if abs(flat[np.isfinite(flat)].sum() - o["sum"]) <= o["sum_tolerance"] else "another sum"


def called(row, library, entry, order, answers):
    function = getattr(ctypes.CDLL(library), entry)
    function.restype = None
    for number, case in enumerate(row["inputs"]["cases"]):
        arrays = arrays_of(row, case)
        function(*(ctypes.c_void_p(arrays[n].ctypes.data) for n in order))
        for o in row["outputs"]:
            if o["case"] == number and (why := differs(o, arrays[o["name"]])):
                answers.put(f"{o['name']} of case {number} ({case['family']}): {why}")


def run(row, folder, source, command, entry, order, what):
    """Compiles and calls in a process of its own."""
    (folder / "source.src").write_text(source)
    done = subprocess.run(command.format(source="source.src", library="./library.so").split(), cwd=folder, capture_output=True, text=True)
    if done.returncode:
        return fault(row["id"], f"{what} does not compile: {done.stderr[:300]}")
    context = multiprocessing.get_context("spawn")
    answers = context.SimpleQueue()
    process = context.Process(target=called, args=(row, str(folder / "library.so"), entry, order, answers))
    process.start()
    process.join(300)
    if process.exitcode:
        fault(row["id"], f"{what} ends with {process.exitcode}")
    while not answers.empty():
        fault(row["id"], f"{what}: {answers.get()}")


def nvcc(row, folder, source, launches, what):
    """The source, with a host function that makes every launch on pointers of the buffers' names."""
    names = [b["name"] for b in row["buffers"]] if what == "CUDA" else sorted({a for x in launches for a in x["args"]})
    host = ["struct Any { void* p; template <class T> operator T*() const { return (T*)p; } };", f"void all({', '.join('void* ' + n for n in names)}) {{"]
    for x in launches:
        sizes = ", ".join(f"dim3({', '.join(map(str, x[k]))})" for k in ("grid", "block"))
        host.append(f"  {x['kernel']}<<<{sizes}, {x['shared_bytes']}>>>({', '.join(f'Any{{{a}}}' for a in x['args'])});")
    (folder / "k.cu").write_text(source + "\n" + "\n".join([*host, "}", ""]))
    done = subprocess.run(["nvcc", "-std=c++17", "-arch=sm_80", "-c", "k.cu", "-o", "k.o"], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        fault(row["id"], f"{what} does not compile: {done.stderr[:300]}")


def published(folder, rows, most):
    """The list in HPCTransEval's schema, its launches beside it."""
    records, launches = (json.loads((folder / f"hpctranseval{end}.json").read_text()) for end in ("", "-launches"))
    by_id = {r["id"]: r for r in rows}
    if len(records) != len(launches):
        fault("hpctranseval.json", "other records than launches")
    for n, (record, extra) in enumerate(zip(records, launches)):
        row = by_id[extra["id"]]
        if set(record) - {"input_name", "output_name"} != PUBLISHED or extra["position"] != n:
            fault(row["id"], f"keys {sorted(record)}")
        head = re.search(r"void default_function_kernel\(([^)]*)\)", record["c_code"])
        params = [p.split("*")[-1].strip() for p in head[1].split(",")]
        if len(params) != len(record["input_shape"]) + len(record["output_shape"]):
            fault(row["id"], f"{len(params)} arguments")
        kernels = kernels_of(record["cuda_code"])
        wanted = ["default_function_kernel" + (f"_{k}" if k else "") for k in range(len(extra["launches"]))]
        if sorted(kernels) != sorted(wanted) or [x["kernel"] for x in extra["launches"]] != wanted:
            fault(row["id"], f"kernels {sorted(kernels)}")
        for x in extra["launches"]:
            if [p for _, p in kernels[x["kernel"]][0]] != x["args"]:
                fault(row["id"], f"{x['kernel']}: parameters are not called as what is bound")
        if n < most:
            names = {b["name"]: e["name"] for b, e in zip(row["buffers"], extra["buffers"])}
            back = {new: old for old, new in names.items()}
            with tempfile.TemporaryDirectory() as name:
                command = "gcc -x c -O1 -shared -fPIC {source} -o {library} -lm"
                run(row, pathlib.Path(name), record["c_code"], command, "default_function_kernel", [back[p] for p in params], "c_code")
                if shutil.which("nvcc"):
                    nvcc(row, pathlib.Path(name), record["cuda_code"], extra["launches"], "cuda_code")


def main(folder, most):
    rows = rows_of(folder)
    for row in rows:
        static(row)
    together(rows)
    chats(folder, rows)
    for row in rows[:most]:
        with tempfile.TemporaryDirectory() as name:
            run(row, pathlib.Path(name), row["c_source"], row["c_compile"], row["c_entry"], [a["name"] for a in row["c_args"]], "C")
            if shutil.which("nvcc"):
                nvcc(row, pathlib.Path(name), row["cuda_source"], row["cuda_launches"], "CUDA")
    published(folder, rows, most)
    print("\n".join(faults) or f"{len(rows)} pairs: all holds")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1 << 30))
