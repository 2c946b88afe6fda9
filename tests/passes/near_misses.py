"""Programs that a step must not accept, with what it says, and programs that it must get right: one for each precondition.

The bodies stand under HEAD. `MEANING`: a step may do what it likes there as long as the numbers stay.
"""

from warploom.ir.text import parse_program
from warploom.passes.schedule.loops import Fission, Rename, Split

HEAD = (
    "def f(N: dim[1, 8], x: f32[8, 8], y: f32[8, 8], z: f32[8], w: f32[8], v: f32[8], s: f32[1], k: i64[8] @ within(0, 8), "
    "A: u8[8], B: i8[16, 8], C: i32[16]):\n"
)


def program(body):
    return parse_program(HEAD + "".join(f"    {line}\n" for line in body.strip("\n").splitlines()))


COPY = "for i in serial(8):\n    for j in serial(8):\n        y[i, j] = x[i, j]"
LOWER = "for i in serial(8):\n    for j in serial(i + 1):\n        y[i, j] = x[i, j]"
UPPER = "for i in serial(8):\n    for j in serial(i, 8):\n        y[i, j] = x[i, j]"
THREE = "for i in serial(8):\n    z[i] = w[i]\nfor j in serial(8):\n    v[j] = w[j]\nfor l in serial(8):\n    y[l, 0] = w[l]"
SUM = "s[0] = 0\nfor i in serial(8):\n    for j in serial(8):\n        s[0] += x[i, j]"
COLUMNS = "for a in serial(8):\n    z[a] = 0\nfor o in serial(8):\n    for j in serial(8):\n        z[j] += x[o, j]"
TEMP = "t: local.f32[8]\nfor a in serial(8):\n    t[a] = -1.0\n"
SOFT = """
m: local.f32[1]
m[0] = -inf
{before}
for j in serial(8):
    {top}
{between}
for l in serial(8):
    s[0] += exp(w[l] - m[0])
"""
TILE = "for j in serial(16):\n    for q in serial(4):\n        C[j] += {value}"
FILLED = """
for o in {kind}(4):
    t: shared.f32[8]
    {fill}
    for j in serial(8):
        y[o, j] = t[j]
    {after}
"""


def soft(before="s[0] = 0", top="reduce(max, m[0], w[j])", between="z[0] = 1.0"):
    return SOFT.format(before=before, top=top, between=between)


def filled(kind="serial", fill="for b in serial(8):\n        t[b] = x[o, b]", after="z[o] = 1.0"):
    return FILLED.format(kind=kind, fill=fill, after=after)


