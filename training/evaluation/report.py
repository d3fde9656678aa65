"""The report on an evaluation: a page of HTML that needs nothing else, and Markdown."""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from satclip_explore.files.atomic import write_whole
from satclip_explore.html_view import facts_table
from training.evaluation.conformal import nonconformity
from training.probes.figures import draw_errors, new_figure, safe_text

if TYPE_CHECKING:
    from training.evaluation.ladder import Ladder

SOURCES = (
    "Cells: Corley et al. (2026), CoordBench, arXiv:2609.25454.",
    "Intervals over folds: Nadeau & Bengio (2003), Machine Learning 52; many comparisons: Holm "
    "(1979), Scandinavian Journal of Statistics 6.",
    "Intervals of predictions: Lei et al. (2018), JASA 113.",
    "Distances of test to training places: Linnenbrink et al. (2024), Geoscientific Model "
    "Development 17.",
)
"""What the figures rest on."""

STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;font-size:.9rem}td,th{padding:.2rem .6rem;text-align:right;"
    "border-bottom:1px solid #ddd}caption{text-align:left;font-weight:600}img{max-width:100%}"
    "pre{background:#f4f4f4;padding:1rem;overflow:auto}"
)


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
        style = {"ls": "--", "color": "0.4"} if name in ("idw", "nearest") else {}
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
        axis.set_title(safe_text(f"{name}, {rung.name}"), fontsize=9)
    return figure


