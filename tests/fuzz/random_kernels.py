"""Random naive kernels of the classes that models are made of, with sizes and integer-valued inputs, so that results agree bitwise
whatever the order of summation."""

import random

import numpy as np
from warploom.ir.interpret import shape_of
from warploom.ir.text import parse_program


def _pointwise(r):
    f = r.choice(
        [
            "x[i, j] * 2.0 + b[j]",
            "max(x[i, j], 0) - b[j]",
            "select(x[i, j] > 0, x[i, j], b[j] * 2.0)",
            "x[i, j] * x[i, j] + f32(i)",
        ]
    )
    g = r.choice(["t[i, j] + x[i, j]", "t[i, j] * 2.0 - b[j]"])
    if r.random() < 0.5:
        return f"""
def pointwise({{M}} {{N}} x: f32[M, N], b: f32[N], y: f32[M, N]):
    for i in serial(M):
        for j in serial(N):
            y[i, j] = {f}
"""
    return f"""
def chain({{M}} {{N}} x: f32[M, N], b: f32[N], y: f32[M, N]):
    t: scratch.f32[M, N]
    for i in serial(M):
        for j in serial(N):
            t[i, j] = {f}
    for i in serial(M):
        for j in serial(N):
            y[i, j] = {g}
"""


def _rows(r):
    monoid, start, value = r.choice(
        [("add", "0", "x[i, j]"), ("max", "-inf", "x[i, j] * 2.0"), ("min", "inf", "x[i, j]"), ("add", "0", "x[i, j] * b[j]")]
    )
    update = f"s[0] += {value}" if monoid == "add" else f"reduce({monoid}, s[0], {value})"
    last, width = r.choice([("y[i, 0] = s[0] * 2.0", "1"), ("for l in serial(N):\n            y[i, l] = x[i, l] - s[0]", "N")])
    return f"""
def rows({{M}} {{N}} x: f32[M, N], b: f32[N], y: f32[M, {width}]):
    for i in serial(M):
        s: local.f32[1]
        s[0] = {start}
        for j in serial(N):
            {update}
        {last}
"""


def _two_pass(r):
    return """
def two_pass({M} {N} x: f32[M, N], y: f32[M, N]):
    for i in serial(M):
        m: local.f32[1]
        s: local.f32[1]
        m[0] = -inf
        for j in serial(N):
            reduce(max, m[0], x[i, j])
        s[0] = 0
        for k in serial(N):
            s[0] += x[i, k] - m[0]
        for l in serial(N):
            y[i, l] = (x[i, l] - m[0]) * s[0]
"""


def _matmul(r):
    b, shape = r.choice([("B[k, j]", "K, N"), ("B[j, k]", "N, K")])
    return f"""
def matmul({{M}} {{N}} {{K}} A: f32[M, K], B: f32[{shape}], C: f32[M, N]):
    for i in serial(M):
        for j in serial(N):
            C[i, j] = 0
            for k in serial(K):
                C[i, j] += A[i, k] * {b}
"""


def _linear(r):
    b, shape = r.choice([("B[k, j]", "K, N"), ("B[j, k]", "N, K")])
    f = r.choice(["max(acc[0] + bias[j], 0)", "acc[0] + bias[j]", "acc[0] * bias[j] + C0[i, j]"])
    return f"""
def linear({{M}} {{N}} {{K}} A: f32[M, K], B: f32[{shape}], bias: f32[N], C0: f32[M, N], C: f32[M, N]):
    for i in serial(M):
        for j in serial(N):
            acc: local.f32[1]
            acc[0] = 0
            for k in serial(K):
                acc[0] += A[i, k] * {b}
            C[i, j] = {f}
"""


def _conv(r):
    return """
def conv({M} {N} {K} x: f32[K, M, N], w: f32[5, K, 3, 3], y: f32[5, M, N]):
    for o in serial(5):
        for i in serial(M):
            for j in serial(N):
                acc: local.f32[1]
                acc[0] = 0
                for c in serial(K):
                    for p in serial(3):
                        for q in serial(3):
                            acc[0] += select(i + p - 1 >= 0 and i + p - 1 < M and j + q - 1 >= 0 and j + q - 1 < N, x[c, i + p - 1, j + q - 1], 0) * w[o, c, p, q]
                y[o, i, j] = max(acc[0], 0)
"""


def _argmax(r):
    return """
def argmax({M} {N} x: f32[M, N], v: f32[M], y: i64[M]):
    for i in serial(M):
        v[i] = -inf
        y[i] = inf
        for j in serial(N):
            reduce(argmax, (v[i], y[i]), (x[i, j], j))
"""


def _cumsum(r):
    return """
def cumsum({M} {N} x: f32[M, N], y: f32[M, N]):
    for i in serial(M):
        s: local.f32[1]
        s[0] = 0
        for j in serial(N):
            y[i, j] = scan(add, s[0], x[i, j])
"""


def _transpose(r):
    return """
def gather({M} {N} p: i64[M] @ within(0, M), x: f32[M, N], y: f32[N, M], z: f32[M, N]):
    for i in serial(M):
        for j in serial(N):
            y[j, i] = x[p[i], j]
            z[i, j] = x[i, j] + x[(i + 1) % M, j]
"""


def _triangle(r):
    return """
def triangle({M} {N} A: f32[M, M], B: f32[M, N], C: f32[M, N]):
    for i in serial(M):
        for j in serial(N):
            C[i, j] = 0
            for k in serial(i + 1):
                C[i, j] += A[i, k] * B[k, j]
"""


CLASSES = (
    _pointwise,
    _pointwise,
    _rows,
    _rows,
    _two_pass,
    _matmul,
    _matmul,
    _linear,
    _linear,
    _linear,
    _conv,
    _argmax,
    _cumsum,
    _transpose,
    _triangle,
)


def kernel(r: random.Random):
    """A naive program and sizes for it; each dim is symbolic or a number."""
    text = r.choice(CLASSES)(r)
    sizes = {d: r.choice([1, 2, 3, 5, 7, 8, 9, 13, 16, 17]) for d in "MNK"}
    symbolic = {d: r.random() < 0.5 for d in "MNK"}
    head, body = text.split("):\n", 1)
    for d in "MNK":
        head = head.replace("{" + d + "}", f"{d}: dim," if symbolic[d] else "")
    text = head + "):\n" + body
    for d in "MNK":
        if not symbolic[d]:
            text = _literal(text, d, sizes[d])
    return parse_program(text), {d: n for d, n in sizes.items() if symbolic[d] and f"{d}: dim" in head}


def _literal(text, name, value):
    import re

    return re.sub(rf"\b{name}\b", str(value), text)


def inputs(program, sizes, seed):
    """Small integers for every param that is read before it is written; outputs are left out."""
    rng = np.random.default_rng(seed)
    out = {}
    for b in program.params:
        if b.name in program.written():
            continue
        shape = shape_of(b, sizes)
        out[b.name] = rng.integers(0, shape[0], shape) if b.dtype == "i64" else rng.integers(-3, 4, shape).astype(np.float32)
    return out
