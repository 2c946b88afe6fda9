"""Shapes as models have them: a kind and a Pick come in, a shape goes out.

Widths, channels, token counts and image sizes are those of published configurations (ResNet, MobileNet, EfficientNet, ViT, Swin, BERT, GPT-2,
Llama, T5, CLIP, U-Net, wav2vec) and odd numbers among them, since real data has tails. `scale` bounds the elements.
"""

from __future__ import annotations

import math

from .operator import Pick, Shape

WIDTHS = (48, 64, 80, 96, 100, 128, 144, 160, 192, 200, 256, 300, 320, 384, 512, 576, 640, 768, 896, 1000, 1024, 1152, 1280, 1536, 2048, 3072, 4096)
ROWS = (1, 4, 8, 10, 16, 25, 32, 49, 50, 64, 77, 100, 128, 196, 197, 256, 384, 512, 577, 1024)
TOKENS = (7, 16, 32, 49, 50, 64, 77, 100, 128, 196, 197, 256)
CHANNELS = (1, 3, 8, 12, 16, 24, 32, 40, 48, 64, 80, 96, 128, 160, 192, 256, 320, 384, 512)
SIDES = (5, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 56, 64, 96, 112, 128, 224)
LENGTHS = (31, 50, 64, 100, 128, 160, 200, 256, 400, 499, 512, 800, 1000, 1024, 2048, 4096)
DEPTHS = (4, 5, 7, 8, 10, 12, 14, 16, 28)
BATCHES = (1, 1, 2, 3, 4, 5, 8, 10, 16)
HEADS = (1, 2, 3, 4, 6, 8, 12, 16)
HEAD_WIDTHS = (16, 24, 32, 40, 48, 64, 80, 96, 128)
MOST = {"any": 1 << 18, "rows": 1 << 18, "matrix": 1 << 16, "sequence": 1 << 16, "signal": 1 << 17, "image": 1 << 17, "volume": 1 << 16, "heads": 1 << 15}
"""Elements that an operand has at most at scale 1: what the emulator can watch access by access in a second or so."""
LEAST = {"any": 1 << 14, "rows": 1 << 14, "matrix": 1 << 12, "sequence": 1 << 13, "signal": 1 << 14, "image": 1 << 14, "volume": 1 << 13, "heads": 1 << 12}
"""Elements that most operands have at least at scale 1: smaller ones are a matter of microseconds."""
_SMALL = 1 << 8
_TRIES = 40


def draw_shape(pick: Pick, kind: str) -> Shape:
    """A shape of the kind with between LEAST and MOST elements (times the scale), some smaller."""
    most = max(64.0, MOST[kind] * pick.scale)
    least = min(_SMALL if pick.chance(0.12) else LEAST[kind], most / 4)
    best: Shape = _DRAW[kind](pick)
    for _ in range(_TRIES):
        if least <= math.prod(best) <= most:
            return best
        shape = _DRAW[kind](pick)
        best = shape if not 0 < math.prod(best) <= most or math.prod(shape) <= most else best
    return _shrunk(best, most)


def _shrunk(shape: Shape, most: float) -> Shape:
    sides = list(shape)
    while math.prod(sides) > most:
        at = max(range(len(sides)), key=lambda k: sides[k])
        sides[at] = max(1, sides[at] // 2)
    return tuple(sides)


def _any(pick: Pick) -> Shape:
    kind = pick.of("rows", "rows", "image", "sequence", "heads", "signal", "flat")
    return (pick.of(1000, 4096, 10000, 16384, 30522, 50257, 65536, 100000, 131072),) if kind == "flat" else _DRAW[kind](pick)


def _rows(pick: Pick) -> Shape:
    return (pick.of(*BATCHES[2:6]), pick.of(*TOKENS), pick.of(*WIDTHS[:16])) if pick.chance(0.3) else (pick.of(*ROWS), pick.of(*WIDTHS))


_DRAW = {
    "any": _any,
    "rows": _rows,
    "matrix": lambda p: (p.of(*ROWS[1:]), p.of(*WIDTHS[:18])),
    "sequence": lambda p: (p.of(1, 2, 3, 4), p.of(*TOKENS), p.of(*WIDTHS[:16])),
    "signal": lambda p: (p.of(*BATCHES), p.of(*CHANNELS[2:14]), p.of(*LENGTHS)),
    "image": lambda p: (p.of(*BATCHES[:7]), p.of(*CHANNELS), p.of(*SIDES), p.of(*SIDES)),
    "volume": lambda p: (p.of(1, 1, 2), p.of(*CHANNELS[:8]), p.of(*DEPTHS), p.of(*DEPTHS), p.of(*DEPTHS)),
    "heads": lambda p: (p.of(1, 2), p.of(*HEADS), p.of(*TOKENS), p.of(*HEAD_WIDTHS)),
}


def fits(kind: str, shape: Shape) -> bool:
    """Whether a value of this shape is of the kind."""
    rank = {"matrix": 2, "sequence": 3, "signal": 3, "image": 4, "volume": 5, "heads": 4}.get(kind)
    if kind == "rows":
        return len(shape) >= 2 and shape[-1] > 1
    return bool(shape) and (rank is None or len(shape) == rank)
