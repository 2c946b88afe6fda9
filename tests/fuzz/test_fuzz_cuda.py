"""Random kernels, by the default GPU schedule and under random legal scripts: their CUDA gives the interpreter's bits in the emulator."""

import random
from dataclasses import replace

import numpy as np
from random_kernels import inputs, kernel
from random_scripts import random_script
from warploom.backends.cuda.codegen.functions import Functions
from warploom.backends.cuda.codegen.thread import UnsupportedOnGpu
from warploom.backends.cuda.emulated import Emulated
from warploom.backends.cuda.host import H100
from warploom.backends.cuda.printer import print_cuda
from warploom.backends.cuda.program import CudaProgram
from warploom.ir.interpret import run_program
from warploom.ir.text import print_program
from warploom.passes.sketch import sketch

PER_UNIT = 12


class Case:
    """A program with sizes and inputs; `part` is its CUDA with every name made its own, None where a GPU cannot run the schedule."""

    def __init__(self, seed, number, functions):
        r = random.Random(f"{seed}/{number}")
        naive, self.sizes = kernel(r)
        program = sketch(naive, "rows", H100).program if number % 2 else random_script(r, naive, r.randint(2, 8))[0]
        self.program = replace(program, name=f"k{number}")
        self.inputs = inputs(naive, self.sizes, number)
        self.wanted = run_program(naive, self.sizes, self.inputs)
        try:
            printed = print_cuda(self.program, functions)
        except UnsupportedOnGpu:
            self.part = None
            return
        self.names = {n: f"k{number}_{n}" for n in (*(b.name for b in printed.buffers), *self.sizes)}
        dims = tuple(replace(d, name=self.names[d.name]) for d in printed.dims)
        rename = {name: self.names.get(name, name) for name in self.names}
        shapes = tuple(replace(b, shape=tuple(_renamed(d, rename) for d in b.shape)) for b in printed.buffers)
        launches = tuple(
            replace(x, grid=tuple(_renamed(g, rename) for g in x.grid), shared_bytes=_renamed(x.shared_bytes, rename)) for x in printed.launches
        )
        self.part = replace(printed, dims=dims, buffers=shapes, launches=launches).bound(self.names)


def _renamed(e, names):
    from warploom.ir.expr import Var, substitute

    return substitute(e, {old: Var(new) for old, new in names.items()})


def _joined(cases, functions):
    parts = [c.part for c in cases]
    whole = [tuple(x for p in parts for x in getattr(p, what)) for what in ("dims", "buffers", "kernels", "launches")]
    return CudaProgram("fuzz", *whole, functions=tuple(functions.needed.values()))


def test_cuda_agrees_with_the_interpreter(fuzz):
    seed, count = fuzz(PER_UNIT)
    printed = 0
    for start in range(0, count, PER_UNIT):
        functions = Functions()
        cases = [Case(seed, k, functions) for k in range(start, min(start + PER_UNIT, count))]
        cases = [c for c in cases if c.part is not None]
        printed += len(cases)
        dims = {c.names[d]: n for c in cases for d, n in c.sizes.items()}
        given = {c.names[k]: v.copy() for c in cases for k, v in c.inputs.items()}
        got = Emulated(_joined(cases, functions), dims).run(given)
        for c in cases:
            for name, value in c.wanted.items():
                story = f"{c.sizes}\n{print_program(c.program)}\n" + "\n".join(k.text for k in c.part.kernels)
                np.testing.assert_array_equal(got[c.names[name]], value, err_msg=story)
    assert printed >= 0.8 * count
