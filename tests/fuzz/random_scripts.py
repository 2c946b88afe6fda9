"""Random schedule scripts: steps with random arguments drawn from the program they meet; what is illegal is left out."""

import random

from warploom.ir.diagnostic import IllegalStep
from warploom.ir.kernel import Alloc, For, Program, statements
from warploom.passes.schedule.script import parse_script, run_step

SIZES = (1, 2, 3, 4, 4, 8, 8, 16)


class Proposals:
    def __init__(self, r: random.Random, program: Program):
        self.r = r
        loops = [s for s in statements(program.body) if isinstance(s, For)]
        self.axes = list(dict.fromkeys(s.axis for s in loops)) or ["i"]
        self.inner = {s.axis: [x.axis for x in statements(s.body) if isinstance(x, For)] for s in loops}
        self.allocs = [s.buffer.name for s in statements(program.body) if isinstance(s, Alloc)]
        self.params = [b.name for b in program.params]
        self.makers = (
            (6, self.split), (5, self.reorder), (2, self.fission), (2, self.fuse), (1, self.collapse), (1, self.unroll), (6, self.bind),
            (1, self.rename), (4, self.accumulate), (3, self.rfactor), (5, self.expand), (5, self.stage), (4, self.unguard),
            (1, self.inline), (1, self.set_space),
        )  # fmt: skip

    def step(self) -> str:
        weights = [w for w, _ in self.makers]
        return self.r.choices([m for _, m in self.makers], weights)[0]()

    def axis(self):
        return self.r.choice(self.axes)

    def below(self, axis, count=None):
        """Some axes below `axis`, in random order."""
        inner = list(dict.fromkeys(self.inner.get(axis, ())))
        n = self.r.randint(1, max(1, min(3, len(inner)))) if count is None else count
        return self.r.sample(inner, min(n, len(inner)))

    def chain(self):
        """An axis and some below it, outer ones first mostly."""
        a = self.axis()
        inner = [x for x in dict.fromkeys(self.inner.get(a, ())) if self.r.random() < 0.6]
        out = [a, *inner][: self.r.randint(1, 5)]
        if self.r.random() < 0.6:
            self.r.shuffle(out)
        return out

    def several(self, names):
        return names[0] if len(names) == 1 else f"({', '.join(names)})"

    def split(self):
        tail = self.r.choice(["guard", "guard", "cut", "mask", "exact", "overlap"])
        more = f", round={self.r.choice([1, 2, 4])}" if tail == "mask" and self.r.random() < 0.5 else ""
        return f"split({self.axis()}, {self.r.choice(SIZES)}, tail={tail}{more})"

    def reorder(self):
        return f"reorder({', '.join(self.chain())})"

    def fission(self):
        return f"fission({self.axis()})" if self.r.random() < 0.8 else f"fission({self.axis()}, 1)"

    def fuse(self):
        a = self.axis()
        return f"fuse({a}, {self.r.choice([a, self.axis()])})"

    def collapse(self):
        a = self.axis()
        return f"collapse({a}, {self.r.choice(self.below(a, 1) or [a])})"

    def unroll(self):
        return f"unroll({self.axis()})"

    def bind(self):
        return f"bind({self.axis()}, {self.r.choice(['block', 'lanes', 'vector', 'vector', 'unroll', 'serial'])})"

    def rename(self):
        return f"rename({self.axis()}, n{self.r.randrange(1000)}, {self.r.choice([0, 0, 1, 2])})"

    def accumulate(self):
        at = self.axis()
        buffer = self.r.choice(self.allocs + self.params)
        return f"accumulate({buffer}, at={at}, by={self.several(self.below(at) or [at])}, space={self.r.choice(['local', 'local', 'scratch'])})"

    def rfactor(self):
        a = self.axis()
        return f"rfactor({a}, {self.several(self.below(a) or [a])})"

    def expand(self):
        return f"expand({', '.join(self.chain())})"

    def stage(self):
        at = self.r.choice([*self.axes, "root", "root"])
        inner = self.below(at) if at != "root" else self.r.sample(self.axes, self.r.randint(1, min(4, len(self.axes))))
        return f"stage({self.r.choice(self.params + self.allocs)}, at={at}, by={self.several(inner or [self.axis()])}, space={self.r.choice(['scratch', 'local', 'shared'])})"

    def unguard(self):
        return f"unguard({self.r.choice(self.allocs or ['none'])})"

    def inline(self):
        return f"inline({self.r.choice(self.allocs or ['none'])})"

    def set_space(self):
        return f"set_space({self.r.choice(self.allocs or ['none'])}, {self.r.choice(['scratch', 'shared', 'local'])})"


