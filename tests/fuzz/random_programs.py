"""Random Kernel texts for fuzzing the verifier: loops of all kinds, affine, digit and data-dependent indices, guards, reduces, scans,
private buffers, symbolic sizes. Many are illegal, which is the point."""

import random

AXES = "oij"


class Texts:
    """`program()` gives one program text over the dim N. `roomy`: fixed extents and large buffers, so that races are what is left to find."""

    def __init__(self, seed, roomy=False):
        self.r = random.Random(seed)
        self.roomy = roomy
        self.count = 0

    def pick(self, *options):
        return self.r.choice(options)

    def coin(self, p=0.5):
        return self.r.random() < p

    # ---------------------------------------------------------------- expressions
    def affine(self, axes):
        terms = [f"{a} * {c}" if c != 1 else a for a in axes if (c := self.pick(0, 1, 1, 2, 3, 4, 6))]
        constant = self.pick("", "", "", " + 1", " + 2", "" if self.roomy else " - 1")
        return (" + ".join(terms) or "0") + constant

    def index(self, axes):
        e = self.affine(axes)
        if self.roomy:
            return self.pick(
                *[e] * 8, f"({e}) // 2", f"({e}) % 4", f"({e}) // 4", f"p[{axes[-1]}]", f"min({e}, 5)", f"max({e}, 2)"
            )
        return self.pick(
            *[e] * 6,
            f"({e}) // 2",
            f"({e}) % 4",
            f"p[{axes[-1]}]",
            f"min({e}, 5)",
            f"max({e}, 0)",
            f"({e}) // 3 % 2",
            f"N - 1 - {axes[-1]}",
            f"{axes[0]} * N + {axes[-1]}",
        )

    def place(self, axes, buffer):
        if buffer.startswith("t"):
            return f"{buffer}[{self.pick('0', '0', axes[-1], self.index(axes))}]"
        return f"{buffer}[{self.index(axes)}, {self.pick(*axes, '0')}]"

    def condition(self, axes):
        e = self.affine(axes)
        bound = self.pick("4", "8", "N", "N - 2")
        return self.pick(
            f"{e} < {bound}",
            f"{e} < {bound}",
            f"{e} >= 2",
            f"{e} == {self.pick('0', '3')}",
            f"{e} < {bound} and {axes[-1]} > 0",
            f"{e} != 2",
            f"not ({e} < 2 or {axes[0]} > 1)",
        )

    def value(self, axes, private):
        load = self.place(axes, self.pick("x", "y", "z", *([private] * 2 if private else [])))
        return self.pick("1.0", load, load, f"select({self.condition(axes)}, {load}, 0.0)", f"{load} + x[{axes[-1]}, 0]")

    # ---------------------------------------------------------------- statements
    def effect(self, axes, private):
        target = self.place(axes, self.pick("y", "y", "z", *([private] if private else [])))
        value = self.value(axes, private)
        k = self.r.random()
        if k < 0.3:
            return [f"{target} += {value}"]
        if k < 0.36:
            return [f"reduce(max, {target}, {value})"]
        if k < 0.42:
            return [f"{target} = scan(add, {self.place(axes, self.pick('z', private or 'z'))}, {value})"]
        return [f"{target} = {value}"]

    def block(self, axes, private, depth):
        out = []
        for _ in range(self.pick(1, 1, 2)):
            lines = self.effect(axes, private)
            if self.coin(0.25):
                lines = [f"if {self.condition(axes)}:", *("    " + x for x in lines)]
            out += lines
        if depth and self.coin(0.5):
            out += self.loop(AXES[len(axes)] if len(axes) < 3 else "q", axes, private, depth - 1)
        return out

    def loop(self, axis, axes, private, depth):
        kind = self.pick("serial", "serial", "lanes", "block", "vector", "unroll")
        fixed = str(self.pick(1, 2, 3, 4))
        hi = (
            fixed
            if self.roomy or kind in ("vector", "unroll") or self.coin(0.6)
            else self.pick("N", "N // 2", "N - 1", *axes, "(N + 3) // 4")
        )
        lo = (
            ""
            if self.roomy or kind in ("vector", "unroll") or self.coin(0.8)
            else self.pick("1, ", "N // 2, ", *(f"{a}, " for a in axes))
        )
        body = self.block((*axes, axis), private, depth)
        if not private and self.coin(0.3):
            size = self.pick("1", "4", "N")
            self.count += 1
            t = f"t{self.count}"
            first = [f"{t}: local.f32[{size}]"]
            if self.coin(0.8):
                whole = self.pick(size, size, "2")
                first += [f"{t}[0] = 0.0"] if size == "1" else [f"for w in serial({whole}):", f"    {t}[w] = 0.0"]
            body = first + self.block((*axes, axis), t, depth)
        return [f"for {axis} in {kind}({lo}{hi}):", *("    " + x for x in body)]

    def program(self):
        sizes = self.pick("9, 8", "30, 8", "N, 8", "N, N", "N * 4 + 3, 8", "40, N")
        if self.roomy:
            sizes = "99, 8"
        head = f"def f(N: dim[{self.pick('1', '1', '2', '4')}, {self.pick('inf', '8')}], p: i64[8] @ within(0, 8), x: f32[8, 8], y: f32[{sizes}], z: f32[{sizes}]):"
        body = []
        for _ in range(self.pick(1, 1, 2)):
            body += self.loop("o", (), "", 2)
        return "\n".join([head, *("    " + x for x in body)]) + "\n"
