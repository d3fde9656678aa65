"""How a probe is shown: curves while it trains, then scores and maps with legends."""

from __future__ import annotations

from typing import Any

import holoviews as hv
import numpy as np
import pandas as pd
import panel as pn

from satclip_explore.atlas import land_mask
from satclip_explore.geo import GLOBE, Grid
from satclip_explore.panes import plots, theme, world
from satclip_explore.panes.base import Selection

RESOLUTION = 1.0
MOST_NAMED = 14
"""Classes that a legend lists; the rest keep their colors unnamed."""


def curves(points: list[tuple[str, int, float]]) -> str:
    """Draw validation loss against step as markup: one line for each encoder, names at the side."""
    frame = pd.DataFrame(points, columns=["encoder", "step", "loss"])
    frame = frame[np.isfinite(frame["loss"])]
    if frame.empty:
        return ""
    low, high = float(frame["loss"].min()), float(frame["loss"].max())
    last = max(int(frame["step"].max()), 1)
    lines, names = [], []
    for color, (name, rows) in zip(_endless(), frame.groupby("encoder", sort=False), strict=False):
        x = 46.0 + 504.0 * rows["step"].to_numpy() / last
        y = 12.0 + 196.0 * (high - rows["loss"].to_numpy()) / max(high - low, 1e-9)
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
        lines.append(
            f"<polyline points='{path}' fill='none' stroke='{color}' stroke-width='2'/>"
            f"<circle cx='{x[-1]:.1f}' cy='{y[-1]:.1f}' r='3.5' fill='{color}'/>"
        )
        names.append(f"<span style='white-space:nowrap'><span style='color:{color}'>━</span> "
                     f"{theme.escape(name)} {rows['loss'].iloc[-1]:.3f}</span>")  # fmt: skip
    ticks = "".join(
        f"<line x1='46' x2='550' y1='{y}' y2='{y}' stroke='{theme.LINE}'/>"
        f"<text x='40' y='{y + 4}' text-anchor='end'>{value:.3g}</text>"
        for y, value in ((12, high), (110, (high + low) / 2), (208, low))
    )
    return (
        f"<svg role='img' aria-label='validation loss while training' viewBox='0 0 556 232' "
        f"style='width:100%;font-size:12px' fill='{theme.MUTED}'>{ticks}{''.join(lines)}"
        f"<text x='46' y='227'>step 0</text><text x='550' y='227' text-anchor='end'>{last:,}"
        f"</text><text x='298' y='227' text-anchor='middle'>validation loss</text></svg>"
        f"<div class='hint' style='display:flex;flex-wrap:wrap;gap:2px 14px'>{''.join(names)}</div>"
    )


def scores(result: Any) -> pn.pane.HTML:
    """Show the table of scores and what it does and does not say, in sentences."""
    table = result.table()
    head = "".join(f"<th>{theme.escape(name.replace('_', ' '))}</th>" for name in table)
    rows = []
    for name, row in table.iterrows():
        mine = f" style='color:{theme.ACCENT};font-weight:600'" if name == result.name else ""
        cells = "".join(f"<td>{theme.escape(value)}</td>" for value in row)
        rows.append(f"<tr{mine}><td>{theme.escape(name)}</td>{cells}</tr>")
    said = "".join(f"<li>{theme.escape(line)}</li>" for line in result.verdict())
    return theme.text(
        f"<table><tr><th>encoder</th>{head}</tr>{''.join(rows)}</table>"
        f"<ul class='hint' style='padding-left:16px;margin:8px 0'>{said}</ul>",
        sizing_mode="stretch_width",
    )


def maps(result: Any, field: Any, selection: Selection) -> pn.FlexBox:
    """Show the predicted raster of the globe and where it errs, side by side."""
    is_class = result.task.is_classification
    painted = _classes(field, result) if is_class else _values(field, result)
    test = result.test
    size = np.abs(test["error"].to_numpy(dtype=float))
    scale = 1.0 if is_class else float(np.quantile(size, 0.95)) or 1.0
    words = "share of runs that are wrong" if is_class else f"error in {result.task.unit}, in size"
    errors = hv.Points(
        (test["lon"], test["lat"], np.clip(size / scale, 0.0, 1.0)), ["lon", "lat"], ["error"]
    ).opts(color="error", cmap=["#1d4e5f", "#ffb454", "#ff4d4d"], clim=(0.0, 1.0), size=3.5,
           responsive=True, shared_axes=False)  # fmt: skip
    empty = hv.DynamicMap(lambda: world.picture(np.zeros((2, 4, 4), dtype=np.uint8), GLOBE))
    top = "1" if is_class else f"{scale:.3g}"
    right = pn.Column(
        theme.text("<span class='title'>Where it errs, on places never shown</span>"),
        plots.plot_pane(plots.on_globe(empty, selection, errors)),
        theme.color_scale(["#1d4e5f", "#ffb454", "#ff4d4d"], "0", f"{top}: {words}"),
        margin=0, styles=HALF,
    )  # fmt: skip
    return pn.FlexBox(painted(selection), right, gap="10px", sizing_mode="stretch_width", margin=0)


HALF = {"flex": "1 1 46%", "min-width": "min(100%, 320px)", "width": "auto"}


def _classes(field: Any, result: Any) -> Any:
    codes = field.to_numpy()
    land = land_mask(Grid(GLOBE, codes.shape)) & (codes >= 0)
    counts = np.bincount(codes[land], minlength=len(result.task.classes))
    order = np.argsort(-counts, kind="stable")
    palette = np.zeros((len(counts), 3), dtype=np.uint8)
    palette[order] = plots.palette(len(counts))
    colors = np.zeros((*codes.shape, 4), dtype=np.uint8)
    colors[land, :3], colors[land, 3] = palette[codes[land]], 255
    legend = "".join(
        f"<span style='white-space:nowrap'><span style='color:rgb{tuple(palette[code].tolist())}'>"
        f"■</span> {theme.escape(result.task.classes[code])} &nbsp;</span> "
        for code in order[:MOST_NAMED]
        if counts[code]
    )
    more = int((counts > 0).sum()) - MOST_NAMED
    note = f"and {more} more" if more > 0 else ""
    return lambda selection: _map(colors, selection, theme.text(
        f"<div class='hint' style='line-height:1.5'>{legend}{note}</div>"))  # fmt: skip


def _values(field: Any, result: Any) -> Any:
    values = field.to_numpy()
    land = land_mask(Grid(GLOBE, values.shape)) & np.isfinite(values)
    low, high = np.quantile(values[land], [0.01, 0.99])
    steps = np.nan_to_num((values - low) / max(high - low, 1e-12)).clip(0.0, 1.0)
    ramp = plots.ramp(theme.WARMTH)
    colors = np.zeros((*values.shape, 4), dtype=np.uint8)
    colors[..., :3] = ramp[(steps * 255).astype(int)]
    colors[land, 3] = 255
    unit = result.task.unit
    scale = theme.color_scale(theme.WARMTH, f"{low:.3g}", f"{high:.3g} {unit}")
    return lambda selection: _map(colors, selection, scale)


def _map(colors: np.ndarray, selection: Selection, legend: Any) -> pn.Column:
    raster = hv.DynamicMap(lambda: world.picture(colors, GLOBE))
    return pn.Column(
        theme.text("<span class='title'>Predicted</span>"),
        plots.plot_pane(plots.on_globe(raster, selection, alpha=0.35)),
        legend, margin=0, styles=HALF,
    )  # fmt: skip


def _endless() -> Any:
    while True:
        yield from theme.SERIES