def write_report(ladder: Ladder, folder: Path) -> list[Path]:
    """Write report.html, report.md, its figures and scores.csv; return their paths.

    Parameters
    ----------
    ladder : Ladder
    folder : path
        Made where there is none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pictures = {"ladder": _png(ladder_figure(ladder)), "errors": _png(errors_figure(ladder))}
    parts = _parts(ladder)
    files = {
        "report.html": _html(ladder, parts, pictures).encode(),
        "report.md": _markdown(ladder, parts).encode(),
        "scores.csv": ladder.scores.to_csv(index=False).encode(),
        **{f"{name}.png": content for name, content in pictures.items()},
    }
    return [write_whole(folder / name, content) for name, content in files.items()]


def _png(figure: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()


def _parts(ladder: Ladder) -> dict[str, Any]:
    """Collect what both reports say: facts, tables, sentences, code."""
    task = ladder.task
    left_out = ", ".join(f"{count:,} ({why})" for why, count in task.dropped.items())
    data = {
        "target": f"{task.name} {f'({task.unit})' if task.unit else ''}".strip(),
        "kind": task.kind,
        "labeled places": f"{len(task):,}",
        "left out": left_out or "none",
        "source": task.source,
        "license": task.license,
        "encoders": ladder.facts.get("encoders", ""),
        "weights": ladder.facts.get("weights_hash", ""),
        "software": ladder.facts.get("software", ""),
    }
    held = ladder.coverage(0.9)
    intervals = pd.DataFrame(
        {
            "promised": "90 %",
            "held": [f"{100 * value:.1f} %" for value in held["coverage"]],
            "half width": [f"{value:.3g}" for value in held["half_width"]],
        },
        held.index,
    )
    if task.is_classification:
        intervals = intervals.drop(columns="half width")
    return {
        "data": data, "table": ladder.table(), "intervals": intervals, "code": _code(ladder),
        "sources": list(SOURCES), "worst": _worst(ladder),
    }  # fmt: skip


def _worst(ladder: Ladder) -> pd.DataFrame:
    """List the places that the best contender misses most where labels are near."""
    name, rung = ladder.best(), ladder.rungs[0]
    found = ladder.cells.get((rung.name, name))
    if found is None or ladder.task.is_classification:
        return pd.DataFrame()
    missed = nonconformity(ladder.task, found).mean(0)
    rows = np.argsort(-missed)[:10]
    frame = ladder.task.frame().iloc[rows].reset_index(drop=True)
    return frame.assign(predicted=found.best.mean(0)[rows]).round(3)


def _code(ladder: Ladder) -> str:
    """Write the call that makes this report again."""
    facts = ladder.facts
    # Escapes that Python reads, so that a name is no markup in any page.
    name = json.dumps(ladder.task.name).replace("`", "\\u0060").replace("<", "\\u003c")
    asked = {
        "target": name,
        **{
            each: facts[each]
            for each in ("encoders", "models", "folds", "seeds", "buffer_km")
            if each in facts
        },
    }
    given = ", ".join(f"{each}={value}" for each, value in asked.items())
    return (
        "import satclip_explore as sx\n\n"
        f'ladder = sx.evaluate("your table", {given})\n'
        'ladder.report("report")'
    )


def _html(ladder: Ladder, parts: dict[str, Any], pictures: dict[str, bytes]) -> str:
    def listed(lines: Sequence[str]) -> str:
        return "<ul>" + "".join(f"<li>{html.escape(line)}</li>" for line in lines) + "</ul>"

    def picture(name: str, words: str) -> str:
        code = base64.b64encode(pictures[name]).decode()
        return f'<p><img alt="{words}" src="data:image/png;base64,{code}"></p>'

    title = html.escape(f"Do embeddings help to predict {ladder.task.name}?")
    body = [
        f"<h1>{title}</h1>",
        listed(ladder.verdict),
        picture("ladder", "scores against distance"),
        parts["table"].to_html(escape=True),
        "<h2>Data</h2>",
        facts_table("labels", parts["data"]),
        "<h2>Where it is wrong</h2>",
        picture("errors", "maps of errors"),
        "" if parts["worst"].empty else parts["worst"].to_html(escape=True, index=False),
        "<h2>Intervals</h2>",
        f"<p>Of {html.escape(ladder.best())}, calibrated on other folds of the same rung.</p>",
        parts["intervals"].to_html(escape=True),
        "<h2>What was assumed, bounded or left out</h2>" + listed(ladder.notes)
        if ladder.notes
        else "",
        "<h2>How to cite, and what the figures rest on</h2>",
        listed([f"satclip_explore: {parts['data']['software']}.", *parts["sources"]]),
        "<h2>The code that makes this</h2>",
        f"<pre>{html.escape(parts['code'])}</pre>",
    ]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{STYLE}</style></head><body>{''.join(body)}</body></html>"
    )


def _markdown(ladder: Ladder, parts: dict[str, Any]) -> str:
    lines = [
        f"# Do embeddings help to predict {_plain(ladder.task.name)}?", "",
        *(f"- {_plain(line)}" for line in ladder.verdict), "",
        "![scores against distance](ladder.png)", "", *_rows(parts["table"]), "",
        "## Data", "",
        *(f"- {name}: {_plain(value)}" for name, value in parts["data"].items() if value), "",
        "## Where it is wrong", "", "![maps of errors](errors.png)", "",
        "## Intervals", "", *_rows(parts["intervals"]), "",
        "## What was assumed, bounded or left out", "",
        *(f"- {_plain(note)}" for note in ladder.notes or ("Nothing.",)), "",
        "## How to cite, and what the figures rest on", "",
        f"- satclip_explore: {parts['data']['software']}.",
        *(f"- {source}" for source in parts["sources"]), "",
        "## The code that makes this", "", "```python", parts["code"], "```", "",
    ]  # fmt: skip
    return "\n".join(lines)


def _rows(frame: pd.DataFrame) -> list[str]:
    """Write a table of text in Markdown, its index first."""
    head = [str(frame.index.name or ""), *map(str, frame.columns)]
    rows = [
        [str(index), *map(str, row)]
        for index, row in zip(frame.index, frame.to_numpy(), strict=True)
    ]
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(_plain(text) for text in line) + " |" for line in lines]


def _plain(text: Any) -> str:
    """Keep what a table holds from becoming markup."""
    said = html.escape(str(text), quote=False).replace("\n", " ")
    return "".join(f"\\{char}" if char in "|[]`*" else char for char in said)
