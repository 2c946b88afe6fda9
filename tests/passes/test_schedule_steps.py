"""Each schedule step: golden text of what it does, the same bits before and after, and what it refuses."""

import numpy as np
import pytest
from warploom.ir.diagnostic import IllegalStep, ParseError
from warploom.ir.interpret import run_program, shape_of
from warploom.ir.text import parse_program, print_program
from warploom.ir.verify import verify
from warploom.passes.schedule.merge import Merge
from warploom.passes.schedule.script import STEPS, apply, parse_script, print_script

NAIVE = {
    "matmul": """
def matmul(M: dim, N: dim, K: dim, A: f32[M, K], B: f32[K, N], C: f32[M, N]):
    for i in serial(M):
        for j in serial(N):
            C[i, j] = 0
            for k in serial(K):
                C[i, j] += A[i, k] * B[k, j]
""",
    "linear": """
def linear(M: dim, N: dim, K: dim, A: f32[M, K], B: f32[K, N], bias: f32[N], C: f32[M, N]):
    for i in serial(M):
        for j in serial(N):
            acc: local.f32[1]
            acc[0] = 0
            for k in serial(K):
                acc[0] += A[i, k] * B[k, j]
            C[i, j] = max(acc[0] + bias[j], 0)
""",
    "linear_fixed": """
def linear_fixed(A: f32[30, 40], B: f32[40, 70], bias: f32[70], C: f32[30, 70]):
    for i in serial(30):
        for j in serial(70):
            acc: local.f32[1]
            acc[0] = 0
            for k in serial(40):
                acc[0] += A[i, k] * B[k, j]
            C[i, j] = max(acc[0] + bias[j], 0)
""",
    "scale": """
def scale(M: dim, N: dim, x: f32[M, N], y: f32[M, N]):
    for i in serial(M):
        for j in serial(N):
            y[i, j] = x[i, j] * 2.0
""",
    "rows": """
def rows(M: dim, N: dim, x: f32[M, N], y: f32[M]):
    for i in serial(M):
        s: local.f32[1]
        s[0] = 0
        for j in serial(N):
            s[0] += x[i, j]
        y[i] = s[0]
""",
    "fixed": """
def fixed(x: f32[6, 20], y: f32[6, 20]):
    for i in serial(6):
        for j in serial(20):
            y[i, j] = x[i, j] * 2.0
""",
    "chain": """
def chain(N: dim, x: f32[N], y: f32[N]):
    t: scratch.f32[N]
    for i in serial(N):
        t[i] = x[i] * 2.0
    for j in serial(N):
        y[j] = t[j] + t[N - 1 - j]
""",
    "two": """
def two(N: dim, x: f32[N], y: f32[N], z: f32[N]):
    for i in serial(N):
        y[i] = x[i] * 2.0
    for j in serial(N):
        z[j] = y[j] + 1.0
""",
    "softmax": """
def softmax(M: dim, N: dim, x: f32[M, N], y: f32[M, N]):
    for i in serial(M):
        m: local.f32[1]
        s: local.f32[1]
        m[0] = -inf
        for j in serial(N):
            reduce(max, m[0], x[i, j])
        s[0] = 0
        for k in serial(N):
            s[0] += exp(x[i, k] - m[0])
        for l in serial(N):
            y[i, l] = exp(x[i, l] - m[0]) / s[0]
""",
    "columns": """
def columns(N: dim, x: f32[N], m: f32[N], s: f32[1]):
    for i in serial(N):
        m[i] = -inf
    for j in serial(N):
        reduce(max, m[j], x[j])
    s[0] = 0
    for k in serial(N):
        s[0] += exp(x[k] - m[k])
""",
    "cumsum": """
def cumsum(M: dim, N: dim, x: f32[M, N], y: f32[M, N]):
    for i in serial(M):
        s: local.f32[1]
        s[0] = 0
        for j in serial(N):
            y[i, j] = scan(add, s[0], x[i, j])
""",
    "half": """
def half(A: f16[40, 24], B: f16[20, 24], C: f32[40, 20]):
    for i in serial(40):
        for j in serial(20):
            acc: local.f32[1]
            acc[0] = 0
            for k in serial(24):
                acc[0] += f32(B[j, k]) * f32(A[i, k])
            C[i, j] = acc[0]
""",
    "gemm_i8": """
def gemm_i8(M: dim, N: dim, K: dim, A: u8[M, K * 4], B: i8[K * 4, N * 16], C: i32[M, N * 16]):
    for i in serial(M):
        for j in serial(N * 16):
            acc: local.i32[1]
            acc[0] = 0
            for k in serial(K * 4):
                acc[0] += i32(A[i, k]) * i32(B[k, j])
            C[i, j] = acc[0]
""",
}  # fmt: skip
PROGRAMS = {name: parse_program(text) for name, text in NAIVE.items()}

