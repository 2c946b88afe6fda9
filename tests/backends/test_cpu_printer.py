"""Whole kernels through the CPU printer, on every instruction set of this machine, against the interpreter: aligned and before a
fence, with one thread and with two."""

import re

import numpy as np
import pytest
from printed import HERE, Built, aligned, fenced
from warploom.backends.cpu.isa import AVX2, AVX512, ISAS, PORTABLE, detect
from warploom.backends.cpu.printer import THREADS, declaration, print_function, scratch_bytes, symbol
from warploom.ir import scalar
from warploom.ir.expr import Var, names
from warploom.ir.interpret import evaluate, run_program
from warploom.ir.text import parse_program
from warploom.ir.types import FLOATS, NUMPY

KERNELS = {}


def kernel(text: str, *dims: dict[str, int], spread: int = 4, exact: bool = True, **fixed):
    """`fixed`: values of arguments that are not random small integers."""
    p = parse_program(text)
    KERNELS[p.name] = (p, dims or ({},), spread, exact, fixed)


kernel(
    """
def matmul(M: dim[1, 64], N: dim[1, 256], K: dim[1, 64], A: f32[M, K], B: f32[K, N], C: f32[M, N]):
    Bp: scratch.f32[(N + 63) // 64, K, 4, 16]
    for jo in block((N + 63) // 64):
        for k in serial(K):
            for jv in unroll(4):
                for j in vector(16):
                    Bp[jo, k, jv, j] = select(jo * 64 + jv * 16 + j < N, B[k, jo * 64 + jv * 16 + j], 0.0)
    for jo in block((N + 63) // 64):
        for io in block((M + 5) // 6):
            acc: local.f32[6, 4, 16]
            for i in unroll(6):
                for jv in unroll(4):
                    for j in vector(16):
                        acc[i, jv, j] = 0.0
            for k in serial(K):
                for i in unroll(6):
                    for jv in unroll(4):
                        for j in vector(16):
                            acc[i, jv, j] += A[min(io * 6 + i, M - 1), k] * Bp[jo, k, jv, j]
            for i in unroll(6):
                if io * 6 + i < M:
                    for jv in unroll(4):
                        for j in vector(16):
                            if jo * 64 + jv * 16 + j < N:
                                C[io * 6 + i, jo * 64 + jv * 16 + j] = acc[i, jv, j]
""",
    {"M": 7, "N": 83, "K": 9},
    {"M": 1, "N": 1, "K": 1},
)
kernel(
    """
def dot_bytes(M: dim[1, 64], A: u8[M, 24], B: i8[2, 6, 16, 4], C: i32[M, 32]):
    for jo in block(2):
        for io in block((M + 2) // 3):
            acc: local.i32[3, 16]
            for i in unroll(3):
                for j in vector(16):
                    acc[i, j] = 7
            for k in serial(6):
                for i in unroll(3):
                    if io * 3 + i < M:
                        vnni16(acc[i, 0], A[io * 3 + i, k * 4], B[jo, k, 0, 0])
            for i in unroll(3):
                if io * 3 + i < M:
                    for j in vector(16):
                        C[io * 3 + i, jo * 16 + j] = acc[i, j]
""",
    {"M": 7},
    {"M": 1},
)
kernel(
    """
def dot_bfloat(M: dim[1, 64], A: bf16[M, 8], B: bf16[2, 4, 16, 2], C: f32[M, 32]):
    for i in block(M):
        acc: local.f32[2, 16]
        for jo in unroll(2):
            for j in vector(16):
                acc[jo, j] = 0.0
        for k in serial(4):
            for jo in unroll(2):
                bf16dot16(acc[jo, 0], A[i, k * 2], B[jo, k, 0, 0])
        for jo in unroll(2):
            for j in vector(16):
                C[i, jo * 16 + j] = acc[jo, j]
""",
    {"M": 5},
)
kernel(
    """
def by_rows(M: dim[1, 64], N: dim[1, 64], x: f32[M, N], y: f32[M, N]):
    match M:
        case within(1, 3) | within(9, 12):
            for i in block(M):
                for j in serial(N):
                    y[i, j] = x[i, j] * 2.0
        case within(3, 9) | within(12, 65):
            t: scratch.f32[M, N]
            for i in block(M):
                for j in serial(N):
                    t[i, j] = x[i, j] + 1.0
            for i in block(M):
                for j in serial(N):
                    y[i, j] = t[i, j] * 2.0 - 2.0
""",
    {"M": 2, "N": 5},
    {"M": 3, "N": 7},
    {"M": 10, "N": 3},
    {"M": 40, "N": 20},
)
kernel(
    """
def private_scratch(M: dim[1, 64], A: f32[M, 20], C: f32[M, 20]):
    for i in block(M):
        row: scratch.f32[20 + M]
        for k in serial(20):
            row[k + M] = A[i, k] * 2.0
        for k in vector(20):
            C[i, k] = row[19 - k + M]
""",
    {"M": 5},
)
kernel(
    """
def softmax(M: dim, N: dim, x: f32[M, N], y: f32[M, N]):
    for i in block(M):
        m: local.f32[1]
        s: local.f32[1]
        pm: local.f32[32]
        ps: local.f32[32]
        m[0] = -inf
        s[0] = 0.0
        for j in vector(32):
            pm[j] = -inf
            ps[j] = 0.0
        for jo in serial((N + 31) // 32):
            for j in vector(32):
                if jo * 32 + j < N:
                    reduce(lse, (pm[j], ps[j]), (x[i, jo * 32 + j], 1.0))
        for j in vector(32):
            reduce(lse, (m[0], s[0]), (pm[j], ps[j]))
        for jo in serial((N + 31) // 32):
            for j in vector(32):
                if jo * 32 + j < N:
                    y[i, jo * 32 + j] = exp(x[i, jo * 32 + j] - m[0]) / s[0]
""",
    {"M": 3, "N": 37},
    {"M": 1, "N": 64},
    exact=False,
)
kernel(
    """
def moments(M: dim, N: dim, x: f32[M, N], y: f32[M, 2]):
    for i in block(M):
        c: local.f32[1]
        mu: local.f32[1]
        q: local.f32[1]
        c[0] = 0.0
        mu[0] = 0.0
        q[0] = 0.0
        for jo in serial((N + 31) // 32):
            for j in vector(32):
                if jo * 32 + j < N:
                    reduce(welford, (c[0], mu[0], q[0]), (1.0, x[i, jo * 32 + j], 0.0))
        y[i, 0] = mu[0]
        y[i, 1] = q[0] / c[0]
""",
    {"M": 3, "N": 70},
    exact=False,
)
kernel(
    """
def argmax_rows(M: dim, N: dim, x: f32[M, N], y: i64[M]):
    for i in block(M):
        v: local.f32[1]
        ix: local.i64[1]
        pv: local.f32[32]
        pix: local.i64[32]
        v[0] = -inf
        ix[0] = inf
        for j in vector(32):
            pv[j] = -inf
            pix[j] = inf
        for jo in serial((N + 31) // 32):
            for j in vector(32):
                if jo * 32 + j < N:
                    reduce(argmax, (pv[j], pix[j]), (x[i, jo * 32 + j], jo * 32 + j))
        for j in vector(32):
            reduce(argmax, (v[0], ix[0]), (pv[j], pix[j]))
        y[i] = ix[0]
""",
    {"M": 3, "N": 101},
)
kernel(
    """
def argmin_middle(A: dim, R: dim, B: dim, x: f32[A, R, B], y: i32[A, B]):
    for a in block(A):
        for bo in block((B + 15) // 16):
            v: local.f32[16]
            ix: local.i32[16]
            for b in vector(16):
                v[b] = inf
                ix[b] = 2147483647
            for k in serial(R):
                for b in vector(16):
                    if bo * 16 + b < B:
                        reduce(argmin, (v[b], ix[b]), (x[a, k, bo * 16 + b], i32(k)))
            for b in vector(16):
                if bo * 16 + b < B:
                    y[a, bo * 16 + b] = ix[b]
""",
    {"A": 2, "R": 5, "B": 21},
)
kernel(
    """
def scans(M: dim, N: dim, x: f32[M, N], k: i64[M, N], y: f32[M, N], z: i64[M, N]):
    for i in block(M):
        s: local.f32[1]
        t: local.i64[1]
        s[0] = 0.0
        t[0] = -inf
        for jo in serial((N + 63) // 64):
            for j in vector(64):
                if jo * 64 + j < N:
                    y[i, jo * 64 + j] = scan(add, s[0], x[i, jo * 64 + j])
            for j in vector(64):
                if jo * 64 + j < N:
                    z[i, jo * 64 + j] = scan(max, t[0], k[i, jo * 64 + j])
""",
    {"M": 3, "N": 150},
)
kernel(
    """
def maxpool(N: dim, H: dim, W: dim, x: f32[N, H, W], y: f32[N, (H - 1) // 2 + 1, (W - 1) // 2 + 1]):
    for n in block(N):
        for oh in block((H - 1) // 2 + 1):
            for wo in block(((W - 1) // 2 + 16) // 16):
                acc: local.f32[16]
                for ow in vector(16):
                    acc[ow] = -inf
                for p in serial(max(0, 1 - oh * 2), min(3, H + 1 - oh * 2)):
                    for q in unroll(3):
                        for ow in vector(16):
                            reduce(max, acc[ow], select((wo * 16 + ow) * 2 + q - 1 >= 0 and (wo * 16 + ow) * 2 + q - 1 < W, x[n, oh * 2 + p - 1, (wo * 16 + ow) * 2 + q - 1], -inf))
                for ow in vector(16):
                    if wo * 16 + ow < (W - 1) // 2 + 1:
                        y[n, oh, wo * 16 + ow] = acc[ow]
""",
    {"N": 2, "H": 7, "W": 39},
)
kernel(
    """
def triangle(M: dim, N: dim, A: f32[M, M], B: f32[M, N], C: f32[M, N]):
    for i in block(M):
        for jo in block((N + 15) // 16):
            acc: local.f32[16]
            for j in vector(16):
                acc[j] = 0.0
            for k in serial(0, i + 1):
                for j in vector(16):
                    if jo * 16 + j < N:
                        acc[j] += A[i, k] * B[k, jo * 16 + j]
            for j in vector(16):
                if jo * 16 + j < N:
                    C[i, jo * 16 + j] = acc[j]
""",
    {"M": 6, "N": 21},
)
kernel(
    """
def total(N: dim, x: f32[N], y: f32[1]):
    part: scratch.f32[64]
    for b in block(64):
        s: shared.f32[1]
        s[0] = 0.0
        for t in lanes(64):
            p: local.f32[1]
            p[0] = 0.0
            for i in serial((N + 4095) // 4096):
                if i * 4096 + b * 64 + t < N:
                    p[0] += x[i * 4096 + b * 64 + t]
            s[0] += p[0]
        part[b] = s[0]
    for u in block(1):
        f: shared.f32[1]
        f[0] = 0.0
        for t in vector(64):
            f[0] += part[t]
        y[0] = f[0]
""",
    {"N": 5001},
)
kernel(
    """
def scatter_add(V: dim, N: dim, D: dim, idx: i64[N] @ within(0, V), x: f32[N, D], y: f32[V, D], z: f16[V]):
    for n in block(N):
        for do in serial((D + 15) // 16):
            for d in vector(16):
                if do * 16 + d < D:
                    y[idx[n], do * 16 + d] += x[n, do * 16 + d]
        reduce(max, z[idx[n]], f16(x[n, 0]))
""",
    {"V": 5, "N": 40, "D": 20},
)
kernel(
    """
def lookups(V: dim, N: dim, idx: i32[N] @ within(0, V), wide: i64[V] @ within(0, V), x: f32[V, 3], h: bf16[V], y: f32[N], z: bf16[N], w: f32[N, 3]):
    for no in block((N + 31) // 32):
        for n in vector(32):
            if no * 32 + n < N:
                y[no * 32 + n] = x[i64(idx[no * 32 + n]), 1] + f32(wide[i64(idx[no * 32 + n])])
                z[no * 32 + n] = h[i64(idx[no * 32 + n])] * 2.0
                w[no * 32 + n, 2] = x[wide[i64(idx[no * 32 + n])], 2]
""",
    {"V": 5, "N": 70},
)
kernel(
    """
def strides(N: dim[1, 100], M: dim[16, 64], x: f32[4 * N + 99, M], y: f32[N, 8], k: i16[4 * N + 99], v: i16[N, 4]):
    for i in serial(N):
        for j in vector(8):
            y[i, j] = x[i + j * 3, 5] + x[2 * j, M - 1 - j] + x[99 - j, 0]
    for io in serial((N + 15) // 16):
        for i in vector(16):
            if io * 16 + i < N:
                v[io * 16 + i, 0] = k[2 * io * 32 + 2 * i]
                v[io * 16 + i, 1] = k[N - 1 - io * 16 - i]
                v[io * 16 + i, 2] = k[(io * 16 + i) // 3] + k[(io * 16 + i) % 5]
                v[io * 16 + i, 3] = i16(io * 16 + i)
""",
    {"N": 21, "M": 19},
)
kernel(
    """
def streamed(M: dim, N: dim, x: f32[M, N], y: stream.f32[M, N], z: stream.f16[M, 64]):
    for i in block(M):
        for jo in serial(N // 32):
            for j in vector(32):
                y[i, jo * 32 + j] = x[i, jo * 32 + j] * 2.0
        for j in serial(N // 32 * 32, N):
            y[i, j] = x[i, j] * 2.0
        for j in vector(64):
            z[i, j] = f16(select(j < N, x[i, j], 1.0))
""",
    {"M": 3, "N": 64},
    {"M": 3, "N": 71},
)
kernel(
    """
def private_arrays(N: dim, x: f32[N], y: f32[N], flags: b1[N], count: i64[1]):
    for io in serial((N + 31) // 32):
        for i in vector(32):
            if io * 32 + i < N:
                t: local.f32[3]
                deep: local.b1[1]
                for k in serial(3):
                    t[k] = x[io * 32 + i] * f32(k)
                deep[0] = t[1] > 1.0 and not (t[2] == 4.0)
                if deep[0]:
                    y[io * 32 + i] = t[2] + t[0]
                if not deep[0]:
                    y[io * 32 + i] = -1.0
                flags[io * 32 + i] = deep[0]
    count[0] = 0
    any_one: local.b1[1]
    any_one[0] = False
    for io in serial((N + 31) // 32):
        for i in vector(32):
            if io * 32 + i < N:
                count[0] += select(flags[io * 32 + i], 1, 0)
                reduce(any, any_one[0], flags[io * 32 + i])
    if any_one[0]:
        count[0] = count[0] + 100
""",
    {"N": 75},
)
kernel(
    """
def uniform_under_mask(N: dim, a: f32[(N + 15) // 16], x: f32[N], y: f32[48]):
    for io in serial(3):
        for i in vector(16):
            y[io * 16 + i] = select(io * 16 + i < N, x[io * 16 + i] + a[io], 0.0)
""",
    {"N": 17},
    {"N": 1},
)
kernel(
    """
def half_sums(N: dim, x: f16[N], b: bf16[N], y: f16[1], z: bf16[N], w: f32[1]):
    w[0] = 0.0
    for io in serial((N + 31) // 32):
        for i in vector(32):
            if io * 32 + i < N:
                w[0] += f32(x[io * 32 + i])
                z[io * 32 + i] = bf16(x[io * 32 + i]) + b[io * 32 + i] * b[io * 32 + i]
    y[0] = 0.0
    for i in serial(N):
        reduce(max, y[0], x[i])
""",
    {"N": 45},
)
kernel(
    """
def doubles(N: dim, x: f64[N], k: i64[N], y: f64[N], s: f64[1]):
    s[0] = 0.0
    for io in serial((N + 31) // 32):
        for i in vector(32):
            if io * 32 + i < N:
                y[io * 32 + i] = select(x[io * 32 + i] > 0.0, x[io * 32 + i] * 0.5, f64(k[io * 32 + i] // 3))
                s[0] += x[io * 32 + i]
""",
    {"N": 75},
)
kernel(
    """
def int8_dot(M: dim, N: dim, K: dim, A: u8[M, K * 4], B: i8[N, K, 16, 4], C: i32[M, N * 16]):
    for i in block(M):
        for jo in block(N):
            acc: local.i32[16]
            for j in serial(16):
                acc[j] = 0
            for k in serial(K):
                vnni16(acc[0], A[i, k * 4], B[jo, k, 0, 0])
            for j in serial(16):
                C[i, jo * 16 + j] = acc[j]
""",
    {"M": 5, "N": 2, "K": 3},
)
kernel(
    """
def clashing(int_: dim, exp: f32[8], y0: f32[8], mask: f32[8]):
    for load in unroll(2):
        acc: local.f32[2, 4]
        for lanes in vector(4):
            acc[load, lanes] = exp[load * 4 + lanes]
        for lanes in vector(4):
            y0[load * 4 + lanes] = acc[load, lanes] + 1.0
    acc_0: local.f32[1]
    acc_0[0] = 2.0
    for i in serial(8):
        mask[i] = acc_0[0]
""",
    {"int_": 1},
)


