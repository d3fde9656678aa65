"""The benchmark's results for people: markdown beside the figures of the paper, and pictures."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
import pandas as pd

from training.metrics import HIGHER_IS_BETTER

PAPER: Mapping[str, str] = MappingProxyType(
    {"air_temperature": "0.25 ± 0.02", "biome": "0.943 ± 0.002", "ecoregion": "0.916 ± 0.002"}
)
"""SatCLIP (ViT16, L = 40), arXiv:2311.17179, as a public replication quotes its main results.

Only what could be found quoted is here; the other tasks show a dash.
"""

NOTES = {
    "table1": (
        "Random halves of each task's places; mean ± sd over first weights and row orders, one "
        "split. MSE is of the standardized target (lower is better), the rest is accuracy. The "
        "paper's row is from other places and other splits: the two cannot be subtracted. Random "
        "halves put a training place next to almost every test place, so they measure "
        "interpolation; `nearest`, which uses no embedding, shows how far that alone goes."
    ),
    "figure2b": (
        "A continent held out but for a part of its places; mean ± sd over first weights and row "
        "orders, one draw of the places. The ceiling is the share of test places whose class has "
        "at least one training place: no probe can score above it, so for ecoregions the curves "
        "mostly show how many of the continent's classes have been seen. An encoder shows "
        "knowledge of its own only where it is above `nearest`."
    ),
}
"""What the figures do and do not say."""


def markdown(scores: pd.DataFrame, missing: Sequence[str], what: str) -> str:
    """Write the scores as a markdown table.

    Parameters
    ----------
    scores : pandas.DataFrame
        From `benchmark.run`.
    missing : sequence of str
        What could not be run, and why.
    what : {"table1", "figure2b"}
        Which experiment.

    Returns
    -------
    str
        Table, notes, and the list of what is missing.
    """
    columns = ["task"] if what == "table1" else ["task", "shots"]
    text = scores["mean"].map("{:.3f}".format) + " ± " + scores["sd"].map("{:.3f}".format)
    table = scores.assign(text=text).pivot_table(
        index="encoder", columns=columns, values="text", aggfunc="first", sort=False
    )
    titles = [_title(scores, column) for column in table.columns]
    rows = [
        [str(name), *map(str, row)] for name, row in zip(table.index, table.values, strict=True)
    ]
    if what == "table1":
        paper = [PAPER.get(str(column), "–") for column in table.columns]
        rows.append(
            ["*SatCLIP ViT16-L40 as published (arXiv:2311.17179, quoted second-hand)*", *paper]
        )
    else:
        first = scores.groupby(columns, sort=False)["ceiling"].first()
        rows.append(["*ceiling*", *[f"{first[column]:.3f}" for column in table.columns]])
    lines = [["encoder", *titles], ["---"] * (1 + len(titles)), *rows]
    body = "\n".join("| " + " | ".join(_cell(one) for one in line) + " |" for line in lines)
    absent = "".join(f"\n- {one}" for one in missing)
    note = f"\n\nNot run:\n{absent}" if missing else ""
    return f"{body}\n\n{NOTES[what]}{note}\n"


def _title(scores: pd.DataFrame, column: object) -> str:
    task = column[0] if isinstance(column, tuple) else column
    metric = scores.loc[scores["task"] == task, "metric"].iloc[0]
    arrow = "↑" if HIGHER_IS_BETTER[metric] else "↓"
    shots = f", {column[1]:.0%}" if isinstance(column, tuple) else ""
    return f"{task}{shots} ({metric} {arrow})"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def figure_png(scores: pd.DataFrame, what: str) -> bytes:
    """Draw the scores as PNG: bars for Table 1, curves over shots for Figure 2b.

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
    tasks = list(dict.fromkeys(scores["task"]))
    figure = Figure(figsize=(3.2 * len(tasks) + 2.0, 3.8), layout="constrained")
    axes = np.atleast_1d(figure.subplots(1, len(tasks)))
    for axis, task in zip(axes, tasks, strict=True):
        part = scores[scores["task"] == task]
        metric = part["metric"].iloc[0]
        if what == "table1":
            axis.barh(part["encoder"], part["mean"], xerr=part["sd"], color="#3b6ea5")
            axis.invert_yaxis()
            axis.set(title=task, xlabel=metric)
            if axis is not axes[0]:
                axis.set_yticklabels([])
        else:
            for name, curve in part.groupby("encoder", sort=False):
                axis.errorbar(curve["shots"], curve["mean"], curve["sd"], marker="o", label=name)
            ceiling = part.groupby("shots")["ceiling"].first()
            axis.plot(ceiling.index, ceiling, "k:", label="ceiling")
            axis.set(title=task, xlabel="part of the region that trains", ylabel=metric)
            axis.set_xscale("log")
    if what != "table1":
        axes[-1].legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()
