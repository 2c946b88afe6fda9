"""A report's figures come in, Vega-Lite charts as plain values go out, by Altair; and the script that draws them without any network."""

from __future__ import annotations

from functools import cache
from typing import Any

from ...ir.diagnostic import MissingTool
from .summary import CLASSES, THRESHOLDS

PALETTE = ("#2563eb", "#ea580c", "#059669", "#9333ea", "#dc2626", "#0891b2", "#ca8a04", "#db2777", "#4d7c0f", "#475569")
_CLASS_COLOURS = {
    "right": "#059669", "too slow": "#84cc16", "wrong": "#dc2626", "hollow": "#7c3aed", "compile": "#f59e0b", "crash": "#be123c",
    "timeout": "#0891b2", "library call": "#db2777", "extraction": "#a8a29e", "no answer": "#d6d3d1",
}  # fmt: skip


_LOG = {"values": [0.001, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 1000, 10000], "labelExpr": "datum.value + '×'", "labelOverlap": "greedy"}


def _altair() -> Any:
    try:
        import altair
        import vl_convert  # noqa: F401
    except ImportError:
        raise MissingTool("altair or vl-convert-python is not installed", hint="pip install 'warploom[report]'") from None
    return altair


@cache
def drawing_script() -> str:
    """JavaScript with everything that draws the charts. Raises `MissingTool`."""
    _altair()
    import vl_convert

    return vl_convert.javascript_bundle()  # pyright: ignore[reportCallIssue]


def charts(value: dict) -> list[tuple[str, str, dict]]:
    """(title, what it says, specification) of each chart that the figures allow. Raises `MissingTool`."""
    alt = _altair()
    names = list(value["models"])
    colour = alt.Color("model:N", scale=alt.Scale(domain=names, range=[PALETTE[i % len(PALETTE)] for i in range(len(names))]), legend=None)
    made = [
        ("Right answers", "pass@1 over sound records, with 95% Wilson intervals", _rates(alt, value, colour)),
        ("How fast are they", "fast_p: share of samples that are right and more than p times as fast as the baseline", _fast(alt, value, colour)),
        ("What went wrong", "samples by class", _classes(alt, value)),
        ("By category", "pass@1", _categories(alt, value)),
    ]
    if any(s["speedup"] for m in value["models"].values() for s in m["samples"]):
        made.append(("Speedups", "each right answer against its record's baseline", _speedups(alt, value, colour)))
    if sum((m["cost_usd"] or 0) > 0 for m in value["models"].values()) > 1:
        made.append(("What it costs", "USD of the run against pass@1", _costs(alt, value, colour)))
    return [(title, words, spec.to_dict()) for title, words, spec in made]


def _rates(alt, value: dict, colour):
    rows = [
        {"model": n, "pass@1": m["pass@1"], "low": m["pass@1_interval"][0], "high": m["pass@1_interval"][1]}
        for n, m in value["models"].items()
        if m["pass@1"] is not None
    ]
    base = alt.Chart(alt.Data(values=rows), width="container", height=alt.Step(34)).encode(y=alt.Y("model:N", sort="-x", title=None, axis=alt.Axis(labelLimit=150)))
    scale = alt.Scale(domain=[0, 1])
    rule = base.mark_rule(strokeWidth=3, opacity=0.45).encode(x=alt.X("low:Q", scale=scale, title="pass@1", axis=alt.Axis(format="%")), x2="high:Q", color=colour)
    point = base.mark_circle(size=130, opacity=1).encode(
        x=alt.X("pass@1:Q", scale=scale), color=colour, tooltip=[alt.Tooltip("model:N"), *(alt.Tooltip(f"{k}:Q", format=".1%") for k in ("pass@1", "low", "high"))]
    )
    return rule + point


def _fast(alt, value: dict, colour):
    rows = [{"model": n, "p": p, "share": m["fast_p"][str(p)]} for n, m in value["models"].items() for p in THRESHOLDS]
    return (
        alt.Chart(alt.Data(values=rows), width="container", height=230)
        .mark_line(point=True, interpolate="step-before", strokeWidth=2.2)
        .encode(
            x=alt.X("p:Q", title="p", scale=alt.Scale(type="symlog", constant=1), axis=alt.Axis(values=[0, 0.5, 1, 1.5, 2, 3, 5, 10], labelExpr="datum.value", labelOverlap=True)),
            y=alt.Y("share:Q", title=None, axis=alt.Axis(format="%"), scale=alt.Scale(domain=[0, 1])),
            color=colour,
            tooltip=["model:N", "p:Q", alt.Tooltip("share:Q", format=".1%")],
        )
    )