kernel(
    """
def one_lane(x: f32[40], y: f32[2]):
    for o in vector(32):
        if o == 3:
            y[o * 6 // 3 % 2] = x[o] * 2.0
    for o in vector(32):
        if o == 30:
            y[1] = x[o + 3]
"""
)


def arguments(p, dims, rng, spread, fixed):
    out = {}
    for b in p.params:
        shape = tuple(evaluate(d, dims) for d in b.shape)
        if b.name in fixed:
            out[b.name] = fixed[b.name]
        elif b.within:
            out[b.name] = rng.integers(evaluate(b.within[0], dims), evaluate(b.within[1], dims), shape).astype(NUMPY[b.dtype])
        else:
            whole = rng.integers(0 if b.dtype in ("u8", "b1") else -spread, spread, shape)
            out[b.name] = (
                scalar.round_array(whole.astype(np.float64), b.dtype) if b.dtype in FLOATS else whole.astype(NUMPY[b.dtype])
            )
    return out


@pytest.fixture(scope="module", params=HERE, ids=lambda isa: isa.name)
def built(request):
    return Built([p for p, *_ in KERNELS.values()], request.param)


@pytest.mark.parametrize("name", KERNELS)
def test_kernel_equals_the_interpreter(built, name):
    p, all_dims, spread, exact, fixed = KERNELS[name]
    for seed, dims in enumerate(all_dims):
        args = arguments(p, dims, np.random.default_rng(seed), spread, fixed)
        want = run_program(p, dims, args, check_races=False)
        for threads, place in ((1, aligned), (2, fenced)):
            got = built.run(name, dims, args, threads, place)
            for k in want:
                same = np.array_equal(got[k], want[k]) if exact else np.allclose(got[k], want[k], rtol=2e-6, atol=1e-6)
                assert same, (k, dims, got[k], want[k])


