"""A file that was read, as words, rows and colored places."""

from __future__ import annotations

from typing import Any

import holoviews as hv
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from satclip_explore.files.reading import Reading
from satclip_explore.panes import plots, theme

MOST_SHOWN = 5_000
"""Places drawn, at most: an even choice of them."""

MOST_CLASSES = len(theme.SERIES)
LONGEST = 60
EMPTY = (
    "<p class='hint'>Drop a file with longitude and latitude, under any names, in any coordinate "
    "system. You see what was read, and can correct it, before anything is computed. The file "
    "stays on the machine that runs this page.</p>"
)


def report(reading: Reading | None) -> str:
    """Write what was understood as a table; everything from the file is escaped."""
    if reading is None:
        return EMPTY
    rows = "".join(
        f"<tr><td style='color:{theme.MUTED};vertical-align:top'>{theme.escape(name)}</td>"
        f"<td style='white-space:normal'>{theme.escape(words)}</td></tr>"
        for name, words in reading.facts().items()
    )
    return f"<table aria-label='what was read'>{rows}</table>"


def preview(reading: Reading | None, n: int = 10) -> str:
    """Write the first rows as a table; long texts are cut."""
    if reading is None:
        return ""
    frame = pd.DataFrame(reading.sample(n)).drop(columns="geometry", errors="ignore")
    head = "".join(f"<th>{theme.escape(_cut(name))}</th>" for name in frame.columns)
    rows = "".join(
        "<tr>" + "".join(f"<td>{theme.escape(_cut(value))}</td>" for value in row) + "</tr>"
        for row in frame.itertuples(index=False, name=None)
    )
    return (
        f"<table aria-label='first rows' style='margin-top:8px;width:auto'><tr>{head}</tr>{rows}"
        f"</table><span class='hint'>the first {len(frame)} of {len(reading):,}</span>"
    )


def _cut(value: Any) -> str:
    if isinstance(value, float):
        return "" if np.isnan(value) else f"{value:.6g}"
    words = str(value)
    return words if len(words) <= LONGEST else words[: LONGEST - 1] + "…"


def is_class(values: pd.Series, kind: str) -> bool:
    """Tell whether a column is colored as classes."""
    if kind != "auto":
        return kind == "classification"
    return not pd.api.types.is_numeric_dtype(values) or values.nunique() <= 2


def points(lonlat: NDArray[np.float64], values: pd.Series | None, kind: str) -> hv.Points:
    """Draw places in the colors of a column, an even choice of at most `MOST_SHOWN`."""
    every = slice(None, None, max(1, -(-len(lonlat) // MOST_SHOWN)))
    colors = np.full(len(lonlat), theme.GOLD, dtype=object)
    if values is not None and len(values):
        colors = _colors(values, kind)
    shown = (lonlat[every, 0], lonlat[every, 1], colors[every])
    return hv.Points(shown, ["lon", "lat"], ["color"]).opts(
        color="color", size=5, line_color="#00000080", line_width=0.5, responsive=True,
        shared_axes=False,
    )  # fmt: skip


def _colors(values: pd.Series, kind: str) -> NDArray[np.object_]:
    if is_class(values, kind):
        names = _largest(values)
        table = {name: color for name, color in zip(names, theme.SERIES, strict=False)}
        return np.array([table.get(str(value), theme.GRAY) for value in values], dtype=object)
    numbers, low, high = _scaled(values)
    ramp = np.array(plots.smooth(theme.WARMTH))
    steps = np.nan_to_num((numbers - low) / max(high - low, 1e-12)).clip(0.0, 1.0)
    colors = ramp[(steps * 255).astype(int)].astype(object)
    colors[~np.isfinite(numbers)] = theme.GRAY
    return np.asarray(colors, dtype=object)


def _largest(values: pd.Series) -> list[str]:
    return values.dropna().astype(str).value_counts().index[:MOST_CLASSES].tolist()


def _scaled(values: pd.Series) -> tuple[NDArray[np.float64], float, float]:
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(dtype=np.float64)
    finite = numbers[np.isfinite(numbers)]
    low, high = np.quantile(finite, [0.02, 0.98]) if len(finite) else (0.0, 1.0)
    return numbers, float(low), float(high)


def legend(values: pd.Series | None, name: str, kind: str) -> str:
    """Write what the colors mean; names from the file are escaped."""
    if values is None or values.empty:
        return ""
    if is_class(values, kind):
        names = _largest(values)
        more = values.dropna().astype(str).nunique() - len(names)
        keys = " &nbsp; ".join(
            f"<span style='white-space:nowrap'>{theme.dot(color)} "
            f"{theme.escape(_cut(label))}</span>"
            for label, color in zip(names, theme.SERIES, strict=False)
        )
        return f"<div class='hint'>{keys}{f' and {more:,} more, gray' if more else ''}</div>"
    _, low, high = _scaled(values)
    return (
        f"<div class='hint' style='display:flex;gap:6px;align-items:center'>{low:.4g}<span style="
        f"'width:110px;height:8px;border-radius:4px;background:linear-gradient(90deg,"
        f"{', '.join(theme.WARMTH)})'></span>{high:.4g} &nbsp; {theme.escape(_cut(name))}</div>"
    )
