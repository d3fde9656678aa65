"""How encoders are compared on the page: globes beside or over one another, tables, curves."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any
from weakref import WeakValueDictionary

import holoviews as hv
import numpy as np
import panel as pn
import panel_material_ui as pmui

from satclip_explore.comparison import Comparison
from satclip_explore.panes import plots, theme
from satclip_explore.panes.furniture import earth_beneath
from satclip_explore.panes.scores import score_table
from training.probes.metrics import HIGHER_IS_BETTER

BLANK = np.zeros((2, 4, 4), dtype=np.uint8)
"""A globe that is not there yet."""


def globe(
    pane: Any, name: str, ranges: WeakValueDictionary[str, Any], leads: bool
) -> pn.pane.HoloViews:
    """Draw the globe of one encoder, with the ranges that all of them share."""
    streams = [hv.streams.Params(pane, ["_tick", "land_only"], rename={"_tick": "tick"})]
    if leads:
        # The first one's ranges are everybody's, so only it hears of them.
        streams.append(hv.streams.RangeXY())
    raster = hv.DynamicMap(lambda **view: pane.image(name, **view), streams=streams)
    link = plots.linked_ranges(ranges)
    drawn = plots.plot_pane(
        plots.on_globe(raster, pane.selection, hooks=[plots.dark, earth_beneath, link])
    )
    # Panel would link the globes of all pages, and work for those that nobody sees.
    drawn.linked_axes = False
    return drawn


def beside(pane: Any, names: Sequence[str]) -> pn.FlexBox:
    """Place globes in a row, or in two; pan and zoom of one move all."""
    ranges: WeakValueDictionary[str, Any] = WeakValueDictionary()
    share = 30 if len(names) == 3 else 46
    cells = [
        pn.Column(theme.text(key(name, color)), globe(pane, name, ranges, name == names[0]),
                  margin=0, styles={
            "flex": f"1 1 {share}%", "min-width": "min(100%, 320px)", "width": "auto"})
        for name, color in zip(names, theme.SERIES, strict=False)
    ]  # fmt: skip
    return pn.FlexBox(
        *cells, gap="10px", sizing_mode="stretch_width", margin=0, tags=[plots.LINKED]
    )


def swipe(pane: Any, names: Sequence[str]) -> pn.Column:
    """Lay the second globe over the first, from a line on that a slider moves in the browser."""
    ranges: WeakValueDictionary[str, Any] = WeakValueDictionary()
    left, right = (globe(pane, name, ranges, name == names[0]) for name in names)
    over = {"position": "absolute", "top": "0", "left": "0", "width": "100%"}
    right.styles = right.styles | over | {"clip-path": "inset(0 0 0 50%)", "z-index": "1"}
    line = pn.pane.HTML("", margin=0, sizing_mode=None, styles={
        "position": "absolute", "top": "0", "bottom": "0", "left": "50%", "width": "2px",
        "height": "100%", "background": theme.CHALK, "z-index": "2", "pointer-events": "none",
    })  # fmt: skip
    slider = pmui.FloatSlider(
        label="Line between them", value=50.0, start=0.0, end=100.0, step=0.5, margin=(0, 10),
        show_value=False, size="small", sizing_mode="stretch_width", theme_config=theme.MATERIAL,
    )  # fmt: skip
    slider.jscallback(args={"over": right, "line": line}, value=MOVE_LINE)
    titles = [key(name, color) for name, color in zip(names, theme.SERIES, strict=False)]
    return pn.Column(
        theme.split(*(theme.text(title) for title in titles)), slider,
        pn.Column(left, right, line, margin=0, sizing_mode="stretch_width",
                  styles={"position": "relative"}),
        margin=0, sizing_mode="stretch_width", styles={"max-width": "1180px"}, tags=[plots.LINKED],
    )  # fmt: skip


MOVE_LINE = """
over.styles = {...over.styles, "clip-path": `inset(0 0 0 ${source.value}%)`}
line.styles = {...line.styles, left: `${source.value}%`}
"""
"""Runs in the browser while the slider moves; nothing is computed or sent."""


def statistics(comparison: Comparison) -> pn.FlexBox:
    """Show tables and curves of a comparison."""
    colors = dict(zip(comparison.shapes["encoder"], theme.SERIES, strict=False))
    tables = theme.text(
        _pairs(comparison, colors) + _shapes(comparison, colors), sizing_mode="stretch_width"
    )
    cells = [
        (tables, "1 1 400px"),
        (_variograms(comparison, colors), "1.2 1 380px"),
        (_spectra(comparison, colors), "1 1 320px"),
    ]
    found = []
    for cell, flex in cells:
        column = pn.Column(cell, margin=0, styles={
            "flex": flex, "min-width": "min(100%, 300px)", "width": "auto"})  # fmt: skip
        found.append(column)
    return pn.FlexBox(*found, gap="8px 22px", sizing_mode="stretch_width", margin=0)


def key(name: str, color: str) -> str:
    """Write an encoder's name with the color that it has in the curves."""
    return (
        f"<span class='title' style='text-transform:none;letter-spacing:0'>"
        f"{theme.dot(color)} {theme.escape(name)}</span>"
    )


