"""The table of a probe's scores: plain words, units, and a deviation only where there is one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from satclip_explore.panes import theme

WORDS = {
    "accuracy": ("accuracy", "Share of the test places that are named right."),
    "balanced_accuracy": (
        "accuracy, classes alike",
        "Share named right of each class, averaged: a rare class counts as much as a common one.",
    ),
    "macro_f1": (
        "F1, classes alike",
        "Of each class: 1 where all that is called so is so, and all of it is found. Averaged.",
    ),
    "top5": ("among first five", "Share whose class is among the five that seem most likely."),
    "mse": ("squared error", "Mean squared error; 1 is as much as the targets vary in training."),
    "r2": ("R²", "Share of the variance that is explained; 0 is no better than the mean."),
    "auc": ("AUC", "How often a presence is more suitable than background; 0.5 knows nothing."),
    "boyce": ("Boyce", "Whether more suitable means more presences: 1 always, 0 not at all."),
    "sensitivity": ("presences found", "Share of the presences that are called suitable."),
    "specificity": ("background left out", "Share of the background not called suitable."),
    "deviance": ("deviance", "How badly the predicted mean counts fit the counts; 0 is perfect."),
    "d2": ("D²", "Share of the deviance that is explained; 0 is no better than the mean."),
    "mae": ("mean error", "Mean of the errors, in size."),
}
"""What metrics are called on the page, and what they mean."""


def score_table(result: Any, style: Callable[[str], str], mark: Callable[[str], str]) -> str:
    """Write the scores of a probe as markup, one row for each encoder.

    Parameters
    ----------
    result : ProbeResult
        Of one task.
    style : callable
        Gives the style of a row, by the encoder's name.
    mark : callable
        Gives markup in front of an encoder's name.
    """
    table = result.table()
    unit = "" if result.task.is_classification else result.task.unit
    head = "".join(_head(name, unit) for name in table)
    rows = "".join(
        f"<tr style='{style(str(name))}'><td>{mark(str(name))}{theme.escape(name)}</td>"
        + "".join(_cell(result.metrics.loc[name, f"{column}_sd"], row[column]) for column in table)
        + "</tr>"
        for name, row in table.iterrows()
    )
    return f"<table><tr><th>encoder</th>{head}</tr>{rows}</table>"


def _head(name: str, unit: str) -> str:
    words, meaning = WORDS.get(name, (name.replace("_", " "), ""))
    unit = f", {unit}" if unit and name == "mae" else ""
    return f"<th title='{theme.escape(meaning)}'>{words}{theme.escape(unit)}</th>"


def _cell(deviation: float, text: str) -> str:
    """Write a score; a model without chance has no deviation."""
    return f"<td>{theme.escape(text if deviation > 0.0 else text.partition(' ±')[0])}</td>"