REFUSED = [
    # every step names the axis that is not there
    *((COPY, f"{step}", "there is no axis `e`") for step in (
        "split(e, 2)", "reorder(i, e)", "fission(e)", "fuse(i, e)", "fuse(e, i)", "collapse(e, j)", "unroll(e)", "bind(e, block)", "rename(e, g)",
        "accumulate(y, at=e, by=j)", "accumulate(y, at=i, by=e)", "rfactor(e, j)", "rfactor(i, e)", "expand(e)", "stage(x, at=e, by=j)",
        "stage(x, at=i, by=e)", "online(e, j)", "online(i, e)", "tensorize((e, j), vnni16)",
    )),
    (COPY, "rename(e, g, 0)", "there is no axis `e`"),
    (COPY, "tensorize((i, e), vnni16)", "there is no axis `e`"),
    (COPY, "bind(j, block); bind(i, lanes)", "the rule regions"),
    ("t: shared.f32[8, 8]\nfor i in serial(8):\n    t[i, i] = w[i]\n    z[i] = t[i, i]", "merge(t, 1)", "has no dims 1 and 2"),
    ("t: local.f32[[8], 2, 2]\nfor i in lanes(8):\n    t[i, 0, 0] = w[i]\n    z[i] = t[i, 0, 0]", "merge(t, 0)", "has no dims 0 and 1"),
    (filled(), "pipeline(e, t)", "there is no axis `e`"),
    # split
    (COPY, (Split("j", 8, tail="mask", round=-1),), "at least one element"),
    ("for i in serial(N):\n    z[i] = w[i]", "split(i, 8, tail=overlap)", "needs at least 8 iterations"),
    ("for i in serial(6):\n    z[i] = w[i]", "split(i, 8, tail=overlap)", "needs at least 8 iterations"),
    ("for i in serial(7):\n    z[i] = z[i] + w[i]", "split(i, 4, tail=overlap)", "reads what the loop writes"),
    ("for i in serial(7):\n    z[i] += w[i]", "split(i, 4, tail=overlap)", "may not be done twice"),
    # reorder
    (LOWER, "reorder(j, i)", "use an axis that would come after"),
    (UPPER, "reorder(j, i)", "use an axis that would come after"),
    ("for i in serial(8):\n    if z[i] < 1.0:\n        for j in serial(8):\n            z[i] = x[i, j]", "reorder(j, i)", "reads what the nest writes"),
    ("for i in serial(8):\n    for j in serial(k[i]):\n        k[i] = 0", "reorder(j, i)", "reads what the nest writes"),
    ("for i in serial(8):\n    z[i] = 0\n    for j in serial(8):\n        z[i] += x[i, j]", "reorder(j, i)", "do not form one perfect nest"),
    # fission, fuse, collapse, unroll, bind, rename
    ("for i in serial(1, 8):\n    z[i] = w[i - 1]\n    w[i] = 2.0", "fission(i)", "meet in `w`"),
    ("for i in serial(8):\n    z[i] = w[i]\n    v[i] = w[i]", "fission(i, 2)", "cannot be cut at 2"),
    ("for i in serial(8):\n    z[i] = w[i]\n    v[i] = w[i]", (Fission("i", -1),), "cannot be cut at -1"),
    ("for i in serial(8):\n    t: local.f32[1]\n    t[0] = w[i]\n    z[i] = t[0]", "fission(i, 2)", "allocated in another part"),
    ("for i in serial(8):\n    t: local.f32[1]\n    t[0] = w[i]\n    z[i] = t[0]", "fission(i)", "share what is allocated"),
    (THREE, "fuse(i, l)", "with the same bounds and kind follows"),
    (THREE, "bind(j, block); fuse(i, j)", "with the same bounds and kind follows"),
    ("for i in serial(8):\n    z[i] = w[i]\nfor j in serial(7):\n    v[j] = z[j + 1]", "fuse(i, j)", "with the same bounds and kind follows"),
    ("for i in serial(8):\n    z[i] = w[i]\nfor j in serial(8):\n    v[j] = z[7 - j]", "fuse(i, j)", "meet in `z`"),
    (COPY + "\nfor l in serial(8):\n    z[l] = w[l]", "collapse(i, j, l)", "is taken"),
    ("for i in serial(8):\n    for j in serial(8):\n        y[i, j] = x[i, j]\n    z[i] = w[i]", "collapse(i, j)", "does not hold just a loop"),
    ("for i in serial(8):\n    z[i] = w[i]\nfor j in serial(8):\n    v[j] = w[j]", "collapse(i, j)", "does not hold just a loop"),
    (COPY, "bind(i, block); collapse(i, j)", "does not hold just a loop"),
    (LOWER, "collapse(i, j)", "depend on `i`"),
    (UPPER, "collapse(i, j)", "depend on `i`"),
    ("for i in serial(4):\n    for j in serial(i, i + 4):\n        y[i, j] = x[i, j]", "unroll(j)", "no fixed extent up to 256"),
    ("for i in serial(300):\n    z[i % 8] = w[i % 8]", "unroll(i)", "no fixed extent up to 256"),
    (COPY, "bind(i, warp)", "is not a kind of loop"),
    (COPY, (Rename("i", "a b"),), "is taken or not a name"),
    ("s[0] = 1.0\nfor i in serial(8):\n    reduce(mul, s[0], w[i])", "bind(i, block)", "the rule atomic"),
    ("t: scratch.f32[8]\nfor i in lanes(8):\n    t[i] = w[i]\n    z[i] = t[i]", "set_space(t, local)", "the rule owned"),
    ("t: scratch.f32[8]\nfor i in serial(8):\n    t[i] = w[i]\n    z[i] = t[i]", "set_space(t, heap)", "`heap` is not a space"),
    # accumulate, rfactor
    ("for o in serial(8):\n    for j in serial(8):\n        z[j] += x[o, j]\n        reduce(max, z[j], x[o, j])", "accumulate(z, at=o, by=j)", "combines into another place"),
    ("for o in serial(8):\n    for j in serial(8):\n        z[j] += x[o, j]\n        z[0] += x[o, j]", "accumulate(z, at=o, by=j)", "combines into another place"),
    ("for o in serial(8):\n    for j in serial(8):\n        z[j] += x[o, j]\n    z[o] += 1.0", "accumulate(z, at=o, by=j)", "combines into another place"),
    ("for o in serial(8):\n    for j in serial(8):\n        z[j] += x[o, j]\nfor l in serial(8):\n    v[l] = w[l]", "accumulate(z, at=o, by=l)", "not all of l are loops"),
    ("for o in serial(8):\n    for i in serial(4):\n        for j in serial(i + 1):\n            y[i, j] += x[o, j]", "accumulate(y, at=o, by=(i, j))", "extent of `j` depends"),
    ("for o in serial(8):\n    for j in serial(8):\n        z[j] += x[o, j]\n    for j in serial(4):\n        z[j] += 1.0", "accumulate(z, at=o, by=j)", "has other bounds here"),
    ("for o in serial(8):\n    for j in serial(8):\n        z[j] += x[o, j]\n    for j in serial(4, 8):\n        z[j] += 1.0", "accumulate(z, at=o, by=j)", "has other bounds here"),
    ("for o in serial(8):\n    for j in serial(8):\n        z[j] += z[j] * x[o, j]", "accumulate(z, at=o, by=j)", "depends on what it is combined into"),
    ("for o in serial(8):\n    for j in serial(8):\n        z[j] += x[o, j]\n        v[j] = z[j]", "accumulate(z, at=o, by=j)", "this uses `z` too"),
    ("for o in serial(8):\n    for j in serial(8):\n        v[j] = scan(add, z[j], x[o, j])", "accumulate(z, at=o, by=j)", "never reordered"),
    ("s[0] = 0\nfor i in serial(8):\n    for j in serial(8):\n        s[0] += x[i, j]\n    z[i] = s[0]", "rfactor(i, j)", "this uses `s` too"),
    (SUM, "rfactor(j, i)", "no reduction across"),
    # expand
    ("for i in serial(8):\n    z[i] = 0\n    for j in serial(8):\n        z[i] += x[i, j]", "expand(i, j)", "do not form one perfect nest"),
    (LOWER, "expand(i, j)", "extent of `j` depends"),
    ("for i in serial(8):\n    if z[i] < 1.0:\n        for j in serial(8):\n            z[i] = x[i, j]", "expand(i, j)", "reads what the nest writes"),
    # stage
    (COPY, "stage(y, at=root, by=i)", "nothing below `root` loads"),
    ("for o in serial(8):\n    for i in serial(8):\n        z[i] = w[i]\n    for i in serial(8):\n        w[i] = z[i] + 1.0", "stage(w, at=o, by=i)", "writes `w` while a copy"),
    ("for o in serial(8):\n    for i in serial(8):\n        for j in serial(i + 1):\n            y[i, j] = x[i, j]", "stage(x, at=o, by=(i, j))", "depend on an axis below"),
    ("for o in serial(8):\n    for i in serial(8):\n        for j in serial(i, 8):\n            y[i, j] = x[i, j]", "stage(x, at=o, by=(i, j))", "depend on an axis below"),
    ("for o in serial(8):\n    for i in serial(8):\n        z[i] = w[i]\n    for i in serial(4):\n        y[o, i] = w[i]", "stage(w, at=o, by=i)", "or has other bounds"),
    ("for o in serial(8):\n    for i in serial(8):\n        z[i] = w[i]\n    for i in serial(4, 8):\n        y[o, i] = w[i]", "stage(w, at=o, by=i)", "or has other bounds"),
    ("for o in serial(8):\n    for i in serial(8):\n        z[i] = w[i]\n    for j in serial(8):\n        y[o, j] = w[j]", "stage(w, at=o, by=i)", "all loads must have one index"),
    ("for o in serial(8):\n    for i in serial(8):\n        y[o, i] = w[i]\n        z[i] = w[7 - i]", "stage(w, at=o, by=i)", "all loads must have one index"),
    # unguard: the value that the condition kept out would be seen
    (TEMP + "for i in serial(8):\n    if i < 4:\n        t[i] = w[i]\nfor i in serial(8):\n    z[i] = t[i]", "unguard(t)", "no condition over writes"),
    (TEMP + "for i in serial(8):\n    if w[i] > 0.0:\n        t[i] = x[0, i]\nfor b in serial(8):\n    w[b] = 1.0\nfor i in serial(8):\n    if w[i] > 0.0:\n        z[i] = t[i]", "unguard(t)", "no condition over writes"),
    (TEMP + "for i in serial(8):\n    if i < 4:\n        t[0] += w[i]\nfor i in serial(8):\n    if i < 4:\n        z[i] = t[0]", "unguard(t)", "no condition over writes"),
    ("t: local.f32[16]\nfor a in serial(16):\n    t[a] = 0\nfor i in serial(8):\n    if i >= 4:\n        t[i * 2] = w[i]\nfor i in serial(8):\n    if i >= 4:\n        z[i] = t[i]", "unguard(t)", "no condition over writes"),
    *((f"g: local.f32[8]\nfor b in serial(8):\n    g[b] = select(b < 4, w[b], {rest})\n{TEMP}for i in serial(8):\n    if i < 4:\n        {use}\nfor i in serial(8):\n    z[i] = t[i]", "unguard(t)", "no condition over writes")
      for rest, use in (("0.0", "t[i] = g[i]"), ("0.0", "reduce(max, t[i], g[i])"), ("1.0", "t[i] += g[i]"), ("0.0", "t[i] += g[i] + 1.0"), ("0.0", "t[i] += g[7 - i]"))),
    ("g: local.f32[16]\nfor b in serial(8):\n    g[b * 2] = select(b < 4, w[b], 0.0)\n" + TEMP + "for b in serial(8):\n    if b < 4:\n        t[b] += g[14 - b * 2]\nfor i in serial(8):\n    z[i] = t[i]", "unguard(t)", "no condition over writes"),
    (TEMP + "for i in serial(8):\n    if i < 4:\n        t[i] = w[i]\n        v[i] = w[i]\nfor i in serial(8):\n    if i < 4:\n        z[i] = t[i]", "unguard(t)", "no condition over writes"),
    ("t: local.f32[12]\nfor a in serial(12):\n    t[a] = -1.0\nfor i in serial(8):\n    if i < 4:\n        reduce(lse, (t[i + 4], t[i]), (w[i], 1.0))\nfor i in serial(8):\n    if i < 4:\n        z[i] = t[i + 4]", "unguard(t)", "no condition over writes"),
    ("t: local.f32[12]\nfor a in serial(12):\n    t[a] = -1.0\nfor i in serial(8):\n    if i < 4:\n        t[i] = scan(add, t[i + 4], w[i])\nfor i in serial(8):\n    if i < 4:\n        z[i] = t[i + 4]", "unguard(t)", "no condition over writes"),
    ("g: local.f32[8]\nfor b in serial(8):\n    g[b] = select(b < 4, w[b], 0.0)\nt: local.f32[9]\nfor a in serial(9):\n    t[a] = -1.0\nfor i in serial(8):\n    if i < 4:\n        t[i] = scan(add, t[8], g[i])\nfor i in serial(8):\n    z[i] = t[i]", "unguard(t)", "no condition over writes"),
    # inline
    ("t: local.f32[8]\nfor i in serial(7):\n    for b in serial(2):\n        t[i + b] = x[i, b]\nfor j in serial(7):\n    z[j] = t[j]", "inline(t)", "may store to one element"),
    ("t: local.f32[8]\nfor i in serial(8):\n    t[i] = w[i]\nfor b in serial(8):\n    w[b] = 2.0\nfor j in serial(8):\n    z[j] = t[j]", "inline(t)", "is written before the last use"),
    ("t: local.f32[8]\nfor i in serial(8):\n    for b in serial(3):\n        t[i] = x[i, b]\nfor j in serial(8):\n    z[j] = t[j]", "inline(t)", "are stored more than once"),
    ("t: local.f32[8]\nfor i in serial(8):\n    t[i] = select(i > 0, t[i - 1] + 1.0, 0.0)\nfor j in serial(8):\n    z[j] = t[j]", "inline(t)", "are stored more than once"),
    ("t: local.f32[8]\nfor i in serial(8):\n    t[i] = w[i]\nfor i in serial(8):\n    t[i] += 1.0\nfor j in serial(8):\n    z[j] = t[j]", "inline(t)", "not written by one plain store"),
    # online
    (soft(before="z[0] = 1.0"), "online(j, l)", "is not set to 0 before"),
    (soft(before="s[0] = 1.0"), "online(j, l)", "is not set to 0 before"),
    (soft(before="for a in serial(1):\n    s[a] = 0"), "online(j, l)", "is not set to 0 before"),
    (soft(before="s[0] = 0\ns[0] += 1.0"), "online(j, l)", "is not set to 0 before"),
    (soft(between="m[0] = m[0] * 2.0"), "online(j, l)", "stands between the two loops"),
    (soft(between="z[0] = m[0]"), "online(j, l)", "stands between the two loops"),
    (soft(between="w[0] = 3.0"), "online(j, l)", "stands between the two loops"),
    (soft(before="z[0] = 1.0", between="s[0] = 2.0\ns[0] = 0"), "online(j, l)", "stands between the two loops"),
    (soft(top="reduce(max, m[0], w[j])\n    z[j] = 1.0"), "online(j, l)", "is not a maximum loop"),
    (soft(top="z[j] = scan(max, m[0], w[j])"), "online(j, l)", "is not a maximum loop"),
    (soft(top="reduce(min, m[0], w[j])"), "online(j, l)", "is not a maximum loop"),
    (soft(top="m[0] = max(m[0], w[j])"), "online(j, l)", "is not a maximum loop"),
    (soft().replace("exp(w[l]", "exp(v[l]"), "online(j, l)", "does not sum the exponentials"),
    (soft().replace("s[0] += exp(w[l] - m[0])", "reduce(mul, s[0], exp(w[l] - m[0]))"), "online(j, l)", "does not sum the exponentials"),
    (soft().replace("s[0] += exp(w[l] - m[0])", "s[0] += exp(w[l] - m[0])\n    z[l] = 2.0"), "online(j, l)", "does not sum the exponentials"),
    (soft().replace("for l in serial(8)", "for l in serial(7)"), "online(j, l)", "does not have the bounds"),
    # tensorize
    *((TILE.format(value=value), "tensorize((j, q), vnni16)", message) for value, message in (
        ("i32(A[q]) + i32(B[j, q])", "not the statement"), ("i32(A[q])", "not the statement"), ("i32(A[q]) * 2", "not the statement"),
        ("C[j] * i32(B[j, q])", "not the statement"), ("i32(i64(A[q])) * i32(B[j, q])", "not the statement"), ("3", "not the statement"),
        ("i32(A[q]) * i32(i8(i64(k[q])))", "not the statement"), ("i32(A[q]) * 3", "not the statement"), ("3 * i32(B[j, q])", "not the statement"), ("i32(A[q] + A[q]) * i32(B[j, q])", "not the statement"),
        ("i32(A[q * 2]) * i32(B[j, q])", "are not dense"), ("i32(A[q]) * i32(B[15 - j, q])", "are not dense"),
        ("i32(A[q]) * i32(B[q, q])", "are not dense"), ("i32(A[0]) * i32(B[j, q])", "are not dense"),
    )),
    ("for j in serial(16):\n    for q in serial(4):\n        reduce(max, C[j], i32(A[q]) * i32(B[j, q]))", "tensorize((j, q), vnni16)", "not the statement"),
    ("for j in serial(16):\n    for q in serial(4):\n        C[j] = i32(A[q]) * i32(B[j, q])", "tensorize((j, q), vnni16)", "not the statement"),
    (TILE.format(value="i32(A[q]) * i32(B[j, q])").replace("serial(4)", "serial(3)"), "tensorize((j, q), vnni16)", "extents"),
    (TILE.format(value="i32(A[q]) * i32(B[j, q])").replace("serial(4)", "serial(1, 4)"), "tensorize((j, q), vnni16)", "extents"),
    # pipeline
    (filled(kind="unroll"), "pipeline(o, t)", "only a serial loop"),
    (filled(fill="for b in serial(8):\n        t[b] = x[o, b]\n        v[b] = 2.0"), "pipeline(o, t)", "not filled by one statement"),
    (filled(fill="for b in serial(8):\n        t[b] = x[o, b]\n    t[0] = 1.0"), "pipeline(o, t)", "not filled by one statement"),
    (filled(after="x[o + 1, 0] = 3.0"), "pipeline(o, t)", "which the loop writes"),
    (filled(fill="for b in serial(8):\n        t[b] = select(b > 0, t[b - 1] + 1.0, x[o, b])"), "pipeline(o, t)", "which the loop writes"),
]  # fmt: skip

