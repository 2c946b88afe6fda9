"""The schedule steps as methods: arguments come in, a scheduled kernel goes out. Made from the step table by `generate.py`: do not edit."""

from __future__ import annotations

from typing import Generic, TypeVar

from ..passes.schedule import script
from ..passes.schedule.step import Step

K = TypeVar("K")


def _names(names: str | tuple[str, ...]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


class Steps(Generic[K]):
    """Each method is one step of the schedule language and gives the kernel that it makes. Raises IllegalStep, ParseError."""

    def _apply(self, step: Step) -> K:
        raise NotImplementedError

    def split(self, axis: str, size: int, outer: str = "", inner: str = "", rest: str = "", tail: str = "guard", round: int = 0) -> K:
        """Cut an axis into tiles of `size`; the new axes are i0 (tiles), i1 (in the tile) and i2 (what is left), or `outer`, `inner`, `rest`.

        split(i, 8)              for i in serial(N): S(i)
                             ->  for i0 in serial((N + 7)//8):
                                     for i1 in serial(8):
                                         if i0*8 + i1 < N: S(i0*8 + i1)
        split(i, 8, tail=exact)  no `if`; refused unless 8 surely divides N
        split(i, 8, tail=cut)    for i0 in serial(N//8): for i1 in serial(8): S(i0*8 + i1)
                                 for i2 in serial(N//8*8, N): S(i2)
        split(i, 8, tail=mask)   for i0 in serial(N//8): for i1 in serial(8): S(i0*8 + i1)
                                 for i2 in serial(8): if N//8*8 + i2 < N: S(N//8*8 + i2)
                                 where the extent of i2, when N is a number, is what is left rounded up to a multiple of `round` (default: size)

        split(i, 8, tail=overlap)  for i0 in serial(N//8): for i1 in serial(8): S(i0*8 + i1)
                                 for i2 in serial(8): S(N - 8 + i2)
                                 where S may be done twice: it only stores, and reads nothing that it writes; N is a number of at least 8

        Parts that are surely empty are left out.
        """
        return self._apply(script.Split(axis, size, outer, inner, rest, tail, round))

    def reorder(self, *axes: str) -> K:
        """Put the axes of a perfect nest in the given order; guards follow the axes they need.

        reorder(j, i)        for i: for j: S   ->   for j: for i: S

        Of the loops that change places with each other, all but one must have independent iterations (or only combine into the same
        places: one monoid, no scan).
        """
        return self._apply(script.Reorder(axes))

    def fission(self, axis: str, at: int = 0) -> K:
        """Give each statement (or the two parts around statement number `at`) a loop of its own.

        fission(i)           for i: S; T   ->   for i: S
                                                for i: T

        What one part allocates another may not use (`expand` does both); no iteration of a later part may meet an earlier one of another
        iteration.
        """
        return self._apply(script.Fission(axis, at))

    def fuse(self, first: str, second: str) -> K:
        """Make one loop of two neighbours with the same bounds; the second takes the first one's axis.

        fuse(i, j)           for i in serial(N): S(i)        ->   for i in serial(N): S(i); T(i)
                             for j in serial(N): T(j)

        Refused when T at an iteration needs S of a later one.
        """
        return self._apply(script.Fuse(first, second))

    def collapse(self, outer: str, inner: str, name: str = "") -> K:
        """Make one axis of two that form a perfect nest.

        collapse(i, j, ij)   for i in serial(M):          ->   for ij in serial(M*N):
                                 for j in serial(N): S             S with i = ij//N, j = ij%N
        """
        return self._apply(script.Collapse(outer, inner, name))

    def unroll(self, axis: str) -> K:
        """Write a loop out; its bounds must be numbers. (`bind(i, unroll)` keeps the loop and leaves it to the printer.)

        unroll(i)            for i in serial(2): S(i)   ->   S(0); S(1)
        """
        return self._apply(script.Unroll(axis))

    def bind(self, axis: str, kind: str) -> K:
        """Change the kind of an axis: block, serial, lanes, vector or unroll. A vector or unroll loop starts at 0 and has a fixed extent.

        bind(i, vector)      for i in serial(16): S   ->   for i in vector(16): S

        Under `lanes`, a local that stands outside the nest and is indexed by its axes first becomes `owned`.
        """
        return self._apply(script.Bind(axis, kind))

    def rename(self, old: str, new: str, number: int = -1) -> K:
        """Give an axis or a buffer another name; with `number`, only the axis's occurrence of that number (from 0, in program order).

        rename(j, jt, 1)     for j: S          ->   for j: S
                             for j: T               for jt: T
        """
        return self._apply(script.Rename(old, new, number))

    def accumulate(self, buffer: str, at: str, by: str | tuple[str, ...], space: str = "local") -> K:
        """Combine into a private tile `C_acc[by]` in the body of axis `at`, and from there once into C.

        accumulate(C, at=j0, by=(i1, j1))
            for j0:                                ->   for j0:
                for k: for i1: for j1:                      C_acc: local.f32[I, J]
                    C[i, j] += v                            for i1: for j1: C_acc[i1, j1] = 0
                                                            for k: for i1: for j1: C_acc[i1, j1] += v
                                                            for i1: for j1: C[i, j] += C_acc[i1, j1]

        `by` must be exactly the axes below `at` that C's index uses. Where a nest before it set C to the identity and nothing else is
        combined into the same elements, that nest disappears and the last line is `C[i, j] = C_acc[i1, j1]`.
        """
        return self._apply(script.Accumulate(buffer, at, _names(by), space))

    def rfactor(self, axis: str, by: str | tuple[str, ...], target: str = "", space: str = "local") -> K:
        """Give each position of `by` a partial result of its own, over the whole loop `i`, and combine the partial results after it.

        rfactor(i0, i1)      for i0: for i1: s[0] += v   ->   s_part: local.f32[I]
                                                              for i1: s_part[i1] = 0
                                                              for i0: for i1: s_part[i1] += v
                                                              for i1: s[0] += s_part[i1]

        With several axes in `by`, the partial results are first combined over the earlier ones. All Reduces below `i` that have `by`
        around them and targets that depend on no axis at or below `i` are treated (or those into `target`).
        """
        return self._apply(script.Rfactor(axis, _names(by), target, space))

    def expand(self, *axes: str) -> K:
        """Turn what is allocated below a tile of axes into arrays over the tile, and give each statement a tile loop of its own, placed
        inside the serial loops around it.

        expand(i1, j1)       for i1: for j1:                  ->   acc: local.f32[I, J]
                                 acc: local.f32[1]                 for i1: for j1: acc[i1, j1] = 0
                                 acc[0] = 0                        for k: for i1: for j1: acc[i1, j1] += v
                                 for k: acc[0] += v                for i1: for j1: C[i, j] = f(acc[i1, j1])
                                 C[i, j] = f(acc[0])

        The axes form a perfect nest (guards in it are copied to each tile loop) and have independent iterations. A buffer of one element
        becomes exactly the tile; a larger one keeps its dims before the tile's, except that axes bound to unroll come before them, and axes
        bound to lanes before all.
        """
        return self._apply(script.Expand(axes))

    def stage(self, buffer: str, at: str, by: str | tuple[str, ...], space: str = "scratch", name: str = "") -> K:
        """Copy the part of B that the body of axis `at` loads into a buffer of its own, indexed by `by`, and load from there.

        stage(B, at=k0, by=(k1, j1), space=scratch)
            for k0:                                  ->   for k0:
                for k1: for j1:                               B_s: scratch.f32[K, J]
                    if g(j): C += A[..] * B[k, j]             for k1: for j1: B_s[k1, j1] = select(g(j), B[k, j], 0)
                                                              for k1: for j1: if g(j): C += A[..] * B_s[k1, j1]

        Packing, padding and staging in one. `at=root` copies before the top-level nest that loads B. All loads of B there must have the
        same index; `by` must have the axes below `at` in it, in the order wanted. Conditions over the load that use only `by` and outer
        axes become the fill condition. Nothing below `at` may write B.
        """
        return self._apply(script.Stage(buffer, at, _names(by), space, name))

    def unguard(self, buffer: str) -> K:
        """Drop the conditions over statements that only write the private buffer, where what they would write besides is never seen.

        unguard(acc)         if i < M: acc[i1] += A_s[i1, k1] * B_s[k1]   ->   acc[i1] += A_s[i1, k1] * B_s[k1]

        A condition on the axes of acc's index goes when every read of acc elsewhere stands under the same condition. Any other condition
        goes when all loads of the value are zero-filled under it by `stage` and the value is then exactly 0 in a sum.
        """
        return self._apply(script.Unguard(buffer))

    def set_space(self, buffer: str, space: str) -> K:
        """Place an allocated buffer in another space; a param may be global or stream.

        set_space(t, shared)     t: local.f32[16]   ->   t: shared.f32[16]
        """
        return self._apply(script.SetSpace(buffer, space))

    def inline(self, buffer: str) -> K:
        """Replace loads of an allocated buffer by the expression that was stored there.

        inline(t)            t: local.f32[N]                     ->   for j: y[j] = x[j]*2.0 + x[j + 1]*2.0
                             for i: t[i] = x[i]*2.0
                             for j: y[j] = t[j] + t[j + 1]

        One statement stores to it, each element once; what that statement loads is not written from there to the last load.
        """
        return self._apply(script.Inline(buffer))

    def online(self, first: str, second: str) -> K:
        """Join a maximum loop and the sum-of-exponentials loop that follows it into one loop over pairs (Milakov and Gimelshein, 2018).

        online(a, b)         for a: reduce(max, m[0], x[a])       ->   s[0] = 0
                             s[0] = 0                                  for a: reduce(lse, (m[0], s[0]), (x[a], 1.0))
                             for b: s[0] += exp(x[b] - m[0])

        The nests have the same bounds and conditions, s is set to 0 before, and nothing else uses m or s in between.
        """
        return self._apply(script.Online(first, second))

    def tensorize(self, axes: str | tuple[str, ...], intrinsic: str) -> K:
        """Replace a perfect nest by an intrinsic with the same meaning.

        tensorize((j, q), vnni16)   for j in serial(16):                            ->   vnni16(c[0], a[0], b[0, 0])
                                        for q in serial(4):
                                            c[j] += i32(a[q])*i32(b[j, q])

        tensorize((g, t, h, p, k), mma_m16n8k16_f16)
            for w in lanes(2):                                ->   for w in lanes(2):
                for g in lanes(8): for t in lanes(4):                  mma_m16n8k16_f16(acc[w, 0, 0, 0, 0], A_s[w*16, 0], B_s[0, 0])
                    for h: for p: for k in serial(16):
                        acc[w, g, t, h, p] += f32(A_s[w*16 + h*8 + g, k]) * f32(B_s[t*2 + p, k])

        The loops stand in the order of the intrinsic's meaning, lanes where it has lanes, and each operand is dense: its small array lies on
        trailing dims. An operation of a warp takes tiles in shared memory, and what lanes own. Of several nests over these axes, those that fit
        are replaced.
        """
        return self._apply(script.Tensorize(_names(axes), intrinsic))

    def pipeline(self, axis: str, buffer: str) -> K:
        """Give a staged buffer two halves and fill the one for the next iteration before the current one is used.

        pipeline(k0, B_s)    for k0 in serial(K):           ->   B_s: shared.f32[2, T]
                                 B_s: shared.f32[T]              for t: B_s[0, t] = B[0, t]
                                 for t: B_s[t] = B[k0, t]        for k0 in serial(K):
                                 S(B_s)                              if k0 + 1 < K:
                                                                         for t: B_s[(k0 + 1) % 2, t] = B[k0 + 1, t]
                                                                     S(B_s[k0 % 2])

        The loop is serial; one statement of its body fills the buffer and does nothing else, and nothing in the loop writes what it loads.
        """
        return self._apply(script.Pipeline(axis, buffer))

    def merge(self, buffer: str, dim: int, pad: int = 0) -> K:
        """Make one dim of a buffer's dims `dim` and `dim + 1`.

        merge(t, 0)          t: shared.f32[4, 16, K]   ->   t: shared.f32[64, K]
                             t[a, b, k]                     t[a*16 + b, k]
        merge(t, 0, pad=8)   as many elements more that nothing reads: rows of shared memory that do not all begin in one bank

        The dims belong to no lanes.
        """
        return self._apply(script.Merge(buffer, dim, pad))

    def when(self, dim: str, lo: int, hi: int = 0) -> K:
        """What follows, up to the next `when`, schedules the program for values of a dim from `lo` to below `hi` (0: no upper end).

        when(n, 1, 8);                        ->   match n:
        when(n, 8); split(i, 8, tail=cut)              case within(1, 8): for i in serial(n): S(i)
                                                       case within(8, inf): for i0: for i1: S(i0*8 + i1)
                                                                            for i2: S(i2)

        Several `when` with nothing between them give one variant several ranges. Steps before the first one hold for all. The ranges cover
        every value of the dim, each one once.
        """
        return self._apply(script.When(dim, lo, hi))
