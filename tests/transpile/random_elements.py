"""Random CUDA kernels without barriers in which a thread is an element, or several: the ways to write its number, guards on it, and what it reads.

A seed comes in; CUDA text, its launch and the sizes of its arrays go out. No two threads write different values to one place.
"""

import random

from .random_barriers import Case


def case(seed: int) -> Case:
    r = random.Random(seed)
    grid, block = r.choice([1, 2, 3, 5]), r.choice([1, 4, 32, 48, 64])
    name = f"e{seed}"
    kind = r.randint(0, 5)
    lines: list[str] = []
    if kind == 0:  # blocks that do the same
        lines.append("int i = threadIdx.x;")
        count = block
    elif kind == 1:  # threads that do the same
        lines.append("int i = blockIdx.x;")
        count = grid
    else:
        bx, size = r.choice(["blockIdx.x", "((int)blockIdx.x)"]), r.choice(["blockDim.x", f"{block}"])
        place = r.choice([f"{bx} * {size} + threadIdx.x", f"threadIdx.x + {size} * {bx}", f"(int)({bx} * {size} + threadIdx.x)"])
        lines.append(f"{r.choice(['int', 'const int', 'unsigned', 'size_t'])} i = {place};")
        count = grid * block
    guard = r.randint(0, 5)
    limit = r.choice(["n", "n - 3", f"{max(1, count - 3)}", f"{count + 5}", "(n / 2)"])
    if guard == 0:
        lines.append(f"if (i >= {limit}) return;")
    elif guard == 1 and kind > 1:
        shift = r.choice([1, 2, 3])
        lines.append(f"if (blockIdx.x * {max(1, block >> shift)} + (threadIdx.x >> {shift}) >= {r.choice([5, 9, 20])}) return;")
    lines.append(f"int a = x[{_index(r, kind)} % m], b = {r.choice(['(int)i', '7', '(int)threadIdx.x', '(int)gridDim.x'])};")
    for _ in range(r.randint(0, 3)):
        lines.append(_statement(r, kind))
    store = [f"y[i] {'=' if kind < 2 else r.choice(['=', '+=', '='])} a * 3 + b;"]
    if kind == 5:
        step = r.choice(["gridDim.x * blockDim.x", f"{grid * block}"])
        store = [f"for (int j = i; j < {r.choice(['n', f'{count}', f'{count - 1}'])}; j += {step}) y[j] = a + x[(j * 3) % m] + b;"]
    elif kind == 4:
        store = ["for (int j = 0; j < 2; ++j) y[i * 2 + j] = a + j * x[(i + j) % m] + b;"]
    elif r.random() < 0.3:
        store = [f"if ({_condition(r, kind)}) {{", *store, "} else", "y[i] = -a;" if r.random() < 0.5 else ";"]
    lines += [f"if (i < {limit}) {{", *store, "}"] if guard == 2 else store
    body = "\n  ".join(lines)
    return Case(name, f"__global__ void {name}(const int* x, const int* flags, int* y, int n) {{\n  const int m = 50;\n  {body}\n}}\n", grid, block, 2 * max(count, 50) + 8)


def _index(r: random.Random, kind: int) -> str:
    d = r.choice([2, 3, 4, 5, 8, 10])
    forms = [f"(i / {d})", f"(i % {d})", f"((i % {d}) * 4 + i / {d})", f"(i / {d} * {d} + 1)", "(threadIdx.x >> 2)", "(threadIdx.x & 3)", "blockIdx.x", f"(i * {d} + 1)"]
    if kind > 1:
        forms += [f"(blockIdx.x * {d} + (threadIdx.x >> 3))", f"((blockIdx.x * 16 + threadIdx.x) / {d})", "(threadIdx.x * gridDim.x + blockIdx.x)"]
    return r.choice(forms)


def _condition(r: random.Random, kind: int) -> str:
    return r.choice([f"{_index(r, kind)} < {r.randint(1, 9)}", f"{_index(r, kind)} % 2 == 0", "a > 4 && i != 3", "(int)threadIdx.x < n / 2 && blockIdx.x != 1"])


def _statement(r: random.Random, kind: int) -> str:
    return r.choice(
        [
            f"if ({_condition(r, kind)}) a += x[{_index(r, kind)} % m];",
            f"for (int k = 0; k < {r.choice(['3', 'n / 20', '(int)(i % 3)'])}; ++k) b += x[({_index(r, kind)} + k) % m];",
            f"b = {_condition(r, kind)} ? a : b;",
            f"a ^= {_index(r, kind)};",
        ]
    )