def test_scratch_is_an_expression_over_dims_and_threads():
    p = KERNELS["private_scratch"][0]
    size = scratch_bytes(p, AVX512)
    assert names(size) == {"M", THREADS}
    assert evaluate(size, {"M": 3, THREADS: 4}) == 4 * 128
    assert "char* scratch" in declaration(p, AVX512)
    assert "scratch" not in declaration(KERNELS["softmax"][0], AVX512)


def test_register_tile_has_no_array_and_no_lambda():
    text = print_function(KERNELS["matmul"][0], AVX512)
    assert "acc_5_3 = acc_5_3 + " in text
    assert not re.search(r"f32x16 acc\w*\[", text)


def test_names_are_kept_from_keywords_and_the_header():
    p = parse_program("def exp(float: dim, x: f32[float]):\n    for i in serial(float):\n        x[i] = exp(x[i])\n")
    assert symbol(p) == "exp_kernel"
    assert "int64_t float_2" in print_function(p, PORTABLE)


def test_triangular_loops_are_shared_out_dynamically():
    assert "schedule(dynamic)" in print_function(KERNELS["triangle"][0], AVX2)
    assert "schedule(static)" in print_function(KERNELS["maxpool"][0], AVX2)


def test_small_loops_stay_on_the_calling_thread():
    text = print_function(KERNELS["matmul"][0], AVX512)
    assert re.search(r"if\(.*K.* >= parallel_from\)", text)


def test_detection_takes_the_widest_instruction_set():
    assert detect(AVX512.needs) is AVX512
    assert detect(AVX512.needs - {"avx512dq"}) is AVX2
    assert detect(()) is PORTABLE
    assert all(isa.lanes in (4, 8, 16) and "-ffast-math" not in isa.flags for isa in ISAS)
    assert Var(THREADS)
