"""Every operator at every dtype: the vector code, its masked tail and the scalar code agree with each other and with the interpreter."""

import numpy as np
import pytest
from printed import HERE, Built
from warploom.ir import scalar
from warploom.ir.expr import INFIX, OPS
from warploom.ir.interpret import run_program
from warploom.ir.text import parse_program
from warploom.ir.types import FLOATS, INTS, NUMPY

N = 69
QUICK = ("-O1",)  # hundreds of functions: what is tested is their meaning; the kernels' tests use the full flags
BITS = ("&", "|", "^", "invert")
ROUGH = {n for n, (_, kind) in OPS.items() if kind == "float"} - {"/", "sqrt", "floor", "ceil", "round", "trunc"}


def accepts(op: str, dtype: str) -> bool:
    kind = OPS[op][1]
    if op in ROUGH and dtype in ("f16", "bf16") and op not in ("exp", "tanh"):
        return False  # the float32 function and a rounding
    if dtype == "b1":
        return op in (*BITS, "==", "!=", "and", "or", "not", "select")
    if kind in ("float", "test"):
        return dtype in FLOATS
    if kind == "bit":
        return dtype in INTS
    return kind != "logic"


CASES = [(op, dtype) for op in OPS for dtype in (*FLOATS, *INTS, "b1") if accepts(op, dtype)]


def call(op: str, args: list[str]) -> str:
    if op == "select":
        return f"select({args[2]} != {args[2]} or {args[0]} == {args[1]}, {args[0]}, {args[1]})"
    if op in INFIX:
        return f"{args[0]} {op} {args[1]}"
    prefix = {"neg": "-", "invert": "~", "not": "not "}.get(op)
    return f"{prefix}{args[0]}" if prefix else f"{op}({', '.join(args[: OPS[op][0]])})"


def result(op: str, dtype: str) -> str:
    return "b1" if OPS[op][1] in ("compare", "logic", "test") else dtype


def name_of(op: str, dtype: str) -> str:
    return f"op{list(OPS).index(op)}_{dtype}"


def program(op: str, dtype: str, lanes: int):
    """Two native vectors at a time, then a masked tail, then the same at width 1."""

    def at(i: str) -> str:
        return call(op, [f"a[{i}]", f"b[{i}]", f"a[{i}]"])

    width = 2 * lanes
    out = result(op, dtype)
    return parse_program(f"""
def {name_of(op, dtype)}(a: {dtype}[{N}], b: {dtype}[{N}], y: {out}[{N}], z: {out}[{N}]):
    for io in serial({N // width}):
        for i in vector({width}):
            y[io * {width} + i] = {at(f"io * {width} + i")}
    for i in vector({width}):
        if {N // width * width} + i < {N}:
            y[{N // width * width} + i] = {at(f"{N // width * width} + i")}
    for i in serial({N}):
        z[i] = {at("i")}
""")


def inputs(op: str, dtype: str, rng: np.random.Generator) -> dict[str, np.ndarray]:
    if dtype == "b1":
        return {k: rng.integers(0, 2, N).astype(bool) for k in "ab"}
    if dtype in FLOATS:
        a, b = (rng.standard_normal(N) * 3 for _ in "ab")
        a[:8] = [np.nan, np.inf, -np.inf, 0.0, -0.0, 2.5, -2.5, 1e-3]
        b[:8] = [1.0, 2.0, np.nan, np.inf, 1.0, 2.5, -2.0, np.nan]
        if op in ("log", "log2", "log10", "sqrt", "rsqrt", "pow", "acosh"):
            a[8:] = abs(a[8:]) + (op == "acosh")
        if op in ("asin", "acos", "atanh"):
            a[8:] = np.tanh(a[8:])
        return {k: scalar.round_array(v, dtype) for k, v in (("a", a), ("b", b))}
    info = np.iinfo(NUMPY[dtype])
    a = rng.integers(info.min, info.max, N, NUMPY[dtype], endpoint=True)
    a[:40] = rng.integers(-9 if info.min else 0, 10, 40)
    b = (
        rng.integers(1, 8, N).astype(NUMPY[dtype])
        if op in ("<<", ">>")
        else rng.integers(-9 if info.min else 1, 10, N).astype(NUMPY[dtype])
    )
    return {"a": a, "b": np.where(b == 0, 3, b).astype(NUMPY[dtype]) if op in ("//", "%", "fmod") else b}


