"""Random CUDA kernels with barriers at random legal places: in loops, uniform and divergent-free branches, behind early returns, in lambdas,
in CUB's reductions and scans. Parameters are changed, lambdas capture and change what is around them.

A seed comes in; CUDA text, its launch and the sizes of its arrays go out. Every kernel is free of races: shared memory is written at a
thread's own place and read at others' only after a barrier; a barrier never stands where some threads of the block cannot reach it.
"""

import random
from dataclasses import dataclass

SHARED = 64
COMMON = """#include <cub/cub.cuh>
template <class F> __device__ int apply(int n, int v, F f) {
  for (int i = 0; i < n; ++i) v = f(v, i);
  return v;
}
"""  # what every file of kernels begins with


@dataclass(frozen=True)
class Case:
    name: str
    source: str
    grid: int
    block: int
    count: int


class Writer:
    def __init__(self, seed: int):
        self.r = random.Random(seed)
        self.lines: list[str] = []
        self.depth = 1
        self.loops = 0
        self.made = 0

    def put(self, text: str) -> None:
        self.lines.append("  " * self.depth + text)

    def value(self) -> str:
        r = self.r
        return r.choice(
            ["a", "b", "c", "x[i % n]", f"{r.randint(1, 5)}", "(int)threadIdx.x", "lane", "(a ^ b)", "(a + c)", "(b - c)", "tid * 3", "u"]
        )

    def uniform(self) -> str:
        r = self.r
        return r.choice(["u % 2 == 0", "blockIdx.x % 2 == 0", "u > 3", "n > 40", "(u + (int)blockIdx.x) % 3 != 1", "flags[0] % 2 == 0"])

    def varying(self) -> str:
        r = self.r
        return r.choice(["tid % 2 == 0", "a % 3 == 0", "tid < n - 7", "lane > 4", "b > a", "tid == 0", "tid < 9"])

    def simple(self) -> None:
        r = self.r
        kind = r.randint(0, 8)
        if kind >= 7:
            self.lambda_(r)
        elif kind <= 2:
            self.put(f"{r.choice('abc')} {r.choice(['=', '+=', '^='])} {self.value()};")
        elif kind == 3:
            self.put(f"if ({self.varying()}) {r.choice('abc')} += {self.value()};")
        elif kind == 4:
            name = self.name("t")
            self.put(f"int {name} = {self.value()} + {self.value()};")
            self.put(f"a += {name};")
        elif kind == 5:
            k = self.name("k")
            self.put(f"for (int {k} = 0; {k} < {r.choice(['3', 'lane % 4', 'u % 5'])}; ++{k}) {r.choice('bc')} += {k} + a;")
        else:
            self.put(f"u {r.choice(['+=', '='])} {r.choice(['1', '(int)blockIdx.x', 'n % 7', '2'])};" if self.uniform_here else "c += 1;")

    def lambda_(self, r: random.Random) -> None:
        f = self.name("f")
        body = r.choice(
            [
                "{ a += v % 3; return v * 2 + lane; }",
                "{ return x[(blockIdx.x + (v & 15)) % n] + tid; }",
                "{ if (v > 3) return v - lane; for (int j = 0; j < 2; ++j) v += j + c; return v + 1; }",
                "-> int { int w = v ^ b; return w & 31; }",
            ]
        )
        if r.random() < 0.3:
            self.put(f"{r.choice('bc')} = apply({r.choice(['3', 'lane % 3'])}, {self.value()}, [&](int v, int i) {{ return v + {self.value()} * i; }});")
            return
        self.put(f"auto {f} = [&](int v) {body};")
        self.put(f"{r.choice('abc')} += {f}({self.value()});")
        if r.random() < 0.5:
            self.put(f"if ({self.varying()}) {r.choice('bc')} ^= {f}({self.value()}) + {f}(1);")

    def name(self, stem: str) -> str:
        self.made += 1
        return f"{stem}{self.made}"

    uniform_here = True

    def exchange(self, shuffles: bool) -> None:
        """Everyone stores, everyone waits, everyone reads a neighbour, everyone waits."""
        r = self.r
        kind = r.choice([*range(6 if shuffles else 3), 6, 7, 8])
        if kind == 6:
            self.sync_lambda()
        elif kind == 7:
            self.block_collective()
        elif kind == 8 and shuffles:
            self.warp_collective()
        elif kind <= 2 or kind == 8:
            self.put(f"s[tid] = {self.value()};")
            self.put("__syncthreads();")
            self.put(f"{r.choice('abc')} += s[(tid + {r.randint(1, 9)}) % blockDim.x];")
            self.put("__syncthreads();")
        elif kind == 3:
            self.put(f"a += __shfl_xor_sync(0xffffffff, {r.choice('abc')}, {r.choice([1, 2, 4, 8])});")
        elif kind == 4:
            self.put(f"b += __shfl_down_sync(0xffffffff, {r.choice('abc')} + 1, {r.choice(['1', '3', 'u % 4'])});")
        else:
            self.put(f"c += __syncthreads_count({self.varying()});")

    def sync_lambda(self) -> None:
        e = self.name("e")
        self.put(f"auto {e} = [&](int v) {{ s[tid] = v; __syncthreads(); int got = s[(tid + {self.r.randint(1, 5)}) % blockDim.x]; __syncthreads(); return got; }};")
        self.put(f"{self.r.choice('abc')} += {e}({self.value()});")

    def block_collective(self) -> None:
        """A sum or the largest, which only the first thread has; or a scan."""
        r, got, all_ = self.r, self.name("got"), self.name("all")
        if r.random() < 0.5:
            call = r.choice([f"Sum({self.value()})", f"Reduce({self.value()}, cub::Max())", f"Reduce({self.value()}, [](int p, int q) {{ return p ^ q; }})"])
            self.put(f"int {got} = cub::BlockReduce<int, {self.threads}>(reduce_storage).{call};")
            self.put(f"if (tid == 0) s[0] = {got};")
            self.put("__syncthreads();")
            self.put(f"{r.choice('abc')} += s[0];")
        else:
            self.put(f"int {got}, {all_};")
            call = r.choice(["InclusiveSum", "ExclusiveSum"])
            self.put(f"cub::BlockScan<int, {self.threads}>(scan_storage).{call}({self.value()}, {got}, {all_});")
            self.put(f"{r.choice('abc')} += {got} ^ {all_};")
        self.put("__syncthreads();")

    def warp_collective(self) -> None:
        r, got = self.r, self.name("got")
        if r.random() < 0.5:
            self.put(f"int {got} = cub::WarpReduce<int>(warp_storage[tid / 32]).{r.choice(['Sum', 'Sum'])}({self.value()});")
            self.put(f"if (lane == 0) {r.choice('bc')} += {got};")
        else:
            self.put(f"int {got};")
            self.put(f"cub::WarpScan<int>(steps_storage[tid / 32]).{r.choice(['InclusiveSum', 'ExclusiveSum'])}({self.value()}, {got});")
            self.put(f"{r.choice('abc')} ^= {got};")
        self.put("__syncwarp();")

    threads = 0

    def block(self, budget: int, shuffles: bool, whole: bool) -> int:
        """Statements; `whole`: all threads of the block are here, so barriers are allowed."""
        while budget > 0:
            budget -= 1
            kind = self.r.randint(0, 9)
            if kind <= 3:
                self.simple()
            elif kind <= 5 and whole:
                self.exchange(shuffles)
            elif kind == 6 and whole and self.depth < 4:
                budget -= self.loop(shuffles)
            elif kind == 7 and whole and self.depth < 4:
                (self.switch if self.r.random() < 0.4 else self.branch)(shuffles)
                budget -= 2
            elif kind == 8 and self.r.random() < 0.2:
                self.switch(False, False)
            elif kind == 8:
                self.put(f"if ({self.varying()}) {{")
                self.nested(2, False)
                self.put("}")
        return budget

    def nested(self, budget: int, whole: bool, shuffles: bool = False) -> None:
        held = self.uniform_here
        self.uniform_here = held and whole
        self.depth += 1
        self.block(budget, shuffles, whole)
        self.depth -= 1
        self.uniform_here = held

    def branch(self, shuffles: bool) -> None:
        self.put(f"if ({self.uniform()}) {{")
        self.nested(3, True, shuffles)
        if self.r.random() < 0.5:
            self.put("} else {")
            self.nested(2, True, shuffles)
        self.put("}")

    def switch(self, shuffles: bool, whole: bool = True) -> None:
        """Cases in any order, some empty, some falling into the next, some left early. `whole`: by what is the same for all, so threads may wait."""
        r = self.r
        value = r.choice(["u % 5", "(n + (int)blockIdx.x) % 4", "blockIdx.x", "flags[0] + 1"]) if whole else r.choice(["tid % 4", "(a & 3)", "b % 5"])
        seen = self.name("w")
        self.put(f"switch ({value}) {{")
        labels = [f"case {i}" for i in r.sample(range(6), r.randint(1, 4))] + ["default"] * (r.random() < 0.7)
        r.shuffle(labels)
        for i, label in enumerate(labels):
            self.put(f"{label}:{f' int {seen};' if i == 0 else ''}")
            if r.random() < 0.85 or i == len(labels) - 1:
                self.case(shuffles, whole, seen)
        self.put("}")

    def case(self, shuffles: bool, whole: bool, seen: str) -> None:
        r = self.r
        self.put(r.choice(["{", f"{seen} = {self.value()}; b += {seen}; {{"]))
        self.nested(r.randint(1, 3), whole, shuffles)
        out = ["break", "break", *(["continue"] if self.around and whole else [])]
        if r.random() < 0.4:
            cond = self.uniform() if whole else self.varying()
            self.put(r.choice(["  if ({}) {};", "  if ({}) {{ c += 2; {}; }} else b ^= 1;"]).format(cond, r.choice(out)))
        self.put("}")
        if r.random() < 0.6:
            self.put(f"{r.choice(out)};")

    around = 0  # loops that all threads of the block run

    def loop(self, shuffles: bool) -> int:
        k = self.name("k")
        head = self.r.choice(
            [
                f"for (int {k} = 0; {k} < {self.r.choice(['3', '2', 'n % 4', '(int)blockIdx.x % 3 + 1'])}; ++{k}) {{",
                f"for (int {k} = 4; {k} > 0; {k} >>= 1) {{",
            ]
        )
        self.put(head)
        self.depth += 1
        if self.r.random() < 0.25:
            self.put(f"if ({self.uniform()}) {self.r.choice(['continue', 'break'])};")
        self.depth -= 1
        self.around += 1
        self.nested(3, True, shuffles)
        self.around -= 1
        self.put(f"  a += {k};")
        self.put("}")
        return 3


