"""C++ as tree-sitter's grammar of CUDA reads it: bytes come in, the root of their tree goes out. Where the grammar guesses wrong it is given
other bytes of the same length; texts are cut from the original ones.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Any

_LESS = re.compile(rb"(?<=[\w)\]])(\s*)<(?![<=])(?=(?:[^<>;{}]|->)*(?:;|&&|\|\||\?))")
_PRAGMA = re.compile(rb'^[ \t]*#[ \t]*pragma\b[^\n]*|\b_Pragma\s*\(\s*"[^"\n]*"\s*\)', re.M)
_LAMBDA_MARKS = re.compile(rb"(?<=\])\s*(?:__(?:host|device|forceinline)__\s*)+(?=[({])")
_ALIGNED = re.compile(rb"(?<=__shared__)\s+(?:__align__|alignas)\s*\((?:[^()]|\([^()]*\))*\)|\b(?:__align__|alignas)\s*\((?:[^()]|\([^()]*\))*\)(?=\s+(?:extern\s+|static\s+)?__shared__)")


@functools.cache
def _parser() -> Any:
    import tree_sitter
    import tree_sitter_cuda

    return tree_sitter.Parser(tree_sitter.Language(tree_sitter_cuda.language()))


def unambiguous(source: bytes) -> bytes:
    """The same bytes with `>` for each `<` that surely compares: the grammar takes `a < b && c >= d` for a template.
    The two have one precedence, and every text is cut from the original, so the tree is the right one.

    Pragmas become blanks: the grammar takes `#pragma unroll` between two loops for all of the outer one's body. So do the marks of device
    lambdas and the alignment of shared memory, which every array of it has."""
    for marks in (_LAMBDA_MARKS, _ALIGNED):
        source = marks.sub(lambda m: re.sub(rb"\S", b" ", m[0]), source)
    return _PRAGMA.sub(lambda m: b" " * len(m[0]), _LESS.sub(lambda m: m[1] + b">", source))


def parsed(source: bytes) -> Any:
    """The tree's root. `a < b >> 1`, which the grammar takes for a template `a<b>` compared by `>`, is read again as a comparison."""
    source = unambiguous(source)
    while True:
        root = _parser().parse(source).root_node
        compared = [n for n in within(root, "template_argument_list") if _shifts(n)]
        if not compared:
            return root
        changed = bytearray(source)
        for n in compared:
            changed[n.start_byte : n.start_byte + 1] = b">"
        source = bytes(changed)


def _shifts(arguments: Any) -> bool:
    """Whether what closes the list of a template's arguments is half of a `>>` between two operands."""
    whole = arguments.parent
    while whole is not None and whole.end_byte == arguments.end_byte and whole.type != "binary_expression":
        whole = whole.parent
    operator_ = whole.child_by_field_name("operator") if whole is not None and whole.type == "binary_expression" else None
    return operator_ is not None and operator_.start_byte == arguments.end_byte and operator_.type in (">", ">=")


def within(node: Any, kind: str, stop: str = "") -> Iterator[Any]:
    """Nodes of a kind below `node`, in source order."""
    for child in node.children:
        if child.type == stop:
            continue
        if child.type == kind:
            yield child
        yield from within(child, kind, stop)
