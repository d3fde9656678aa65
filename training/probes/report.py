"""The benchmark's results for people: markdown and pictures."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from training.probes.baselines import BASELINES
from training.probes.figures import new_figure, safe_text
from training.probes.metrics import HIGHER_IS_BETTER

PLACE_ALONE = "place alone"
"""The Gaussian process of the rows that join embedding and place, on coordinates only."""

TUNED = ", tuned"
"""Ends the name of a row whose settings were chosen."""

AS_PUBLISHED = ", as published"
"""Ends the name of a row of the published notebook's probe."""

PAPER = "Klemmer et al. 2023, arXiv:2311.17179"
"""Where the published figures stand. They are from other places, other splits and other tables, and
could not be checked against the paper here, so they are not repeated."""

NOTES = {
    "table1": (
        "Random halves of each task's places; mean ± sd over first weights and row orders, one "
        "split. MSE is of the standardized target (lower is better), the rest is accuracy. Random "
        "halves put a training place next to almost every test place, so they measure "
        "interpolation; `nearest`, which uses no embedding, shows how far that alone goes. The "
        f"published figures are in Table 1 of {PAPER}: other places and other splits, so the two "
        "cannot be subtracted."
    ),
    "figure2b": (
        "A continent held out but for a part of its places, after Figure 2b of "
        f"{PAPER}; mean ± sd over first weights and row orders, one draw of the places. The "
        "ceiling is the share of test places whose class has at least one training place: no probe "
        "can score above it, so for ecoregions the curves mostly show how many of the continent's "
        "classes have been seen. An encoder shows knowledge of its own only where it is above "
        "`nearest`; `+ place` is a Gaussian process on the sum of an embedding and a place kernel, "
        f"`{PLACE_ALONE}` the same on coordinates, and the others are MLPs on the embedding."
    ),
}
"""What the figures do and do not say."""

ROW_NOTES = {
    TUNED: (
        "Rows that end in `, tuned` chose learning rate, width and weight decay on the validation "
        "rows, a tenth of those that train, and were then trained."
    ),
    AS_PUBLISHED: (
        "Rows that end in `, as published` are the probe of the authors' notebook: hidden layers "
        "of 64, Adam, 3,000 steps over all training rows, target scaled to 0 … 1; there, "
        "temperature only."
    ),
}
"""What is said of rows whose names end so, where there are any."""


def markdown(scores: pd.DataFrame, missing: Sequence[str], experiment: str) -> str:
    """Write the scores as a markdown table.

    Parameters
    ----------
    scores : pandas.DataFrame
        From `benchmark.run`.
    missing : sequence of str
        What could not be run, and why.
    experiment : {"table1", "figure2b"}
        Which experiment.

    Returns
    -------
    str
        Table, notes, and the list of what is missing.
    """
    columns = ["task"] if experiment == "table1" else ["task", "shots"]
    text = scores["mean"].map("{:.3f}".format) + " ± " + scores["sd"].map("{:.3f}".format)
    table = scores.assign(text=text).pivot_table(
        index="encoder", columns=columns, values="text", aggfunc="first", sort=False
    )
    titles = [_title(scores, column) for column in table.columns]
    rows = [
        [str(name), *map(str, row)] for name, row in zip(table.index, table.values, strict=True)
    ]
    if experiment != "table1":
        first = scores.groupby(columns, sort=False)["ceiling"].first()
        rows.append(["*ceiling*", *[f"{first[column]:.3f}" for column in table.columns]])
    lines = [["encoder", *titles], ["---"] * (1 + len(titles)), *rows]
    body = "\n".join("| " + " | ".join(_cell(text) for text in line) + " |" for line in lines)
    notes = NOTES[experiment]
    for ending, said in ROW_NOTES.items():
        if scores["encoder"].str.contains(ending, regex=False).any():
            notes += f" {said}"
    absent = "".join(f"\n- {reason}" for reason in missing)
    note = f"\n\nNot run:\n{absent}" if missing else ""
    return f"{body}\n\n{notes}{note}\n"