# the tile 16 x 8 x 16 of a warp, both sides staged along the reduction; rows and columns of the lanes are ig, jt
WARP = (
    "split(i, 16); split(j, 8); reorder(i0, j0, i1, j1); split(i1, 8, ih, ig); split(j1, 2, jt, jp); reorder(ig, jt, ih, jp); split(k, 16); "
    "expand(ig, jt, ih, jp); reorder(ig, jt, ih, jp, k1); stage(A, k0, (ih, ig, k1), shared); stage(B, k0, (jt, jp, k1), shared); unguard(acc); "
    "merge(A_s, 0); merge(B_s, 0)"
)

GOOD = {
    "split_guard": ("scale", "split(j, 8)"),
    "split_names": ("scale", "split(j, 8, jo, ji)"),
    "split_exact": ("fixed", "split(j, 5, tail=exact)"),
    "split_cut": ("scale", "split(j, 8, tail=cut)"),
    "split_cut_fixed": ("fixed", "split(j, 8, tail=cut)"),
    "split_cut_whole": ("fixed", "split(j, 4, tail=cut)"),
    "split_cut_allocates": ("rows", "split(i, 4, tail=cut)"),
    "split_mask": ("scale", "split(j, 8, tail=mask)"),
    "split_mask_fixed": ("fixed", "split(j, 16, tail=mask, round=8)"),
    "split_overlap": ("fixed", "split(j, 8, tail=overlap)"),
    "reorder": ("scale", "split(j, 8); reorder(j0, i, j1)"),
    "reorder_reduction": ("matmul", "fission(j); fission(i); rename(i, m, 1); rename(j, n, 1); reorder(k, m, n)"),
    "fission": ("matmul", "fission(j)"),
    "fission_both": ("matmul", "fission(j); fission(i)"),
    "fuse": ("two", "fuse(i, j)"),
    "collapse": ("fixed", "collapse(i, j)"),
    "unroll": ("fixed", "split(j, 4); unroll(j1)"),
    "bind_block": ("scale", "bind(i, block)"),
    "bind_vector": ("scale", "split(j, 8, tail=cut); bind(j1, vector)"),
    "bind_vector_from_zero": ("fixed", "split(j, 8, tail=cut); bind(j2, vector)"),
    "bind_owns": ("linear", "split(j, 8); expand(j1); bind(j1, lanes)"),
    "rename_axis": ("matmul", "fission(j); rename(j, n, 1)"),
    "rename_buffer": ("linear", "rename(acc, total)"),
    "accumulate": ("matmul", "fission(j); fission(i); split(j, 8); reorder(i, j0, k, j1); accumulate(C, at=j0, by=j1)"),
    "accumulate_blocked": ("matmul", "fission(j); fission(i); split(k, 4); split(j, 8); reorder(k0, i, j0, k1, j1); accumulate(C, at=j0, by=j1)"),
    "rfactor": ("rows", "split(j, 8); rfactor(j0, j1)"),
    "rfactor_two": ("rows", "split(j, 64, tail=cut); split(j1, 16, u, l); rfactor(j0, (u, l)); bind(l, vector)"),
    "expand": ("linear", "split(i, 4); split(j, 8); reorder(i0, j0, i1, j1); expand(i1, j1)"),
    "expand_lanes": ("linear", "bind(j, lanes); expand(j)"),
    "expand_unrolled": ("rows", "split(i, 4); bind(i1, unroll); split(j, 8, tail=cut); rfactor(j0, j1); bind(j1, vector); expand(i1)"),
    "stage": ("matmul", "stage(B, at=root, by=(j, k))"),
    "stage_guarded": ("linear", "split(j, 8); expand(j1); stage(B, at=j0, by=(k, j1), space=shared)"),
    "set_space": ("chain", "set_space(t, shared)"),
    "unguard": ("linear", "split(j, 8); split(k, 4); expand(j1); stage(B, at=root, by=(j0, k0, k1, j1)); stage(A, at=i, by=(k0, k1)); unguard(acc)"),
    "inline": ("chain", "inline(t)"),
    "online": ("softmax", "online(j, k)"),
    "tensorize": ("gemm_i8", "split(j, 16); split(k, 4); expand(j1); reorder(k0, j1, k1); stage(B, at=root, by=(j0, k0, j1, k1)); tensorize((j1, k1), vnni16)"),
    "tensorize_warp": ("half", f"{WARP}; bind(ig, lanes); bind(jt, lanes); tensorize((ig, jt, ih, jp, k1), mma_m16n8k16_f16)"),
    "pipeline": ("linear", "split(j, 8); expand(j1); split(k, 4); stage(B, at=k0, by=(k1, j1), space=shared); pipeline(k0, B_s)"),
    "merge": ("linear", "split(j, 8); expand(j1); split(k, 4); stage(B, at=k0, by=(k1, j1), space=shared); merge(B_s, 0)"),
    "merge_padded": ("linear", "split(j, 8); expand(j1); split(k, 4); stage(B, at=k0, by=(k1, j1), space=shared); merge(B_s, 0, pad=2)"),
    "when": ("scale", "when(M, 1, 4); when(M, 6, 8); bind(i, block); when(M, 4, 6); when(M, 8); split(i, 4, tail=cut)"),
    "when_common": ("rows", "split(j, 4, tail=cut); when(M, 1, 4); bind(i, block); when(M, 4)"),
    "goto": ("linear", "split(i, 14); split(j, 32); reorder(j0, i0, i1, j1); expand(i1, j1); stage(B, at=root, by=(j0, k, j1)); stage(A, at=root, by=(i0, k, i1)); unguard(acc); bind(j1, vector); bind(i1, unroll); bind(j0, block)"),
    "goto_tails": ("linear_fixed", "split(i, 14, tail=cut); split(j, 32, tail=mask, round=16); fission(i1); fission(i2); reorder(j0, i1, j1); reorder(j0, i2, j1); expand(i1, j1); expand(i1, j2); expand(i2, j1); expand(i2, j2); bind(j1, vector); bind(j2, vector); bind(i1, unroll); bind(i2, unroll)"),
    "goto_blocked": ("linear", "expand(i, j); set_space(acc, scratch); rename(i, ic, 1); rename(j, jc, 1); split(ic, 14); split(jc, 32); split(k, 16); reorder(k0, jc0, ic0, k1, ic1, jc1); accumulate(acc, at=ic0, by=(ic1, jc1)); stage(B, at=k0, by=(jc0, k1, jc1)); stage(A, at=k0, by=(ic0, k1, ic1)); unguard(acc_acc); bind(jc1, vector); bind(ic1, unroll)"),
    "goto_plain": ("matmul", "fission(j); fission(i); split(i, 14); split(j, 32); split(k, 16); reorder(j0, k0, i0, k1, i1, j1); accumulate(C, at=i0, by=(i1, j1)); stage(B, at=k0, by=(k1, j1)); stage(A, at=i0, by=(k1, i1)); unguard(C_acc); bind(j1, vector); bind(i1, unroll)"),
}  # fmt: skip


