"""The float32 functions of the prelude header against float64, over the whole range: ulps, infinities, NaN, denormals."""

import numpy as np
import pytest
import torch
from printed import HERE, Built
from warploom.ir.text import parse_program

N = 1 << 14
ULPS = {
    "exp": 1.1, "exp2": 1.3, "expm1": 1.7, "sigmoid": 2.5, "tanh": 1.5, "log": 1.0, "log2": 1.5, "log10": 2.0, "log1p": 1.5,
    "erf": 1.3, "sqrt": 0.51, "rsqrt": 1.51, "sin": 1.6, "cos": 1.6, "erfc": 4.0, "tan": 2.0, "atan": 2.0, "asin": 2.0, "acos": 2.0,
    "sinh": 2.5, "cosh": 2.5, "asinh": 2.5, "acosh": 2.5, "atanh": 2.5,
}  # fmt: skip
SPECIAL = np.array(
    [np.inf, -np.inf, np.nan, 0.0, -0.0, 1.0, -1.0, 1e-45, -1e-40, 3e38, 88.7, -87.4, -103.0, 0.6250001], np.float32
)


def text(name: str) -> str:
    return f"""
def f_{name}(x: f32[{N}], y: f32[{N}]):
    for i in serial({N // 32}):
        for j in vector(32):
            y[i * 32 + j] = {name}(x[i * 32 + j])
"""


def samples(name: str) -> np.ndarray:
    rng = np.random.default_rng(len(name))
    bits = rng.integers(0, 2**32, N // 4, dtype=np.uint64).astype(np.uint32).view(np.float32)
    near = [rng.standard_normal(N // 4) * s for s in (1, 10)]
    tiny = rng.standard_normal(N - 3 * (N // 4)) * np.exp2(rng.integers(-40, 2, N - 3 * (N // 4)))
    x = np.concatenate([bits, *near, tiny]).astype(np.float32)
    if name in ("log", "log2", "log10", "sqrt", "rsqrt", "acosh"):
        x[N // 4 :] = np.abs(x[N // 4 :])
    x[: len(SPECIAL)] = SPECIAL
    return x


def ulps(y: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Distance in units of the last place of the exact value; 0 where the float32 results are the same, inf where one is NaN."""
    with np.errstate(all="ignore"):
        nearest = exact.astype(np.float32)
        size = np.where((exact != 0) & np.isfinite(exact), np.abs(exact), 1.0)
        unit = np.exp2(np.maximum(np.floor(np.log2(size)), -126) - 23)
        distance = np.where((y == nearest) | (np.isnan(y) & np.isnan(nearest)), 0, np.abs(y - exact) / unit)
    return np.where(np.isnan(distance), np.inf, distance)


@pytest.mark.parametrize("isa", HERE, ids=lambda isa: isa.name)
def test_functions_are_within_their_bounds(isa):
    built = Built([parse_program(text(name)) for name in ULPS], isa)
    wrong = []
    for name, bound in ULPS.items():
        x = samples(name)
        y = built.run(f"f_{name}", {}, {"x": x, "y": np.zeros_like(x)})["y"]
        distance = ulps(y, getattr(torch, name)(torch.from_numpy(x.astype(np.float64))).numpy())
        if (
            isa.name == "portable" and name == "cos"
        ):  # without fused operations the argument reduction loses bits at zero crossings
            distance = distance[np.abs(np.cos(np.nan_to_num(x.astype(np.float64), posinf=0, neginf=0))) > 1e-3]
        k = int(distance.argmax())
        if distance[k] > bound:
            wrong.append(f"{name}({x[k]!r}) = {y[k]!r}: {distance[k]:.2f} ulp")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("isa", HERE, ids=lambda isa: isa.name)
def test_pow_is_the_nearest_float(isa):
    program = parse_program(
        text("exp")
        .replace("exp", "pow")
        .replace("x: f32", f"e: f32[{N}], x: f32")
        .replace("pow(x[i * 32 + j])", "pow(x[i * 32 + j], e[i * 32 + j])")
    )
    x, e = samples("log"), samples("erf")
    corner = np.stack(
        np.meshgrid(np.append(SPECIAL, [2, -2, 0.5, 3, -3]), np.append(SPECIAL, [2, -2, 0.5, 3, -3])), -1
    ).reshape(-1, 2)
    x[: len(corner)], e[: len(corner)] = corner.T.astype(np.float32)
    y = Built([program], isa).run("f_pow", {}, {"x": x, "e": e, "y": np.zeros_like(x)})["y"]
    with np.errstate(all="ignore"):
        distance = ulps(y, np.power(x.astype(np.float64), e.astype(np.float64)))
    assert distance.max() < 0.51
