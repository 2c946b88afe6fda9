"""When two programs are the same: a Graph comes in; a key up to renaming, a key up to shapes and numbers (its family), and a MinHash signature go out.
Two pairs are the same where their sources are: those come in, a key goes out."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..ir.graph import Graph, operands, rename_operands
from ..ir.graph_text import print_operator, print_type
from ..passes.canonical import canonicalize

PERMUTATIONS = 64
NEAR = 0.8
"""Estimated Jaccard similarity of two programs' shingles from which they are one family (Broder, On the resemblance of documents, 1997)."""
_SHINGLE = 4
_PRIME = (1 << 61) - 1
_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e[+-]?\d+)?(?![\w.])")


@dataclass(frozen=True)
class Keys:
    """`same`: equal for programs that are equal up to renaming; `family`: for those alike but for shapes and numbers; `signature`: MinHash."""

    same: str
    family: str
    signature: tuple[int, ...]


def keys_of(graph: Graph) -> Keys:
    """Of the canonical form, so that two ways to write one program are one."""
    canonical = canonicalize(graph)
    return Keys(_merkle(canonical, str), _merkle(canonical, _loose), _signature(_shingles(canonical)))


def _loose(text: str) -> str:
    return _NUMBER.sub("#", text)


def _merkle(graph: Graph, view: Callable[[str], str]) -> str:
    """A digest in which inputs are known by their types and how they are used, values by how they are computed."""
    digest: dict[str, str] = {}
    for i in graph.inputs:
        digest[i.name] = _hash("input", view(print_type(i.type)))
    texts = []
    for n in graph.nodes:
        op = rename_operands(n.op, {x: f"v_{digest[x]}" for x in operands(n.op)})
        for k, v in enumerate(n.outputs):
            digest[v.name] = _hash(view(print_operator(op)), view(print_type(v.type)), str(k))
        texts.append(digest[n.outputs[0].name])
    uses = sorted(f"{digest[name]}:{len(c)}" for name, c in graph.consumers().items())
    return _hash(*sorted(texts), *uses, *(digest[o] for o in graph.outputs), str(len(graph.inputs)))


def _hash(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


def _shingles(graph: Graph) -> set[int]:
    """Runs of words of the program's text, values named by the operators that make them."""
    kinds = {i.name: "input" for i in graph.inputs}
    words: list[str] = []
    for n in graph.nodes:
        text = _loose(print_operator(rename_operands(n.op, {x: kinds.get(x, x) for x in operands(n.op)})))
        kinds |= {v.name: "v_" + text.split("(", 1)[0] for v in n.outputs}
        words += re.findall(r"\w+|[^\w\s]", text)
    runs = [" ".join(words[k : k + _SHINGLE]) for k in range(max(1, len(words) - _SHINGLE + 1))]
    return {int.from_bytes(hashlib.blake2b(r.encode(), digest_size=7).digest(), "little") for r in runs}


def _signature(shingles: set[int]) -> tuple[int, ...]:
    rng = np.random.Generator(np.random.PCG64(20))
    pairs = rng.integers(1, 1 << 60, (PERMUTATIONS, 2))
    values = list(shingles)
    return tuple(min((int(a) * v + int(b)) % _PRIME for v in values) % (1 << 31) for a, b in pairs)


def similarity(a: Sequence[int], b: Sequence[int]) -> float:
    """Estimated Jaccard similarity of two signatures."""
    return float(np.mean(np.asarray(a) == np.asarray(b)))


def families(rows: Sequence[tuple[str, Sequence[int]]]) -> list[str]:
    """One label for each (family key, signature): near-duplicates of different keys share the label of the first."""
    first: dict[str, int] = {}
    parent = list(range(len(rows)))

    def root(k: int) -> int:
        while parent[k] != k:
            k = parent[k]
        return k

    for n, (key, _) in enumerate(rows):
        if key in first:
            parent[n] = root(first[key])
        first.setdefault(key, n)
    heads = sorted(first.values())
    matrix = np.array([rows[n][1] for n in heads], np.int64)
    for k, n in enumerate(heads):
        alike = (matrix[:k] == matrix[k]).mean(1) >= NEAR if k else np.zeros(0, bool)
        for m in np.flatnonzero(alike):
            a, b = sorted((root(heads[int(m)]), root(n)))
            parent[b] = a
    return [rows[root(n)][0] for n in range(len(rows))]


_OWN = re.compile(r"[A-Za-z_]\w*|\d[\w.]*|[^\s\w]")
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)


def sources_key(cuda: str, launches: Sequence[dict], c: str) -> str:
    """Equal for two pairs whose sources and launches are equal but for names, comments and layout: programs that differ only in how their arrays are
    shaped print alike."""
    sizes = str([(x["grid"], x["block"], x["shared_bytes"]) for x in launches])
    return _hash(_nameless(cuda), sizes, _nameless(c[c.rfind("namespace wl") :]))


def _nameless(text: str) -> str:
    names: dict[str, int] = {}
    words = _OWN.findall(_COMMENT.sub(" ", text))
    return " ".join(f"n{names.setdefault(w, len(names))}" if w[0].isalpha() or w[0] == "_" else w for w in words)


SPLITS = (("train", 0.8), ("validation", 0.1), ("test", 0.1))


def split_of(family: str) -> str:
    """The split of a whole family, by its digest."""
    at = int(hashlib.sha256(family.encode()).hexdigest()[:8], 16) / 16**8
    for name, share in SPLITS:
        if at < share:
            return name
        at -= share
    return SPLITS[-1][0]
