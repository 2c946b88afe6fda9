"""Quantisation: lossy rewrites of a Graph, one module a kind, each with its named patterns and its numerics contract (`ir.numerics`).

    int8.py    dynamic: int8 weights by column, uint8 activations by row, 32-bit sums
    bf16.py    operands of contractions rounded to bfloat16, float32 sums

`FAMILY` lists them. Others of the family (weights alone in 4 bits, convolutions, static ranges) are a module and a row each.
"""

from .family import FAMILY, UnknownPass, check_names, quantize, rewrite_only

__all__ = ["FAMILY", "UnknownPass", "check_names", "quantize", "rewrite_only"]
