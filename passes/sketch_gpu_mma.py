"""Default GPU schedules of products on tensor cores: a contraction of f16 or bf16 summed in f32 comes in. A block computes a tile of the
output, staged through shared memory along the reduction; its warps multiply, each with the sums of its own part in registers.

for tiles of i, j: acc = 0; for k0: As, Bs = tiles of A, B, rows along k, zero outside; acc = mma(acc, As, Bs); C = epilogue(acc).

Decisions: `tensor` (1: tensor cores, 0: plain arithmetic), `tile` (rows and columns of a block's tile), `staged` (depth of the staged tiles).
"""

from __future__ import annotations

from dataclasses import dataclass

from ..ir.expr import Cast, Load, Op, as_int, names
from ..ir.kernel import For, Reduce, statements
from .draft import Draft
from .sketch_gpu_contract import SIDE, extent, own_fill_axes, parallel_axes, product_operands, reduction_axes

WARP_TILE = {32: (16, 16), 64: (32, 32), 128: (64, 32)}
"""Tile of a block -> rows and columns of it that a warp computes."""

FRAGMENT = 16
"""Elements of the reduction that one operation sums, and rows of its left side."""

PAD = 8
"""Elements by which a row of a staged tile is longer: the rows that a warp reads at once lie in banks of their own, and begin at 16 bytes."""


def tensor_cores(draft: Draft) -> bool:
    """A product of half floats with a long dim on each side. What is none is left to `contract`."""
    product = _product(draft)
    if product is None or not draft.choose("tensor", 1, (0, 1)):
        return False
    most = min(extent(product.i), extent(product.j))
    tile = draft.choose("tile", 128 if most >= 2048 else 64 if most >= 64 else 32, tuple(WARP_TILE))
    tiled = _Tile(draft, product, tile)
    return tiled.split() and all(tiled.stage(x) for x in product.operands) and tiled.multiply() and tiled.spread()


@dataclass(frozen=True)
class _Product:
    """`i` belongs to one operand alone, `j`, further in, to the other; `others` are the other parallel axes, `k` is the innermost of the sum."""

    i: For
    j: For
    others: tuple[str, ...]
    k: str
    operands: tuple[Load, Load]
    intrinsic: str


def _product(draft: Draft) -> _Product | None:
    """The program as a product that tensor cores compute; None for any other."""
    body = draft.program.body
    if len(body) != 1 or not isinstance(body[0], For):
        return None
    axes, depth, operands = parallel_axes(draft), reduction_axes(draft), product_operands(draft)
    intrinsic = _intrinsic(draft)
    if not depth or operands is None or not intrinsic:
        return None
    a, b = ({n for i in x.index for n in names(i)} for x in operands)
    sides = [[x for x in axes if x.axis in mine - other and extent(x) >= SIDE] for mine, other in ((a, b), (b, a))]
    k = next(x for x in draft.loops() if x.axis == depth[-1])
    if not all(sides) or extent(k) < FRAGMENT or k.axis not in a & b:
        return None
    i, j = sorted((max(side, key=extent) for side in sides), key=axes.index)
    others = tuple(x.axis for x in axes if x not in (i, j))
    return _Product(i, j, others, k.axis, (operands[0], operands[1]), intrinsic)


def _intrinsic(draft: Draft) -> str:
    """What multiplies the two loads of the program's one sum, both cast to the f32 that they are summed in; empty where nothing does."""
    sums = [s for s in statements(draft.program.body) if isinstance(s, Reduce)]
    if len(sums) != 1 or not isinstance(sums[0].values[0], Op) or sums[0].values[0].name != "*":
        return ""
    sides = [a.value for a in sums[0].values[0].args if isinstance(a, Cast) and a.dtype == "f32"]
    buffers = draft.program.buffers()
    dtypes = {buffers[x.buffer].dtype if isinstance(x, Load) else "" for x in sides}
    return draft.machine.warp_product(dtypes.pop()) if len(sides) == 2 and len(dtypes) == 1 else ""