def data(program, sizes, seed=0):
    rng = np.random.default_rng(seed)
    kinds = {"f32": np.float32, "f16": np.float16, "u8": np.uint8, "i8": np.int8}
    written = program.written()
    return {
        b.name: rng.integers(0, 5, shape_of(b, sizes)).astype(kinds[b.dtype]) for b in program.params if b.name not in written
    }


SIZES = [dict(M=5, N=9, K=6), dict(M=1, N=1, K=1), dict(M=15, N=67, K=17)]


@pytest.mark.parametrize("name", GOOD)
def test_step(name, golden):
    which, script = GOOD[name]
    program = PROGRAMS[which]
    verify(program)
    scheduled = apply(program, script)
    assert parse_program(print_program(scheduled)) == scheduled
    golden(name, f"{script}\n\n{print_program(program)}\n{print_program(scheduled)}")
    for sizes in SIZES if program.dims else [{}]:
        sizes = {d.name: sizes[d.name] for d in program.dims}
        args = data(program, sizes)
        want, got = run_program(program, sizes, args), run_program(scheduled, sizes, args, check_races=True)
        for output in want:
            if which == "softmax":
                np.testing.assert_allclose(got[output], want[output], rtol=1e-6)
            else:
                assert np.array_equal(got[output], want[output])


def test_every_step_has_a_golden_text():
    used = {type(s) for _, script in GOOD.values() for s in parse_script(script)}
    assert used == set(STEPS.values())


@pytest.mark.parametrize("name", GOOD)
def test_scripts_print_and_parse(name):
    script = parse_script(GOOD[name][1])
    assert parse_script(print_script(script)) == script
    assert parse_script(GOOD[name][1].replace("; ", "\n")) == script