MEANING = [
    # the nest that sets a target to the identity may go only when every element is combined into once, and nothing else sees it
    (COLUMNS, "accumulate(z, at=o, by=j)"),
    ("for a in serial(8):\n    z[a] = 0\nfor o in serial(1):\n    for r in serial(2):\n        for j in serial(8):\n            z[j] += x[r, j]\n    v[o] = z[0]", "accumulate(z, at=r, by=j)"),
    ("for a in serial(8):\n    z[a] = 0\nfor o in serial(1):\n    for r in serial(1):\n        for j in serial(8):\n            z[j] += x[r, j]\n    v[o] = z[0]", "accumulate(z, at=r, by=j)"),
    (COLUMNS.replace("a in serial(8)", "a in serial(4)"), "accumulate(z, at=o, by=j)"),
    (COLUMNS.replace("o in serial(8)", "o in serial(1)"), "accumulate(z, at=o, by=j)"),
    (COLUMNS.replace("o in serial(8)", "o in serial(1)").replace("a in serial(8)", "a in serial(4)"), "accumulate(z, at=o, by=j)"),
    (COLUMNS.replace("o in serial(8)", "o in serial(1)").replace("j in serial(8)", "j in serial(4)"), "accumulate(z, at=o, by=j)"),
    (COLUMNS.replace("o in serial(8)", "o in serial(1)").replace("z[a] = 0", "z[a] = w[a]"), "accumulate(z, at=o, by=j)"),
    (COLUMNS.replace("o in serial(8)", "o in serial(1)").replace("z[a] = 0", "z[a] = 1.0"), "accumulate(z, at=o, by=j)"),
    (COLUMNS.replace("o in serial(8)", "o in serial(1)").replace("z[a] = 0", "z[a] += w[a]"), "accumulate(z, at=o, by=j)"),
    (COLUMNS.replace("o in serial(8)", "o in serial(1)").replace("z[a] = 0", "v[a] = z[a]"), "accumulate(z, at=o, by=j)"),
    (COLUMNS.replace("o in serial(8)", "o in serial(1)").replace("z[a] = 0", "z[a] = 0\n    v[a] = 1.0"), "accumulate(z, at=o, by=j)"),
    (COLUMNS.replace("for o", "for b in serial(8):\n    z[b] = w[b]\nfor o"), "accumulate(z, at=o, by=j)"),
    (COLUMNS.replace("for o", "for b in serial(8):\n    v[b] = scan(add, z[b], w[b])\nfor o"), "accumulate(z, at=o, by=j)"),
    ("for a in serial(8):\n    if w[a] > 0.0:\n        z[a] = 0\nfor b in serial(8):\n    w[b] = 1.0\nfor o in serial(1):\n    for j in serial(8):\n        if w[j] > 0.0:\n            z[j] += x[o, j]", "accumulate(z, at=o, by=j)"),
    ("for a in serial(8):\n    z[a] = -inf\n    k[a] = 0\nfor o in serial(1):\n    for j in serial(8):\n        reduce(max, z[j], x[o, j])", "accumulate(z, at=o, by=j)"),
    ("s[0] = 0\nfor o in serial(1):\n    for j in serial(8):\n        s[0] += x[o, j]", "accumulate(s, at=o, by=())"),
    ("u: local.i64[8]\nfor b in serial(8):\n    u[b] = 0\nfor a in serial(8):\n    z[a] = -inf\nfor o in serial(1):\n    for j in serial(8):\n        reduce(argmax, (z[j], u[j]), (x[o, j], o))", "accumulate(z, at=o, by=j)"),
    ("for a in serial(8):\n    if k[a] > 1:\n        z[a] = 0\nfor b in serial(8):\n    k[b] = 5\nfor c in serial(8):\n    if k[c] > 1:\n        z[c] += v[c]\nfor o in serial(2):\n    for j in serial(8):\n        z[j] += x[o, j]", "accumulate(z, at=o, by=j)"),
    ("for a in serial(8):\n    z[a] = 0\nfor c in serial(8):\n    z[c] += v[c] * -0.0\nfor d in serial(8):\n    y[0, d] = 1.0 / z[d]\nfor o in serial(2):\n    for j in serial(8):\n        z[j] += x[o, j]", "accumulate(z, at=o, by=j)"),
    # a tile loop goes inside a loop or a condition that is the same for the whole tile, and only there
    ("for i in serial(8):\n    t: local.f32[1]\n    t[0] = 0\n    for j in serial(i + 1):\n        t[0] += x[i, j]\n    z[i] = t[0]", "expand(i)"),
    ("for i in serial(8):\n    t: local.f32[1]\n    t[0] = w[i]\n    if t[0] > 0.0:\n        t[0] = 2.0\n    z[i] = t[0]", "expand(i)"),
    ("for i in serial(8):\n    t: local.f32[1]\n    t[0] = 0\n    for j in unroll(4):\n        t[0] += x[i, j]\n    z[i] = t[0]", "expand(i)"),
    ("for i in serial(8):\n    t: local.f32[1]\n    t[0] = 0\n    for j in serial(8):\n        if w[j] > 0.0:\n            t[0] += x[i, j]\n    z[i] = t[0]", "expand(i)"),
]  # fmt: skip
