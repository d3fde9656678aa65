"""Figures of an evaluation: scores by distance, errors on the map, where to trust."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from satclip_explore.files.raster import grid_of
from training.evaluation.prediction import Survey
from training.evaluation.verdict import INTERPOLATION
from training.probes.figures import draw_coast, draw_errors, new_figure, safe_text

if TYPE_CHECKING:
    from training.evaluation.ladder import Ladder

MOST_COLORS = 9
"""Classes with a color of their own on a map."""


def ladder_figure(ladder: Ladder) -> Any:
    """Draw scores against the distance to the nearest training place, a line per contender."""
    figure = new_figure(8.0, 4.2)
    axis = figure.subplots()
    km = ladder.distances["median"]
    for name in dict.fromkeys(ladder.summary.columns.get_level_values(0)):
        mean, sd = ladder.summary[name, "mean"], ladder.summary[name, "sd"]
        away = np.maximum([float(km[rung]) for rung in mean.index], 0.01)
        order = np.argsort(away, kind="stable")
        # Interpolation is what all others are held against.
        style = {"ls": "--", "color": "0.4"} if name in INTERPOLATION else {}
        if name == "constant":
            style = {"ls": ":", "color": "0.7"}
        (line,) = axis.plot(
            away[order], mean.to_numpy()[order], marker=".", label=safe_text(name), **style
        )
        low, high = (mean - sd).to_numpy()[order], (mean + sd).to_numpy()[order]
        axis.fill_between(away[order], low, high, color=line.get_color(), alpha=0.08, lw=0)
    metric = "R²" if ladder.metric == "r2" else "accuracy"
    axis.set(
        xscale="log", xlabel="median distance to the nearest training place, km", ylabel=metric
    )
    # A line that falls far below a constant guess would flatten all others.
    best = ladder.summary.xs("mean", axis=1, level=1).to_numpy()
    axis.set_ylim(
        max(-0.5, float(np.nanmin(best)) - 0.05), min(1.02, float(np.nanmax(best)) + 0.05)
    )
    axis.legend(fontsize=7, ncols=2)
    return figure


def errors_figure(ladder: Ladder) -> Any:
    """Draw where the best contender is wrong, out of fold, on the nearest and farthest rung."""
    figure = new_figure(11.0, 3.4)
    name = ladder.best()
    ends = [
        rung for rung in (ladder.rungs[0], ladder.rungs[-1]) if (rung.name, name) in ladder.cells
    ]
    for axis, rung in zip(np.atleast_1d(figure.subplots(1, len(ends))), ends, strict=True):
        found = ladder.cells[rung.name, name]
        frame = ladder.task.frame()
        if ladder.task.is_classification:
            frame["error"] = (found.best != ladder.task.target).mean(0)
        else:
            frame["error"] = (found.best - ladder.task.target).mean(0)
        draw_errors(axis, frame, ladder.task)
        bias = float(ladder.geo_bias.loc[rung.name, "relative"])
        said = f", geo-bias {bias:+.1f} nats" if np.isfinite(bias) else ""
        axis.set_title(safe_text(f"{name}, {rung.name}{said}"), fontsize=9)
    return figure


def trust_figure(ladder: Ladder, survey: Survey) -> Any:
    """Draw the prediction, hatched where it is not to be trusted, and which labels come next."""
    figure = new_figure(9.0, 4.6)
    axis = figure.subplots()
    field = survey.raster["prediction"]
    west, south, east, north = bounds = grid_of(field).bounds
    extent = (west, east, south, north)
    keys: list[Any] = []
    if ladder.task.is_classification:
        keys = _draw_classes(axis, field.to_numpy(), ladder.task.classes, extent)
    else:
        shown = axis.imshow(np.ma.masked_invalid(field), extent=extent)
        label = safe_text(f"{ladder.task.name} {ladder.task.unit}".strip())
        figure.colorbar(shown, ax=axis, label=label, shrink=0.8)
    beyond = (survey.raster["trusted"] == 0.0).to_numpy().astype(float)
    if beyond.any():
        axis.contourf(beyond, levels=(0.5, 1.5), extent=extent, origin="upper", colors="none",
                      hatches=["////"])  # fmt: skip
    draw_coast(axis)
    keys += axis.plot(*ladder.task.lonlat.T, "k.", ms=1.5, label="labels")
    following = survey.following
    keys += axis.plot(following["lon"], following["lat"], "^", ms=7, mfc="none", mec="tab:red",
                      label="labels that would help most")  # fmt: skip
    axis.set(xlim=bounds[0::2], ylim=bounds[1::2], xlabel="longitude", ylabel="latitude",
             aspect=1.2)  # fmt: skip
    figure.legend(handles=keys, fontsize=7, loc="outside lower center", ncols=4)
    axis.set_title(safe_text(f"Predicted by {survey.raster.attrs['contender']}"), fontsize=9)
    return figure


def _draw_classes(
    axis: Any, codes: NDArray[Any], classes: Sequence[str], extent: tuple[float, ...]
) -> list[Any]:
    """Paint classes, the most frequent ones named; return what a legend shows."""
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    known = codes >= 0
    counts = np.bincount(codes[known], minlength=len(classes))
    rank = np.minimum(np.argsort(np.argsort(-counts, kind="stable")), MOST_COLORS)
    colors = ListedColormap([f"C{number}" for number in range(MOST_COLORS)] + ["0.85"])
    ranks = np.ma.masked_where(~known, rank[np.where(known, codes, 0)])
    axis.imshow(ranks, extent=extent, cmap=colors, vmin=0, vmax=MOST_COLORS)
    named = np.argsort(-counts, kind="stable")[: min(MOST_COLORS, int((counts > 0).sum()))]
    keys = [Patch(color=f"C{rank[code]}", label=safe_text(classes[code])[:40]) for code in named]
    if (counts > 0).sum() > MOST_COLORS:
        keys.append(Patch(color="0.85", label="other classes"))
    return keys