def _title(scores: pd.DataFrame, column: object) -> str:
    task = column[0] if isinstance(column, tuple) else column
    metric = scores.loc[scores["task"] == task, "metric"].iloc[0]
    arrow = "↑" if HIGHER_IS_BETTER[metric] else "↓"
    shots = f", {column[1]:.0%}" if isinstance(column, tuple) else ""
    return f"{task}{shots} ({metric} {arrow})"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def figure_png(scores: pd.DataFrame, experiment: str) -> bytes:
    """Draw the scores as PNG: bars for Table 1, curves over shots for Figure 2b.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    tasks = list(dict.fromkeys(scores["task"]))
    if experiment == "table1":
        figure = new_figure(2.6 * len(tasks) + 2.0, 0.28 * scores["encoder"].nunique() + 1.0)
    else:
        figure = new_figure(4.4 * len(tasks) + 2.2, 4.2)
    axes = np.atleast_1d(figure.subplots(1, len(tasks)))
    for axis, task in zip(axes, tasks, strict=True):
        part = scores[scores["task"] == task]
        (_bars if experiment == "table1" else _curves)(axis, part)
        axis.spines[["top", "right"]].set_visible(False)
        if experiment == "table1" and axis is not axes[0]:
            axis.set_yticklabels([])
    if experiment != "table1":
        found = {
            label: handle
            for axis in axes
            for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
        }
        axes[-1].legend(
            list(found.values()), list(found), fontsize=8, loc="center left",
            bbox_to_anchor=(1.0, 0.5), frameon=False,
        )  # fmt: skip
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()


def _bars(axis: Any, part: pd.DataFrame) -> None:
    """Draw one task of Table 1: encoders in color, baselines in gray."""
    metric = part["metric"].iloc[0]
    colors = [
        "0.65" if _without_ending(name) in BASELINES else "#3b6ea5" for name in part["encoder"]
    ]
    names = [_short(name) for name in part["encoder"]]
    axis.barh(names, part["mean"], xerr=part["sd"], color=colors, height=0.7)
    axis.invert_yaxis()
    arrow = "higher is better" if HIGHER_IS_BETTER[metric] else "lower is better"
    axis.set_title(part["task"].iloc[0].replace("_", " "), fontsize=10)
    axis.set_xlabel(f"{metric}, {arrow}", fontsize=8)
    axis.tick_params(labelsize=8)


def _curves(axis: Any, part: pd.DataFrame) -> None:
    """Draw one task of Figure 2b: a curve for each encoder, baselines dashed."""
    metric = part["metric"].iloc[0]
    for name, curve in part.groupby("encoder", sort=False):
        style = (
            {"ls": "--", "lw": 1.2, "ms": 3}
            if _without_ending(name) in BASELINES
            else {"lw": 2.0, "ms": 5}
        )
        if str(name).endswith("+ place") or name == PLACE_ALONE:
            style = {"ls": "-.", "lw": 2.0, "ms": 4}
        if name == "nearest":
            style = {"ls": "--", "lw": 2.0, "ms": 5, "color": "k"}
        axis.errorbar(
            curve["shots"], curve["mean"], curve["sd"], marker="o", label=_short(name), **style
        )
    ceiling = part.groupby("shots")["ceiling"].first()
    if ceiling.min() < 0.999:
        axis.plot(ceiling.index, ceiling, "k:", label="ceiling")
    axis.set_xscale("log")
    axis.set_xticks(ceiling.index, [f"{shots:.0%}" for shots in ceiling.index], minor=False)
    axis.minorticks_off()
    axis.set_title(f"{part['task'].iloc[0]}, {part['region'].iloc[0]} held out", fontsize=10)
    axis.set(xlabel="part of the held-out places that trains", ylabel=metric)


def _without_ending(name: object) -> str:
    return str(name).removesuffix(TUNED).removesuffix(AS_PUBLISHED)


def _short(name: object) -> str:
    text = str(name)
    return safe_text(text if len(text) <= 32 else f"{text[:14]}…{text[-17:]}")
