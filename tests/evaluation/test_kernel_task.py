"""A Kernel's C text against the kernel interpreter, and verdicts against tasks whose text is a Kernel program."""

import ctypes
import importlib.util
import random
import subprocess
from pathlib import Path

import numpy as np
import pytest
from warploom.evaluation import sandbox
from warploom.evaluation.candidate import Candidate
from warploom.evaluation.judge import Judge, Settings
from warploom.evaluation.kernel_c import arguments, print_c
from warploom.evaluation.task import Task
from warploom.evaluation.verdict import CannotJudge
from warploom.ir.diagnostic import Unreadable
from warploom.ir.interpret import run_program
from warploom.ir.text import parse_program

needs_sandbox = pytest.mark.skipif(sandbox.unavailable() is not None, reason="no sandbox on this machine")
OPERATORS = """
def operators(x: f32[6], a: i32[6], k: i64[6] @ within(0, 6), y: f32[6], z: i32[6], m: b1[6]):
    for i in serial(6):
        y[i] = select(x[i] > 0.0 and not isnan(x[i]), sqrt(abs(x[i])) + sigmoid(x[i]), min(x[k[i]], 2.5) * rsqrt(x[i] * x[i] + 1.0))
        z[i] = a[i] // 3 * 2 + a[i] % 4 - max(a[i], 1) + i32(x[i] * 7.0)
        m[i] = m_of[0] or a[i] == 2
""".replace("m_of[0] or ", "x[i] >= 1.0 or ")


def generated():
    path = Path(__file__).resolve().parents[1] / "fuzz" / "random_kernels.py"
    spec = importlib.util.spec_from_file_location("random_kernels", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def called(library, name, program, sizes, given):
    """The written params by name after one call of the C function."""
    passed, out = [], {}
    for a in arguments(program, sizes):
        name_in_text = a.name.removeprefix("p_")
        if a.role == "output":
            out[name_in_text] = np.zeros(a.shape, np.bool_ if a.dtype == "bool" else a.dtype)
        passed.append(np.ascontiguousarray(given.get(name_in_text, out.get(name_in_text))))
        if a.role == "output":
            out[name_in_text] = passed[-1]
    getattr(library, name)(*(p.ctypes.data_as(ctypes.c_void_p) for p in passed))
    return out


def test_c_text_means_what_the_kernel_means(tmp_path, fuzz):
    kernels, (seed, count) = generated(), fuzz(24)
    cases = []
    for n in range(count):
        program, sizes = kernels.kernel(random.Random(f"{seed}-{n}"))
        cases.append((program, sizes, kernels.inputs(program, sizes, n)))
    rng = np.random.default_rng(1)
    given = {
        "x": rng.standard_normal(6).astype(np.float32),
        "a": np.array([-7, 7, 2, 0, -1, 5], np.int32),
        "k": np.array([5, 0, 1, 2, 3, 3]),
    }
    cases.append((parse_program(OPERATORS), {}, given))
    texts = [print_c(program, sizes, f"k{n}") for n, (program, sizes, _) in enumerate(cases)]
    prelude = texts[0][: texts[0].index("void k0(")]
    (tmp_path / "k.c").write_text(prelude + "\n".join(t[t.index("void k") :] for t in texts))
    subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-o", str(tmp_path / "k.so"), str(tmp_path / "k.c"), "-lm"], check=True)
    library = ctypes.CDLL(str(tmp_path / "k.so"))
    for n, (program, sizes, given) in enumerate(cases):
        wanted = run_program(program, sizes, given)
        for name, got in called(library, f"k{n}", program, sizes, given).items():
            np.testing.assert_allclose(got, wanted[name], rtol=1e-5, atol=1e-6, err_msg=texts[n])


def test_types_that_are_not_judged_are_named():
    program = parse_program("def k(x: f16[4], y: f16[4]):\n    for i in serial(4):\n        y[i] = x[i]\n")
    with pytest.raises(Unreadable, match="f16"):
        print_c(program, {}, "k")


MATMUL = """# dims: M=12, N=9
def mm(M: dim[1, 40], N: dim[1, 40], a: f32[M, 40], c: f32[M, N], b: f32[40, N], at: i64[M] @ within(0, M)):
    for i in serial(M):
        for j in serial(N):
            c[i, j] = 0.0
            for k in serial(40):
                c[i, j] += a[at[i], k] * b[k, j]
"""
ANSWER = """#include <cstdint>
extern "C" void kernel(int64_t M, int64_t N, const float* a, const float* b, const int64_t* at, float* c) {
  for (int64_t i = 0; i < M; i++)
    for (int64_t j = 0; j < N; j++) {
      float s = 0;
      for (int k = 39; k >= 0; k--) s += a[at[i] * 40 + k] * b[k * N + j];
      c[i * N + j] = s;
    }
}
"""


@needs_sandbox
def test_verdicts_against_a_kernel():
    task = Task("mm", "kernel", MATMUL)
    with Judge(Settings(measure=False)) as judge:
        right = judge.verdict(task, Candidate("mm.cpp", "c++", ANSWER))
        wrong = judge.verdict(task, Candidate("mm.cpp", "c++", ANSWER.replace("k >= 0", "k > 0")))
        with pytest.raises(CannotJudge, match="in place"):
            judge.verdict(
                Task("acc", "kernel", "def acc(x: f32[4], y: f32[4]):\n    for i in serial(4):\n        y[i] += x[i]\n"),
                Candidate("k.cpp", "c++", ANSWER),
            )
    assert right.accepted and any("also right at M=1, N=1" in n for n in right.notes), right.findings
    assert not wrong.accepted and set(wrong.reasons) & {"wrong-result", "partial-read"}
