"""The interpreter against NumPy on hand kernels, and every kind of fault it must see."""

import numpy as np
import pytest
from hand_kernels import PROGRAMS
from warploom.ir.diagnostic import InputMismatch
from warploom.ir.interpret import OutOfBounds, Race, UndefinedRead, run_program
from warploom.ir.text import parse_program, print_program
from warploom.ir.verify import verify

RNG = np.random.default_rng(0)


def rand(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def layernorm(x, g, b):
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * g + b


def conv(x, w, b):
    h, wide = x.shape[2:]
    p = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    out = sum(np.einsum("nchw,oc->nohw", p[:, :, i : i + h, j : j + wide], w[:, :, i, j]) for i in range(3) for j in range(3))
    return np.maximum(out + b[:, None, None], 0)


def maxpool(x):
    p = np.pad(x, ((0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    rows, cols = (x.shape[1] - 1) // 2 + 1, (x.shape[2] - 1) // 2 + 1
    return np.stack(
        [[p[:, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].max((1, 2)) for j in range(cols)] for i in range(rows)]
    ).transpose(2, 0, 1)


def attention(q, k, v):
    s = np.where(np.tri(len(q), dtype=bool), q @ k.T, -np.inf)
    return softmax(s) @ v


def scatter_add(idx, x, y):
    out = y.copy()
    np.add.at(out, idx, x)
    return out


CONV = dict(N=2, C=3, O=5, H=5, W=19)
CASES = {
    "matmul_lanes": (dict(M=7, N=33, K=9), lambda d: dict(A=rand(7, 9), B=rand(9, 33)), lambda A, B: dict(C=A @ B)),
    "softmax_vector": (dict(M=3, N=37), lambda d: dict(x=rand(3, 37)), lambda x: dict(y=softmax(x))),
    "softmax_lanes": (dict(M=3, N=70), lambda d: dict(x=rand(3, 70)), lambda x: dict(y=softmax(x))),
    "layernorm_lanes": (dict(M=3, N=70), lambda d: dict(x=rand(3, 70), g=rand(70), b=rand(70)), lambda x, g, b: dict(y=layernorm(x, g, b))),
    "argmax_middle": (dict(A=2, R=5, B=21), lambda d: dict(x=RNG.integers(0, 3, (2, 5, 21)).astype(np.float32)), lambda x: dict(y=x.argmax(1))),
    "cumsum_lanes": (dict(M=3, N=70), lambda d: dict(x=rand(3, 70)), lambda x: dict(y=x.cumsum(-1))),
    "maxpool": (dict(N=2, H=7, W=19), lambda d: dict(x=rand(2, 7, 19)), lambda x: dict(y=maxpool(x))),
    "conv_direct": (CONV, lambda d: dict(x=rand(2, 3, 5, 19), w=rand(5, 3, 3, 3), b=rand(5)), lambda x, w, b: dict(y=conv(x, w, b))),
    "conv_implicit": (CONV, lambda d: dict(x=rand(2, 3, 5, 19), w=rand(5, 3, 3, 3), b=rand(5)), lambda x, w, b: dict(y=conv(x, w, b))),
    "triangular_matmul": (dict(M=6, N=21), lambda d: dict(A=rand(6, 6), B=rand(6, 21)), lambda A, B: dict(C=np.tril(A) @ B)),
    "flash_attention": (dict(S=37), lambda d: dict(q=rand(37, 16), k=rand(37, 16), v=rand(37, 16)), lambda q, k, v: dict(o=attention(q, k, v))),
    "total_two_launches": (dict(N=5001), lambda d: dict(x=rand(5001)), lambda x: dict(y=x.sum(keepdims=True))),
    "scatter_add": (
        dict(V=5, N=9, D=6),
        lambda d: dict(idx=RNG.integers(0, 5, 9).astype(np.int32), x=rand(9, 6), y=rand(5, 6)),
        lambda idx, x, y: dict(y=scatter_add(idx, x, y)),
    ),
    "gather": (dict(V=5, N=9, D=6), lambda d: dict(idx=RNG.integers(0, 5, 9).astype(np.int32), x=rand(5, 6)), lambda idx, x: dict(y=x[idx])),
    "gemm_vnni": (
        dict(M=5, N=2, K=3),
        lambda d: dict(A=RNG.integers(0, 255, (5, 12)).astype(np.uint8), B=RNG.integers(-128, 127, (12, 32)).astype(np.int8)),
        lambda A, B: dict(C=A.astype(np.int32) @ B.astype(np.int32)),
    ),
}  # fmt: skip


def test_every_hand_kernel_has_a_case():
    assert CASES.keys() == PROGRAMS.keys()


@pytest.mark.parametrize("name", CASES)
def test_hand_kernel(name):
    program = PROGRAMS[name]
    sizes, make, reference = CASES[name]
    verify(program)
    assert parse_program(print_program(program)) == program
    args = make(sizes)
    got = run_program(program, sizes, args, check_races=name != "total_two_launches")
    for output, want in reference(**args).items():
        np.testing.assert_allclose(got[output], want, rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("name", ["softmax_vector", "layernorm_lanes", "flash_attention"])
def test_float64_is_exact_to_double(name):
    sizes, make, reference = CASES[name]
    args = make(sizes)
    got = run_program(PROGRAMS[name], sizes, args, float64=True)
    for output, want in reference(**{k: v.astype(np.float64) for k, v in args.items()}).items():
        assert got[output].dtype == np.float64
        np.testing.assert_allclose(got[output], want, rtol=1e-12, atol=1e-12)


def run(body, params="x: f32[8], y: f32[8]", check_races=False, **args):
    text = f"def f({params}):\n" + "".join(f"    {line}\n" for line in body.splitlines())
    return run_program(parse_program(text), {}, {"x": np.arange(8, dtype=np.float32), **args}, check_races=check_races)


@pytest.mark.parametrize(
    "fault, body",
    [
        (OutOfBounds, "for i in serial(9):\n    y[i] = 1.0"),
        (OutOfBounds, "y[0] = x[-1]"),
        (OutOfBounds, "y[0] = select(x[0] == 0, x[8], 0)"),
        (UndefinedRead, "t: local.f32[2]\nt[0] = 1\ny[0] = t[1]"),
        (UndefinedRead, "y[0] = y[1]"),
        (UndefinedRead, "t: local.f32[1]\nt[0] += x[0]\ny[0] = t[0]"),
        (UndefinedRead, "for i in serial(2):\n    t: local.f32[1]\n    if i == 0:\n        t[0] = 1\n    y[i] = t[0]"),
        (Race, "for i in lanes(8):\n    y[0] = x[i]"),
        (Race, "y[0] = 0\nfor i in vector(7):\n    y[i + 1] = y[i]"),
        (Race, "s: local.f32[1]\ns[0] = 0\nfor i in block(8):\n    s[0] += x[i]\n    y[i] = s[0]"),
        (Race, "s: local.f32[1]\ns[0] = 0\nfor i in block(8):\n    s[0] += x[i]\n    reduce(max, s[0], x[i])\ny[0] = s[0]"),
    ],
)
def test_fault(fault, body):
    with pytest.raises(fault) as e:
        run(body, check_races=True)
    assert "^^^" in e.value.pretty()


@pytest.mark.parametrize(
    "body",
    [
        "for i in lanes(8):\n    t: local.f32[1]\n    t[0] = x[i]\n    y[i] = t[0]",
        "s: local.f32[1]\ns[0] = 0\nfor i in lanes(8):\n    s[0] += x[i]\ny[0] = s[0]",
        "for k in serial(3):\n    for i in lanes(8):\n        y[7 - i] = x[i]",
        "y[0] = select(x[0] == 0, 1.0, x[8])",
    ],
)
def test_no_false_alarm(body):
    run(body, check_races=True)


@pytest.mark.parametrize(
    "expr, dtype, want",
    [
        ("f32(16777217)", "f32", 16777216.0), ("x[1] / 0", "f32", np.inf), ("-7 // 2", "i64", -4), ("-7 % 3", "i64", 2),
        ("fmod(-7, 3)", "i64", -1), ("max(x[1], nan)", "f32", np.nan), ("min(nan, x[1])", "f32", np.nan), ("i8(200)", "i8", -56),
        ("u8(-1)", "u8", 255), ("i32(x[3] - 3.5)", "i32", 0), ("i32(-2.9)", "i32", -2), ("round(x[2] + 0.5)", "f32", 2.0),
        ("exp(x[7] * 200)", "f32", np.inf), ("log(x[0])", "f32", -np.inf), ("sqrt(x[0] - 1)", "f32", np.nan), ("bf16(1.01)", "bf16", 1.0078125),
        ("f16(70000.0)", "f16", np.inf), ("select(x[1] == 0.1, 1, 2)", "i64", 2), ("i32(7) << 29", "i32", -536870912), ("~u8(1)", "u8", 254),
        ("-inf", "i32", -(2**31)), ("inf", "i64", 2**63 - 1), ("isnan(x[0])", "b1", False), ("not (x[0] < 1 and x[1] < 1)", "b1", True),
    ],
)  # fmt: skip
def test_scalar_meaning(expr, dtype, want):
    got = run(f"y[0] = {expr}", f"x: f32[8], y: {dtype}[1]")["y"][0]
    assert got == want or (got != got and want != want)


def test_arguments_are_checked():
    with pytest.raises(InputMismatch):
        run("y[0] = x[0]", x=np.zeros(7, np.float32))
    with pytest.raises(InputMismatch):
        run("y[0] = x[0]", x=np.zeros(8))
    with pytest.raises(InputMismatch):
        run("y[0] = x[q[0]]", "q: i64[1] @ within(0, 8), x: f32[8], y: f32[8]", q=np.array([8]))
    with pytest.raises(InputMismatch):
        run_program(PROGRAMS["gather"], dict(V=0, N=9, D=6), {})


def test_arguments_stay_as_they_are():
    x = np.arange(8, dtype=np.float32)
    y = np.zeros(8, np.float32)
    out = run("for i in serial(8):\n    y[i] += x[i]", x=x, y=y)["y"]
    assert np.array_equal(out, x) and not y.any()
