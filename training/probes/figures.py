"""Figures of a probe: curves, confusion or observed against predicted, a map of errors."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

import numpy as np

from satclip_explore.atlas import outlines_geojson

if TYPE_CHECKING:
    from training.probes.result import ProbeResult

MAX_CONFUSION = 20
"""Classes in a confusion matrix: the most frequent ones of the test set."""


def new_figure(width: float, height: float) -> Any:
    """Make an empty matplotlib figure of a size in inches, not registered with pyplot.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "figures need matplotlib: pip install 'satclip-explore[train]'"
        ) from error
    return Figure(figsize=(width, height), layout="constrained")


def draw(result: ProbeResult) -> Any:
    """Draw the three panels.

    Parameters
    ----------
    result : ProbeResult
        What `train_probe` returned.

    Returns
    -------
    matplotlib.figure.Figure
        Not registered with pyplot; `savefig` writes it.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    figure = new_figure(13.0, 3.6)
    axes = figure.subplots(1, 3, width_ratios=(1.0, 1.0, 1.8))
    draw_curves(result, axes[0])
    if result.task.is_classification:
        draw_confusion(result, axes[1])
    else:
        draw_scatter(result, axes[1])
    draw_errors(result, axes[2])
    return figure


def draw_curves(result: ProbeResult, axis: Any) -> None:
    """Draw the validation loss of each encoder: the mean of its seeds, and their range."""
    for name, part in result.curves.groupby("encoder", sort=False):
        loss = part.groupby("step")["valid"].agg(["mean", "min", "max"])
        strong = name == result.name
        (line,) = axis.plot(
            loss.index, loss["mean"], label=safe_text(name), lw=2.2 if strong else 1.0
        )
        axis.fill_between(loss.index, loss["min"], loss["max"], color=line.get_color(), alpha=0.2)
    axis.set(xlabel="step", ylabel="validation loss")
    if len(result.curves):
        axis.legend(fontsize=7)


def draw_confusion(result: ProbeResult, axis: Any) -> None:
    """Draw which classes are taken for which, as shares of each row, for the most frequent."""
    test = result.test
    common = test["target"].value_counts().index[:MAX_CONFUSION]
    table = np.zeros((len(common), len(common)))
    for row, name in enumerate(common):
        predicted = test.loc[test["target"] == name, "prediction"].value_counts(normalize=True)
        table[row] = predicted.reindex(common, fill_value=0.0)
    axis.imshow(table, vmin=0.0, vmax=1.0, cmap="magma")
    labels = [safe_text(name)[:18] for name in common]
    axis.set_xticks(range(len(common)), labels, rotation=90, fontsize=5)
    axis.set_yticks(range(len(common)), labels, fontsize=5)
    axis.set(xlabel="predicted", ylabel="observed")


def draw_scatter(result: ProbeResult, axis: Any) -> None:
    """Draw predicted against observed values."""
    test = result.test
    axis.plot(test["target"], test["prediction"], ".", ms=2, alpha=0.3)
    ends = [test["target"].min(), test["target"].max()]
    axis.plot(ends, ends, "k-", lw=0.8)
    unit = safe_text(result.task.unit)
    axis.set(xlabel=f"observed {unit}", ylabel=f"predicted {unit}")


def draw_errors(result: ProbeResult, axis: Any) -> None:
    """Draw where the probe is wrong."""
    for line in _coast():
        axis.plot(*line.T, color="0.6", lw=0.4)
    test = result.test
    if result.task.is_classification:
        style: dict[str, Any] = {"cmap": "RdYlGn_r", "vmin": 0.0, "vmax": 1.0}
        label = "share of seeds that are wrong"
    else:
        limit = max(float(np.quantile(np.abs(test["error"]), 0.98)), 1e-12)
        style = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}
        label = f"predicted minus observed {safe_text(result.task.unit)}"
    points = axis.scatter(test["lon"], test["lat"], c=test["error"], s=2, **style)
    axis.figure.colorbar(points, ax=axis, label=label, shrink=0.8)
    axis.set(xlabel="longitude", ylabel="latitude", aspect=1.2)
    margin = 3.0
    axis.set_xlim(test["lon"].min() - margin, test["lon"].max() + margin)
    axis.set_ylim(test["lat"].min() - margin, test["lat"].max() + margin)


def _coast() -> list[Any]:
    return [
        np.array(ring)
        for feature in outlines_geojson("land")["features"]
        for polygon in feature["geometry"]["coordinates"]
        for ring in polygon
    ]


def safe_text(text: Any) -> str:
    """Escape what matplotlib would take for mathematics; names come from files."""
    return str(text).replace("\\", "\\\\").replace("$", r"\$")


def figure_html(result: ProbeResult) -> str:
    """Return the figure as an image element; nothing where matplotlib is not installed."""
    try:
        figure = draw(result)
    except ImportError:
        return ""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    code = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="curves, predictions and errors" src="data:image/png;base64,{code}">'
