"""Bar charts as SVG text: labels and numbers come in, a picture goes out that any browser shows."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

_ROW, _LEFT, _WIDTH, _RIGHT = 20, 190, 420, 70


def bars(title: str, rows: Sequence[tuple[str, float]], unit: str = "") -> str:
    """Horizontal bars, one a row, with their numbers."""
    most = max((v for _, v in rows), default=1.0) or 1.0
    height = _ROW * (len(rows) + 2)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LEFT + _WIDTH + _RIGHT}" height="{height}" font-family="sans-serif" font-size="12">',
        f'<rect width="100%" height="100%" fill="white"/><text x="8" y="16" font-weight="bold">{escape(title)}</text>',
    ]
    for n, (label, value) in enumerate(rows):
        y = _ROW * (n + 1.4)
        length = max(1.0, _WIDTH * value / most)
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 12:.0f}" text-anchor="end">{escape(label[:30])}</text>')
        parts.append(f'<rect x="{_LEFT}" y="{y:.0f}" width="{length:.1f}" height="{_ROW - 5}" fill="#4878a8"/>')
        parts.append(f'<text x="{_LEFT + length + 5:.0f}" y="{y + 12:.0f}">{value:g}{escape(unit)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def histogram(values: Sequence[float], edges: Sequence[float], unit: str = "") -> list[tuple[str, float]]:
    """Rows for `bars`: how many values lie in each range, the last one open."""
    out = []
    for low, high in zip(edges, [*edges[1:], float("inf")]):
        label = f"{low:g} to {high:g}{unit}" if high < float("inf") else f"{low:g}{unit} and more"
        out.append((label, float(sum(low <= v < high for v in values))))
    return out