def recipe(r: random.Random, program: Program) -> list[str]:
    """The way to a register tile for products, with random sizes and choices: what purely random steps seldom reach."""
    names = {s.axis for s in statements(program.body) if isinstance(s, For)}
    if not {"i", "j", "k"} <= names:
        return []
    rows, lanes, depth = r.choice([1, 2, 3, 4, 14]), r.choice([2, 4, 8, 16]), r.choice([0, 2, 4, 16])
    out = [
        "fission(j)",
        "fission(i)",
        f"split(i, {rows})",
        f"split(j, {lanes}, tail={r.choice(['guard', 'guard', 'mask', 'cut'])})",
    ]
    out += [f"split(k, {depth})"] if depth else []
    inner = ["k0", "k1"] if depth else ["k"]
    order = r.choice(
        [["j0", "i0", *inner], ["i0", "j0", *inner], [inner[0], "j0", "i0", *inner[1:]], [inner[0], "i0", "j0", *inner[1:]]]
    )
    tile = r.choice([["i1", "j1"], ["i1", "j1"], ["j1", "i1"]])
    out += [
        f"reorder({', '.join([*order, *tile])})",
        f"reorder({', '.join(x for x in [*order, *tile] if x[0] != 'k')})",
        "expand(i1, j1)",
    ]
    at = [x for x in order if x[0] in "ij"][-1]
    out += [f"accumulate(C, at={at}, by=(i1, j1))", f"accumulate(acc, at={r.choice(order)}, by=(i1, j1))"]
    for buffer, axes in (
        ("B", ["j1", *inner]),
        ("A", ["i1", *inner]),
        ("B", ["j0", "j1", *inner]),
        ("A", ["i0", "i1", *inner]),
    ):
        place = r.choice(["root", *order])
        kept = [x for x in axes if place == "root" or x in tile or x not in order[: order.index(place) + 1]]
        r.shuffle(kept)
        out.append(f"stage({buffer}, at={place}, by=({', '.join(kept)}), space={r.choice(['scratch', 'local', 'shared'])})")
    out += ["unguard(C_acc)", "unguard(acc)", "unguard(acc_acc)"]
    out += [
        f"bind({a}, {r.choice(k)})"
        for a, k in (
            ("j1", ["vector", "lanes", "unroll"]),
            ("i1", ["unroll", "serial", "lanes"]),
            ("j0", ["block", "serial"]),
            ("i0", ["block", "serial"]),
        )
    ]
    return [step for step in out if r.random() < 0.93]


def random_script(r: random.Random, program: Program, steps: int, tries: int = 60):
    """Up to `steps` legal steps on `program`; the scheduled program and the texts of the steps."""
    done = []
    planned = recipe(r, program) if r.random() < 0.5 else []
    steps += len(planned)
    for _ in range(tries):
        text = planned.pop(0) if planned else Proposals(r, program).step()
        try:
            new = run_step(program, *parse_script(text))
        except IllegalStep:
            continue
        if new != program:
            program = new
            done.append(text)
        if len(done) == steps or len(list(statements(program.body))) > 40:
            break
    return program, done
