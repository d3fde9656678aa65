"""Figures of a probe: curves, confusion or observed against predicted, a map of errors."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pandas as pd

from satclip_explore.atlas import outlines
from training.tasks.task import Task

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


def loss_series(curves: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Turn the losses of a run into one series for each encoder.

    Parameters
    ----------
    curves : pandas.DataFrame
        encoder, step and valid, a row for each validation and seed; as `ProbeResult.curves`.

    Returns
    -------
    dict of str to pandas.DataFrame
        By encoder, in the order of training: mean, min and max over the seeds, indexed by step.
        Steps without a finite loss are left out.
    """
    known = curves[np.isfinite(curves["valid"].astype(float))]
    return {
        str(name): part.groupby("step")["valid"].agg(["mean", "min", "max"])
        for name, part in known.groupby("encoder", sort=False)
    }


def figure_html(task: Task, name: str, curves: pd.DataFrame, test: pd.DataFrame) -> str:
    """Draw curves, predictions and errors as an image element.

    Parameters
    ----------
    task : Task
        What was predicted.
    name : str
        The encoder in question, drawn stronger than the others.
    curves, test : pandas.DataFrame
        As `ProbeResult.curves` and `ProbeResult.test`.

    Returns
    -------
    str
        Markup; empty where matplotlib is not installed.
    """
    try:
        figure = new_figure(13.0, 3.6)
    except ImportError:
        return ""
    axes = figure.subplots(1, 3, width_ratios=(1.0, 1.0, 1.8))
    _draw_curves(axes[0], curves, name)
    if task.is_classification:
        _draw_confusion(axes[1], test)
    else:
        _draw_scatter(axes[1], test, task.unit)
    draw_errors(axes[2], test, task)
    return image_element(figure, "curves, predictions and errors")


def image_element(figure: Any, words: str) -> str:
    """Write a figure as an image element; `words` are its alternative text, plain."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    code = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="{words}" src="data:image/png;base64,{code}">'


def _draw_curves(axis: Any, curves: pd.DataFrame, strong: str) -> None:
    """Draw the validation loss of each encoder: the mean of its seeds, and their range."""
    for name, loss in loss_series(curves).items():
        width = 2.2 if name == strong else 1.0
        (line,) = axis.plot(loss.index, loss["mean"], label=safe_text(name), lw=width)
        axis.fill_between(loss.index, loss["min"], loss["max"], color=line.get_color(), alpha=0.2)
    axis.set(xlabel="step", ylabel="validation loss")
    if len(curves):
        axis.legend(fontsize=7)


def _draw_confusion(axis: Any, test: pd.DataFrame) -> None:
    """Draw which classes are taken for which, as shares of each row, for the most frequent."""
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


def _draw_scatter(axis: Any, test: pd.DataFrame, unit: str) -> None:
    """Draw predicted against observed values."""
    axis.plot(test["target"], test["prediction"], ".", ms=2, alpha=0.3)
    ends = [test["target"].min(), test["target"].max()]
    axis.plot(ends, ends, "k-", lw=0.8)
    unit = safe_text(unit)
    axis.set(xlabel=f"observed {unit}", ylabel=f"predicted {unit}")


def draw_errors(axis: Any, test: pd.DataFrame, task: Task) -> None:
    """Draw where the probe is wrong."""
    draw_coast(axis)
    if task.is_classification:
        style: dict[str, Any] = {"cmap": "RdYlGn_r", "vmin": 0.0, "vmax": 1.0}
        label = "share of seeds that are wrong"
    else:
        limit = max(float(np.quantile(np.abs(test["error"]), 0.98)), 1e-12)
        style = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}
        label = f"predicted minus observed {safe_text(task.unit)}"
    points = axis.scatter(test["lon"], test["lat"], c=test["error"], s=2, **style)
    axis.figure.colorbar(points, ax=axis, label=label, shrink=0.8)
    axis.set(xlabel="longitude", ylabel="latitude", aspect=1.2)
    margin = 3.0
    axis.set_xlim(test["lon"].min() - margin, test["lon"].max() + margin)
    axis.set_ylim(test["lat"].min() - margin, test["lat"].max() + margin)


def draw_coast(axis: Any) -> None:
    """Draw the outlines of land."""
    from matplotlib.collections import LineCollection

    axis.add_collection(LineCollection(outlines("land"), colors="0.6", lw=0.4), autolim=False)


def safe_text(text: Any) -> str:
    """Escape what matplotlib would take for mathematics; names come from files."""
    return str(text).replace("\\", "\\\\").replace("$", r"\$")
