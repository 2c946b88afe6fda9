"""Launches and buffers of bare CUDA programs: by hand-written programs, and by the shared records where they lie beside the checkout."""

import json

import numpy as np
import pytest
from warploom.backends.emulator.binding import bind
from warploom.frontend.cuda.binding import Unbindable, bindings, read_reference
from warploom.frontend.cuda.launch import launch_options, launch_order
from warploom.frontend.cuda.read import read

CHAIN = """
__global__ void __launch_bounds__(64) step_1(float* __restrict__ in, float* __restrict__ out) {
  if (((int)blockIdx.x) * 8 + (((int)threadIdx.x) >> 3) < 25) out[((int)blockIdx.x) * 64 + ((int)threadIdx.x)] = in[((int)blockIdx.x) * 64 + ((int)threadIdx.x)] * 2.0f;
}
__global__ void __launch_bounds__(50) step(float* __restrict__ a, float* __restrict__ mid) {
  mid[((int)blockIdx.x) * 50 + ((int)threadIdx.x)] = a[((int)blockIdx.x) * 50 + ((int)threadIdx.x)] + 1.0f;
}
"""
CHAIN_C = """
void whole(float* x, float* y) {
  float t[200];
  for (int i = 0; i < 200; ++i) t[i] = x[i] + 1.0f;
  for (int i = 0; i < 200; ++i) y[i] = t[i] * 2.0f;
}
"""


def test_temporaries_flow_between_kernels_that_name_them_differently():
    reference = read_reference(CHAIN_C, [[200]], [[200]])
    best = next(bindings(CHAIN, reference))
    assert [launch.kernel for launch in best.launches] == ["step", "step_1"]
    assert [launch.grid for launch in best.launches] == [(4, 1, 1), (4, 1, 1)]
    first, second = (dict(zip(("read", "written"), launch.args)) for launch in best.launches)
    assert first["written"] == second["read"]
    assert best.buffers[first["written"]].role == "temp"


def test_the_bound_program_computes_what_the_c_side_does():
    bound = bind(CHAIN, CHAIN_C, read_reference(CHAIN_C, [[200]], [[200]]))
    x = np.arange(200, dtype=np.float32)
    np.testing.assert_allclose(bound.run({"x": x})["y"], (x + 1) * 2)
    assert bound.tried == 1


@pytest.mark.parametrize(
    "change, reason",
    [
        (("* 50", "* 64"), "differs"),  # blocks that overlap the end
        (("< 25", "< 20"), "guarded at 160"),  # a guard for another size
        (("* 2.0f", "* 3.0f"), "differs"),  # another function
    ],
)
def test_a_program_that_contradicts_its_c_side_is_named(change, reason):
    with pytest.raises(Unbindable) as caught:
        bind(CHAIN.replace(*change), CHAIN_C, read_reference(CHAIN_C, [[200]], [[200]]))
    assert reason in str(caught.value) or "no assignment" in str(caught.value)


STRIDED = """
__global__ void __launch_bounds__(32) k(float* x, float* y) {
  for (int o = 0; o < 4; ++o)
    if (o * 8 + ((int)blockIdx.x) * 4 + (((int)threadIdx.x) >> 3) < 30)
      y[o * 64 + ((int)blockIdx.x) * 32 + ((int)threadIdx.x)] = x[o * 64 + ((int)blockIdx.x) * 32 + ((int)threadIdx.x)];
}
"""


def test_a_strided_loop_fixes_the_grid():
    (kernel,) = read(STRIDED).kernels
    best = launch_options(kernel, [240])[0]
    assert (best.grid, best.block, best.clean) == ((2, 1, 1), (32, 1, 1), True)


@pytest.mark.parametrize("source, grid", [("y[threadIdx.x] = x[threadIdx.x];", 1), ("y[blockIdx.x * 32 + threadIdx.x] = x[blockIdx.x * 32 + threadIdx.x];", 5)])
def test_an_unguarded_grid_follows_from_sizes(source, grid):
    (kernel,) = read(f"__global__ void __launch_bounds__(32) k(float* x, float* y) {{ {source} }}").kernels
    assert launch_options(kernel, [32 * grid])[0].grid == (grid, 1, 1)


def test_kernels_without_numbers_keep_the_order_of_the_source():
    kernels = read("__global__ void b(float* x) {} __global__ void a(float* x) {}").kernels
    assert [k.name for k in launch_order(kernels)] == ["b", "a"]


RECORDS = ("graph_8", "graph_19", "softmax", "sum", "pool1d", "transpose")


@pytest.mark.parametrize("name", RECORDS)
def test_records_are_bound_without_knowledge_of_them(shared_data, name):
    records = [r for path in sorted((shared_data / "HPCTransEval").glob("*.json")) for r in json.loads(path.read_text()) if r["op_name"] == name]
    if not records:
        pytest.skip(f"no record {name}")
    record = records[0]
    named = (record.get("input_name", ()), record.get("output_name", ()))
    bound = bind(record["cuda_code"], record["c_code"], read_reference(record["c_code"], record["input_shape"], record["output_shape"], *named))
    assert bound.tried <= 4