def case(seed: int) -> Case:
    """The kernel of a seed."""
    w = Writer(seed)
    r = w.r
    block = r.choice([32, 64, 64, 40, 1, 33])
    shuffles = block % 32 == 0
    w.threads = block
    early = r.choice(["", "", "if (blockIdx.x == 1) return;", "if (n < 4) return;"])
    name = f"k{seed}"
    w.put("int tid = threadIdx.x;")
    w.put("int i = blockIdx.x * blockDim.x + threadIdx.x;")
    w.put("int lane = tid % 32;")
    w.put("int a = x[i % n], b = tid, c = 7, u = n % 5;")
    if early:
        w.put(early)
    if r.random() < 0.25:
        w.put("n -= 2;")
        w.put("x += blockIdx.x % 2;")
    w.block(r.randint(5, 9), shuffles, True)
    if not shuffles and r.random() < 0.3:
        w.put("if (tid >= 30) return;")
        w.block(2, False, False)
    if r.random() < 0.4:
        w.put(f"while (a {r.choice(['%', '&'])} 7 {r.choice(['>', '!='])} 2) {{ a = a / 2 + {r.choice([0, 1])}; if (a == 1 || a == 0 || a == -1) break; }}")
    w.put("y[i] = a * 31 + b * 7 + c + u;")
    source = f"__global__ void {name}(const int* x, const int* flags, int* y, int n) {{\n  __shared__ int s[{SHARED}];\n" + _storage(block) + "\n".join(w.lines) + "\n}\n"
    return Case(name, source, 3, block, 3 * block)


def _storage(block: int) -> str:
    kinds = (("BlockReduce", f"int, {block}", "reduce_storage"), ("BlockScan", f"int, {block}", "scan_storage"))
    warps = (("WarpReduce", "int", "warp_storage[2]"), ("WarpScan", "int", "steps_storage[2]"))
    return "".join(f"  __shared__ cub::{kind}<{args}>::TempStorage {name};\n" for kind, args, name in (*kinds, *warps))
