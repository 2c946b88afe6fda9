"""A register that is set before a scan along threads and read after it lives across the scan."""

import numpy as np
from warploom.backends.cuda.emulated import Emulated
from warploom.backends.cuda.printer import print_cuda
from warploom.ir.text import parse_program

PROGRAM = """def f(x: f32[6, 20], y: f32[6, 20]):
    for i in block(6):
        total: local.f32[1]
        total[0] = 0.0
        for r in lanes(20):
            m: local.f32[1]
            m[0] = x[i, r] * 2.0
            c: local.f32[1]
            c[0] = scan(add, total[0], m[0])
            y[i, r] = c[0] - m[0]
"""


def test_the_scanned_value_is_read_again():
    x = np.arange(120, dtype=np.float32).reshape(6, 20)
    y = Emulated(print_cuda(parse_program(PROGRAM))).run({"x": x})["y"]
    np.testing.assert_array_equal(y, np.cumsum(2 * x, 1) - 2 * x)