class _Tile:
    """The tile of a block. Of axis i: iw is the warp, im the operation, ih the half of its rows, ig the lane; of j: jw, jn, the lane jt and
    jp of its pair of columns; of k: ks is the operation, kk what it sums."""

    def __init__(self, draft: Draft, product: _Product, tile: int):
        self.draft, self.product, self.tile = draft, product, tile
        i, j, k = product.i.axis, product.j.axis, product.k
        self.i, self.j, self.k = i, j, k
        self.blocks = [*product.others, f"{i}0", f"{j}0"]
        self.lanes = [f"{i}w", f"{j}w", f"{i}g", f"{j}t"]
        self.parts = [f"{i}m", f"{j}n"]
        self.of_lane = [f"{i}h", f"{j}p"]
        self.sides = {i: [f"{i}w", f"{i}m", f"{i}h", f"{i}g"], j: [f"{j}w", f"{j}n", f"{j}t", f"{j}p"]}
        self.depth = [f"{k}s", f"{k}k"]
        self.fills: list[tuple[Load, str, str]] = []  # operand, and the loops over rows and columns of its tile

    def split(self) -> bool:
        i, j, k, draft = self.i, self.j, self.k, self.draft
        rows, columns = WARP_TILE[self.tile]
        deep = draft.choose("staged", 32, (16, 32, 64))
        tile = [*self.lanes, *self.parts, *self.of_lane]
        return draft.attempt(
            f"split({i}, {self.tile})", f"split({j}, {self.tile})", f"reorder({', '.join([*self.blocks, f'{i}1', f'{j}1'])})",
            f"split({i}1, {rows}, {i}w, {i}2, tail=exact)", f"split({i}2, {FRAGMENT}, {i}m, {i}3, tail=exact)", f"split({i}3, 8, {i}h, {i}g, tail=exact)",
            f"split({j}1, {columns}, {j}w, {j}2, tail=exact)", f"split({j}2, 8, {j}n, {j}3, tail=exact)", f"split({j}3, 2, {j}t, {j}p, tail=exact)",
            f"reorder({', '.join([*self.blocks, *tile])})",
            f"split({k}, {deep})", f"split({k}1, {FRAGMENT}, {k}s, {k}k, tail=exact)",
            f"expand({', '.join(tile)})", f"reorder({', '.join([f'{k}s', *self.parts, *self.lanes, *self.of_lane, f'{k}k'])})",
        )  # fmt: skip

    def stage(self, load: Load) -> bool:
        """An operand's tile in shared memory, a row for each row or column of the product."""
        draft, name = self.draft, f"{load.buffer}_s"
        used = {n for i in load.index for n in names(i)}
        side = self.sides[self.i if self.i in used else self.j]
        by = [*side, *self.depth]
        if not draft.attempt(f"stage({load.buffer}, {self.k}0, ({', '.join(by)}), shared, {name})"):
            return False
        own = own_fill_axes(draft, name, by)
        row, column = draft.fresh(f"{name}_row"), draft.fresh(f"{name}_{self.k}")
        if not (self._merged(name, 0, own[: len(side)], row) and self._merged(name, 1, own[len(side) :], column, PAD)):
            return False
        self.fills.append((load, row, column))
        return True

    def fill(self, load: Load, row: str, column: str) -> bool:
        """The threads fill a tile along what lies together in memory."""
        draft = self.draft
        if self.k not in names(load.index[-1]):
            return draft.attempt(f"reorder({column}, {row})", f"bind({row}, lanes)", f"bind({column}, lanes)")
        width, few = self._together(load), draft.fresh(f"{column}v")
        if width > 1 and draft.attempt(f"split({column}, {width}, {column}, {few}, tail=exact)"):
            return draft.attempt(f"bind({few}, vector)", f"bind({column}, lanes)", f"bind({row}, lanes)")
        return draft.attempt(f"bind({column}, lanes)", f"bind({row}, lanes)")

    def _together(self, load: Load) -> int:
        """Elements along the reduction that one thread copies at once: as many as divide a row of the operand, up to 16 bytes."""
        row = as_int(self.draft.program.buffers()[load.buffer].shape[-1])
        return next((w for w in (8, 4, 2) if row is not None and row % w == 0), 1)

    def _merged(self, name: str, dim: int, axes: list[str], new: str, pad: int = 0) -> bool:
        """The dims of a tile from `dim` on, filled by the loops `axes`, become one dim and one loop."""
        merged = axes[0]
        for k, axis in enumerate(axes[1:]):
            last = k == len(axes) - 2
            whole = new if last else self.draft.fresh(f"{new}{k}")
            padded = f", {pad}" if pad and last else ""
            if not self.draft.attempt(f"merge({name}, {dim}{padded})", f"collapse({merged}, {axis}, {whole})"):
                return False
            merged = whole
        return True

    def multiply(self) -> bool:
        """The sums are private to the lanes, so that what sticks out of the output is harmless: the operation sums whole tiles."""
        draft = self.draft
        target = next(s for s in statements(draft.program.body) if isinstance(s, Reduce)).targets[0].buffer
        draft.attempt(f"unguard({target})")
        if not all(self.fill(*f) for f in self.fills):
            return False
        nest = [*self.lanes[2:], *self.of_lane, f"{self.k}k"]
        return draft.attempt(*(f"bind({a}, lanes)" for a in self.lanes)) and draft.attempt(f"tensorize(({', '.join(nest)}), {self.product.intrinsic})")

    def spread(self) -> bool:
        for axis in (f"{self.k}s", *self.parts, *self.of_lane):
            self.draft.attempt(f"bind({axis}, unroll)")
        return all(self.draft.attempt(f"bind({a}, block)") for a in self.blocks)