@pytest.mark.parametrize("isa", HERE, ids=lambda isa: isa.name)
def test_every_operator_at_every_dtype(isa):
    rng = np.random.default_rng(5)
    programs = {(op, d): program(op, d, isa.lanes) for op, d in CASES}
    built = Built(list(programs.values()), isa, QUICK)
    wrong = [w for (op, d), p in programs.items() for w in compare(built, p, op, d, inputs(op, d, rng))]
    assert not wrong, "\n".join(wrong[:40])


def compare(built: Built, p, op: str, dtype: str, args: dict[str, np.ndarray]) -> list[str]:
    blank = np.zeros(N, NUMPY[result(op, dtype)])
    if result(op, dtype) == "bf16":
        blank = blank.astype(np.float32)
    got = built.run(p.name, {}, {**args, "y": blank, "z": blank})
    want = run_program(p, {}, args)["z"]
    out = []
    if not same(got["y"], got["z"]):
        out.append(f"{op} {dtype}: vector and scalar differ {first(got['y'], got['z'], args)}")
    if not close(got["z"], want, op, dtype):
        out.append(f"{op} {dtype}: not what the interpreter says {first(got['z'], want, args)}")
    return out


def same(x: np.ndarray, y: np.ndarray) -> bool:
    return bool(np.array_equal(x, y, equal_nan=x.dtype.kind == "f"))


def close(x: np.ndarray, want: np.ndarray, op: str, dtype: str) -> bool:
    if op not in ROUGH:
        return same(x, want)
    steps = {"f64": 2**-51, "f32": 2**-22, "f16": 2**-10, "bf16": 2**-7}[dtype]
    with np.errstate(all="ignore"):
        good = np.abs(x.astype(np.float64) - want) <= steps * np.abs(want.astype(np.float64))
    return bool(np.all(good | (np.isnan(x) & np.isnan(want)) | (x == want)))


def first(x, y, args):
    k = next((k for k in range(N) if not (x[k] == y[k] or (x[k] != x[k] and y[k] != y[k]))), 0)
    return f"at {k}: {x[k]!r} {y[k]!r} for {args['a'][k]!r}, {args['b'][k]!r}"


@pytest.mark.parametrize("isa", HERE, ids=lambda isa: isa.name)
def test_every_cast(isa):
    dtypes = (*FLOATS, *INTS, "b1")
    programs = []
    for a in dtypes:
        for b in dtypes:
            width = 2 * isa.lanes
            programs.append(
                parse_program(f"""
def cast_{a}_{b}(a: {a}[{N}], y: {b}[{N}], z: {b}[{N}]):
    for io in serial({-(-N // width)}):
        for i in vector({width}):
            if io * {width} + i < {N}:
                y[io * {width} + i] = {b}(a[io * {width} + i])
    for i in serial({N}):
        z[i] = {b}(a[i])
""")
            )
    built = Built(programs, isa, QUICK)
    rng = np.random.default_rng(6)
    for p in programs:
        _, a, b = p.name.split("_")
        args = {"a": inputs("+", a, rng)["a"]}
        if a in FLOATS and b in INTS:
            args["a"] = scalar.round_array(np.clip(np.nan_to_num(args["a"] * 20, posinf=9, neginf=-9), -100, 100), a)
        if a in ("i64", "i32") and b == "f16":
            args["a"] %= 1000
        blank = np.zeros(N, NUMPY[b])
        got = built.run(p.name, {}, {**args, "y": blank, "z": blank})
        assert same(got["y"], got["z"]), p.name
        want = run_program(p, {}, args)["z"]
        assert same(got["z"], want), (
            p.name,
            [(x, y, z) for x, y, z in zip(args["a"], got["z"], want) if x == x and y != z][:5],
        )