def _bar(share: float, words: str) -> str:
    """Write a number over a bar of its size, 0 to 1."""
    width = min(max(share, 0.0), 1.0)
    return (
        f"<div style='display:flex;align-items:center;gap:8px'><span style='width:36px'>{words}"
        f"</span><span style='flex:1;max-width:90px;height:6px;border-radius:3px;"
        f"background:{theme.LINE}'><span style='display:block;height:6px;border-radius:3px;"
        f"width:{width:.0%};background:{theme.ACCENT}'></span></span></div>"
    )


def _pairs(comparison: Comparison, colors: dict[str, str]) -> str:
    rows = "".join(
        f"<tr><td>{theme.dot(colors[row.first])} {theme.escape(row.first)}<br>"
        f"{theme.dot(colors[row.second])} {theme.escape(row.second)}</td>"
        f"<td>{_bar(row.cka, f'{row.cka:.2f}')}</td>"
        f"<td>{_bar(row.overlap, f'{row.overlap:.0%}')}</td></tr>"
        for row in comparison.pairs.itertuples()
    )
    return (
        "<table><tr><th>pair</th><th>likeness</th><th>shared neighbors</th></tr>"
        f"{rows}</table><p class='hint' style='margin:4px 0 10px'>Likeness is linear CKA: 1 is "
        "the same up to rotation and scale, 0 is unrelated. Shared neighbors "
        f"are of each place's {comparison.n_neighbors} nearest by cosine among "
        f"{comparison.places:,}; {comparison.chance:.1%} are shared by chance.</p>"
    )


def _shapes(comparison: Comparison, colors: dict[str, str]) -> str:
    rows = "".join(
        f"<tr><td>{theme.dot(colors[row.encoder])} {theme.escape(row.encoder)}</td>"
        f"<td>{row.dim:,}</td><td>{row.participation_ratio:.1f}</td>"
        f"<td>{_number(row.intrinsic_dimension, '.1f')}</td>"
        f"<td>{_number(row.half_variance_km, ',.0f')}</td></tr>"
        for row in comparison.shapes.itertuples()
    )
    return (
        "<table><tr><th>encoder</th><th>dimensions</th><th>effective dimensions</th>"
        f"<th>intrinsic dimension</th><th>half-variance distance, km</th></tr>{rows}</table>"
        "<p class='hint' style='margin:4px 0'>Effective dimensions: how many directions share "
        "the variance (participation ratio). Intrinsic dimension: measured between nearest "
        "neighbors; 2 is a smooth map of "
        "the globe, more is rough at the spacing of the places. Half-variance distance: the "
        "distance at which two places differ half as much as two random ones.</p>"
    )


def _number(value: float, form: str) -> str:
    return "–" if np.isnan(value) else format(value, form)


def _variograms(comparison: Comparison, colors: dict[str, str]) -> pn.Column:
    curves = [
        hv.Curve(table, "distance_km", "semivariance", label=name).opts(color=colors[name])
        for name, table in comparison.variograms.items()
    ]
    level = hv.HLine(1.0).opts(color=theme.GRAY, line_dash="dotted", line_width=1)
    return _chart(
        "How similarity falls with distance", hv.Overlay([level, *curves]),
        "0: the same. 1: as different as two random places.",
        xlabel="distance on the ground, km", ylabel="difference, share of all", logx=True,
        xticks=[30, 100, 300, 1000, 3000, 10_000], ylim=(0.0, None),
    )  # fmt: skip


def _spectra(comparison: Comparison, colors: dict[str, str]) -> pn.Column:
    curves = []
    for name, shares in comparison.spectra.items():
        kept = shares[shares > 1e-7]
        rank = np.arange(1, len(kept) + 1)
        curve = hv.Curve((rank, kept), "component", "share", label=name)
        curves.append(curve * hv.Points((rank, kept), ["component", "share"]).opts(size=3))
        curves[-1] = curves[-1].opts(
            hv.opts.Curve(color=colors[name]), hv.opts.Points(color=colors[name])
        )
    return _chart(
        "Spectrum", hv.Overlay(list(itertools.chain.from_iterable(curves))),
        "Share of the variance in each principal component; steep: few directions matter.",
        xlabel="component", ylabel="share of variance", logx=True, logy=True,
        xticks=[1, 3, 10, 30, 100, 300, 1000],
    )  # fmt: skip


def _chart(title: str, overlay: hv.Overlay, words: str, **options: Any) -> pn.Column:
    drawn = pn.pane.HoloViews(
        overlay.opts(
            responsive=True, height=270, toolbar=None, show_legend=False, default_tools=[],
            hooks=[plots.dark_axes], shared_axes=False, **options,
        ),
        sizing_mode="stretch_width", height=270, margin=0,
    )  # fmt: skip
    head = theme.text(f"<span class='hint' style='color:{theme.INK}'>{theme.escape(title)}</span>")
    return pn.Column(head, drawn, theme.hint(words), margin=0, sizing_mode="stretch_width")


def scores(result: Any, names: Sequence[str]) -> str:
    """Write the table of scores, mean ± sd over seeds, the best in bold, and the split."""
    colors = dict(zip(names, theme.SERIES, strict=False))
    column = result.metrics[result.primary]
    best = column.idxmax() if HIGHER_IS_BETTER[result.primary] else column.idxmin()
    table = score_table(
        result,
        lambda name: "font-weight:650" if name == best else "",
        lambda name: f"{theme.dot(colors.get(name, theme.FAINT))} ",
    )
    return (
        f"{table}"
        f"<p class='hint' style='margin:6px 0'>{theme.escape(result.split.description)}. "
        "Nearest: the label of the nearest labeled place, no encoder at all.</p>"
    )
