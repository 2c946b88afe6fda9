"""Macros that are written out before the rules read the text: which, where, and that lines stay lines."""

import pytest
from warploom.frontend.cuda.macros import expanded


@pytest.mark.parametrize(
    "define, use, written",
    [
        ("#define TX threadIdx.x", "int i = TX;", "int i = threadIdx.x;"),
        ("#define SYNC() __syncthreads()", "SYNC();", "__syncthreads();"),
        ("#define AT(b, t) ((b) * blockDim.x + (t))\n#define HERE AT(blockIdx.x, threadIdx.x)", "int i = HERE;", "int i = ((blockIdx.x) * blockDim.x + (threadIdx.x));"),
        ("#define LOOP(i, n) \\\n  for (int i = threadIdx.x; i < (n); i += blockDim.x)", "LOOP(j, n * f(a, b)) { s += j; }", "for (int j = threadIdx.x; j < (n * f(a, b)); j += blockDim.x) { s += j; }"),
        ("#define SWAP(a, b) { float t = a; a = b; b = t; }", "SWAP(x[0], x[1]);", "{ float t = x[0]; x[0] = x[1]; x[1] = t; };"),
        ("#define TWICE(a) ((a) * 2)", "y = TWICE(x);", "y = TWICE(x);"),
        ("#define BOTH(a, b) ((a) & (b) && a <= b)", "y = BOTH(x, 1);", "y = BOTH(x, 1);"),
        ("#define FLOAT4(v) (reinterpret_cast<float4*>(&(v))[0])\n#define LOAD(p, i) FLOAT4(p[i])", "r = LOAD(x, 2);", "r = (reinterpret_cast<float4*>(&(x[2]))[0]);"),
        ("#define ADD(a, b) a += (b)", "ADD(y, 2);", "y += (2);"),
        ("#define NAME(a) #a; threadIdx", "NAME(x)", "NAME(x)"),
        ("#define TX threadIdx.x", '// TX\n  puts("TX");', '// TX\n  puts("TX");'),
    ],
)
def test_in_device_functions(define, use, written):
    source = f"{define}\n__global__ void k(float* x) {{\n  {use}\n}}\n"
    text = expanded(source)
    assert written in text and text.count("\n") == source.count("\n")


def test_only_launching_macros_in_host_functions():
    source = "#define CHECK(x) do { if (!(x)) stop(); } while (0)\n#define RUN(T) k<T><<<1, 32>>>(p)\nvoid f() {\n  CHECK(a);\n  RUN(float);\n}\n"
    text = expanded(source)
    assert "CHECK(a);" in text and "k<float><<<1, 32>>>(p);" in text and "RUN" not in text


def test_the_loop_that_torch_defines():
    text = expanded("__global__ void k(int n) { CUDA_KERNEL_LOOP(i, n) { f(i); } }")
    assert "for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < (n); i += blockDim.x * gridDim.x) { f(i); }" in text