def _classes(alt, value: dict):
    order = ["right", "too slow", *[c for c in reversed(CLASSES)]]
    present = [c for c in _CLASS_COLOURS if any(c in m["classes"] for m in value["models"].values())]
    rows = [{"model": n, "class": c, "samples": k, "order": order.index(c)} for n, m in value["models"].items() for c, k in m["classes"].items()]
    return (
        alt.Chart(alt.Data(values=rows), width="container", height=alt.Step(34))
        .mark_bar()
        .encode(
            y=alt.Y("model:N", title=None, axis=alt.Axis(labelLimit=150)),
            x=alt.X("samples:Q", stack="normalize", title=None, axis=alt.Axis(format="%")),
            color=alt.Color("class:N", scale=alt.Scale(domain=present, range=[_CLASS_COLOURS[c] for c in present]), legend=alt.Legend(orient="bottom", columns=3, title=None, columnPadding=8)),
            order="order:Q",
            tooltip=["model:N", "class:N", "samples:Q"],
        )
    )


def _categories(alt, value: dict):
    rows = [
        {"model": n, "category": c, "pass@1": figures["pass@1"], "records": figures["records"]}
        for n, m in value["models"].items()
        for c, figures in m["categories"].items()
        if figures["pass@1"] is not None
    ]
    slant = 0 if len(value["models"]) <= 3 else -35
    base = alt.Chart(alt.Data(values=rows), width="container", height=alt.Step(32)).encode(
        x=alt.X("model:N", title=None, sort=list(value["models"]), axis=alt.Axis(labelAngle=slant, labelLimit=110, labelOverlap="greedy")),
        y=alt.Y("category:N", title=None, sort=None, axis=alt.Axis(labelLimit=150)),
    )
    cells = base.mark_rect(cornerRadius=4).encode(
        color=alt.Color("pass@1:Q", scale=alt.Scale(scheme="yellowgreenblue", domain=[0, 1]), legend=None),
        tooltip=["model:N", "category:N", "records:Q", alt.Tooltip("pass@1:Q", format=".1%")],
    )
    words = base.mark_text(fontWeight=600).encode(
        text=alt.Text("pass@1:Q", format=".0%"), color=alt.condition("datum['pass@1'] > 0.55", alt.value("white"), alt.value("#1c1917"))
    )
    return cells + words


def _speedups(alt, value: dict, colour):
    rows = [
        {"model": n, "speedup": s["speedup"], "id": s["id"], "sample": s["sample"]}
        for n, m in value["models"].items()
        for s in m["samples"]
        if s["speedup"]
    ]
    points = (
        alt.Chart(alt.Data(values=rows), width="container", height=alt.Step(40))
        .mark_tick(thickness=2, size=24, opacity=0.6)
        .encode(
            x=alt.X("speedup:Q", scale=alt.Scale(type="log"), title="times as fast as the baseline", axis=_LOG),
            y=alt.Y("model:N", title=None, axis=alt.Axis(labelLimit=150)),
            color=colour,
            tooltip=["model:N", "id:N", "sample:Q", alt.Tooltip("speedup:Q", format=".2f")],
        )
    )
    return points + alt.Chart(alt.Data(values=[{"one": 1}])).mark_rule(strokeDash=[4, 4], color="#78716c").encode(x="one:Q")


def _costs(alt, value: dict, colour):
    rows = [{"model": n, "USD": m["cost_usd"], "pass@1": m["pass@1"]} for n, m in value["models"].items() if m["cost_usd"]]
    base = alt.Chart(alt.Data(values=rows), width="container", height=230).encode(
        x=alt.X("USD:Q", scale=alt.Scale(type="log"), title="USD", axis=alt.Axis(format="~g", labelOverlap="greedy")), y=alt.Y("pass@1:Q", axis=alt.Axis(format="%"), title=None, scale=alt.Scale(domain=[0, 1]))
    )
    return base.mark_circle(size=140, opacity=1).encode(color=colour, tooltip=["model:N", "USD:Q", alt.Tooltip("pass@1:Q", format=".1%")]) + base.mark_text(
        align="left", dx=9
    ).encode(text="model:N")