ILLEGAL = [
    ("scale", "split(i, 0)", "at least one element"),
    ("scale", "split(i, 8, tail=half)", "not a tail"),
    ("scale", "split(i, 8, tail=exact)", "does not surely divide"),
    ("scale", "split(i, 8, j)", "is taken"),
    ("scale", "split(q, 8)", "there is no axis `q`"),
    ("rows", "split(j, 8, tail=overlap)", "may not be done twice"),
    ("matmul", "reorder(j, i, k)", "do not form one perfect nest"),
    ("cumsum", "split(j, 4); reorder(j1, j0)", "this order matters"),
    ("cumsum", "bind(i, vector)", "has a fixed extent"),
    ("cumsum", "bind(j, block)", "rule independence"),
    ("cumsum", "split(j, 4); rfactor(j0, j1)", "never reordered"),
    ("linear", "fission(j)", "expand"),
    ("softmax", "fission(i)", "expand"),
    ("two", "fuse(j, i)", "follows"),
    ("chain", "fuse(i, j)", "meet in `t`"),
    ("matmul", "collapse(i, k)", "does not hold just"),
    ("scale", "unroll(i)", "no fixed extent"),
    ("scale", "bind(i, warp)", "not a kind"),
    ("rows", "bind(j, block); bind(i, lanes)", "registers cannot be combined"),
    ("scale", "rename(i, j)", "is taken"),
    ("two", "rename(i, q, 1)", "occurs 1 times"),
    ("scale", "accumulate(y, at=i, by=j)", "nothing is combined"),
    ("matmul", "accumulate(C, at=i, by=k)", "`by` must be exactly these"),
    ("matmul", "accumulate(C, at=i, by=j)", "this uses `C` too"),
    ("scale", "rfactor(i, j)", "no reduction across"),
    ("cumsum", "expand(j)", "order matters"),
    ("two", "stage(y, at=root, by=i)", "not a loop between"),
    ("two", "fuse(i, j); stage(y, at=i, by=i)", "not a loop between"),
    ("chain", "stage(t, at=root, by=j)", "all loads must have one index"),
    ("matmul", "stage(B, at=i, by=j)", "`by` lacks k"),
    ("matmul", "stage(D, at=i, by=j)", "there is no buffer"),
    ("scale", "set_space(y, local)", "is not allocated"),
    ("chain", "set_space(t, heap)", "not a space"),
    ("linear", "split(j, 8); expand(j1); unguard(acc)", "rule in-bounds"),
    ("linear", "unguard(acc)", "no condition"),
    ("linear", "inline(acc)", "not written by one plain store"),
    ("softmax", "online(j, l)", "not sum the exponentials"),
    ("columns", "online(j, k)", "not the same for all"),
    ("softmax", "online(k, j)", "not a maximum loop and a sum"),
    ("gemm_i8", "expand(j); tensorize((k, j), vnni16)", "extents differ"),
    ("half", f"{WARP}; tensorize((ig, jt, ih, jp, k1), mma_m16n8k16_f16)", "`ig` is not bound to lanes"),
    ("half", f"{WARP}; bind(ig, lanes); bind(jt, lanes); tensorize((ig, jt, ih, jp, k1), mma_m16n8k16_bf16)", "takes bf16 for `a`, not `B_s`"),
    ("half", f"{WARP}; set_space(A_s, scratch); bind(ig, lanes); bind(jt, lanes); tensorize((ig, jt, ih, jp, k1), mma_m16n8k16_f16)", "takes a shared.f16[8, 16] for `b`, not `A_s`"),
    ("half", f"{WARP}; bind(ig, lanes); bind(jt, lanes); set_space(acc, shared); tensorize((ig, jt, ih, jp, k1), mma_m16n8k16_f16)", "local.f32[[8, 4], 2, 2] for `c`, not `acc`"),
    ("linear", (*parse_script("split(j, 8); expand(j1); split(k, 4); stage(B, at=k0, by=(k1, j1), space=shared)"), Merge("B_s", 0, -1)), "padded by 0 and more"),
    ("linear", "pipeline(k, acc)", "not allocated in the body"),
    ("rows", "pipeline(i, s)", "not filled by one statement"),
    ("gemm_i8", "tensorize(k, vnni99)", "not an intrinsic"),
    ("scale", "when(M, 1, 4); bind(i, block)", "no variant takes M = 4"),
    ("scale", "when(M, 1, 4); bind(i, block); when(M, 3); bind(i, lanes)", "two variants claim M = 3"),
    ("scale", "when(Q, 1)", "not a dim"),
    ("scale", "when(M, 1, 4); when(N, 1)", "one dim"),
    ("cumsum", "when(M, 1); bind(j, block)", "rule independence"),
]  # fmt: skip


@pytest.mark.parametrize("which, script, message", ILLEGAL)
def test_illegal(which, script, message):
    with pytest.raises(IllegalStep) as e:
        apply(PROGRAMS[which], script)
    assert message in str(e.value)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    "script",
    [
        "splt(i, 3)",
        "split(i)",
        "split(i, x)",
        "split(i, 3, size=4)",
        "split(i, 3",
        "i = 3",
        "split(1, 2)",
        "reorder()",
        "bind(i, 3)",
    ],
)
def test_not_a_script(script):
    with pytest.raises(ParseError):
        parse_script(script)
