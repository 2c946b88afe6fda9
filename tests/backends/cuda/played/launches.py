"""A process beside a played driver: what the runtime's driver asks of it goes out as JSON, and what it says to a driver that is too old."""

import contextlib
import ctypes
import json
import threading
from types import SimpleNamespace

import torch
from warploom.backends.cuda import driver
from warploom.backends.cuda.program import CudaBuffer, CudaKernel, CudaLaunch, CudaProgram
from warploom.ir.diagnostic import MissingTool
from warploom.ir.expr import ONE, Const, Var
from warploom.ir.types import Dim

STREAM = 0x770


def kernel(name, dim_type):
    return CudaKernel(name, name, (), dim_type=dim_type)


def launch(name, grid, shared, *args):
    return CudaLaunch(name, (grid, ONE, ONE), (32, 1, 1), shared, args)


N = Var("n")
PROGRAM = CudaProgram(
    "p", (Dim("n", 0, None),), (CudaBuffer("x", "f32", (N,), "in"), CudaBuffer("y", "f32", (N,), "out")),
    (kernel("small_ip", "int"), kernel("large_lpp", "long long"), kernel("bare_", "int")),
    (launch("small_ip", N, Const(0), "n", "x"), launch("large_lpp", Const(3), N, "n", "x", "y"), launch("bare_", Const(2), Const(0))),
)  # fmt: skip


def main():
    torch.cuda.device = lambda index: contextlib.nullcontext()
    torch.cuda.current_stream = lambda: SimpleNamespace(cuda_stream=STREAM)
    torch.cuda.get_device_capability = lambda device: (9, 0)
    driver.compile_cubin = lambda source, arch: b"\x7fELF " + arch.encode()
    library = ctypes.CDLL("libcuda.so.1")
    library.played.restype = ctypes.c_char_p
    x, y = torch.zeros(4), torch.zeros(4)
    loaded = {n: driver.Loaded(PROGRAM, {"n": n}, torch.device("cuda", 1)) for n in (100_000, 60_000, 0)}
    for n in (100_000, 0):
        thread = threading.Thread(target=loaded[n].on_tensors, args=({"x": x, "y": y},))
        thread.start()
        thread.join()
    library.play_version(12040)
    try:
        driver.Loaded(CudaProgram("q", (), (), (kernel("other_", "int"),), ()), {}, torch.device("cuda", 1))
        old = ""
    except MissingTool as error:
        old = error.message
    print(json.dumps({"launches": library.played().decode().splitlines(), "x": x.data_ptr(), "y": y.data_ptr(), "old": old}))


main()
