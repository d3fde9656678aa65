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
from training.evaluation.figures import errors_figure, ladder_figure, trust_figure
from training.evaluation.geobias import bias_words
from training.evaluation.prediction import Survey, survey
from training.evaluation.verdict import words_km

if TYPE_CHECKING:
    from training.evaluation.ladder import Ladder

SOURCES = (
    "Cells: Corley et al. (2026), CoordBench, arXiv:2609.25454.",
    "Intervals over folds: Nadeau & Bengio (2003), Machine Learning 52; many comparisons: Holm "
    "(1979), Scandinavian Journal of Statistics 6.",
    "Intervals of predictions: Lei et al. (2018), JASA 113.",
    "Geo-bias: Wu et al. (2024), TorchSpatial, arXiv:2406.15658.",
    "Area of applicability: Meyer & Pebesma (2021), Methods in Ecology and Evolution 12.",
    "Distances of test to training places: Linnenbrink et al. (2024), Geoscientific Model "
    "Development 17.",
)
"""What the figures rest on."""

TRUST = (
    "Hatched: less like the labels, in embedding space, than nearly all places tested on the "
    "farthest rung, so that no score here speaks of it. Triangles: places whose labels would bring "
    "the most others near to a label."
)
"""What the map of trust says."""

STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;font-size:.9rem}td,th{padding:.2rem .6rem;text-align:right;"
    "border-bottom:1px solid #ddd}caption{text-align:left;font-weight:600}img{max-width:100%}"
    "pre{background:#f4f4f4;padding:1rem;overflow:auto}"
)


def write_report(ladder: Ladder, folder: Path) -> list[Path]:
    """Write report.html, report.md, its figures and scores.csv; return their paths.

    Parameters
    ----------
    ladder : Ladder
    folder : path
        Made where there is none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = report_files(ladder, survey(ladder))
    return [write_whole(folder / name, content) for name, content in files.items()]


def report_files(ladder: Ladder, found: Survey | None) -> dict[str, bytes]:
    """Make the report; return its files by name.

    Parameters
    ----------
    ladder : Ladder
    found : Survey, optional
        Of the same ladder; None where covariates leave no map.
    """
    figures = {"ladder": ladder_figure(ladder), "errors": errors_figure(ladder)}
    if found is not None:
        figures["trust"] = trust_figure(ladder, found)
    pictures = {name: _png(figure) for name, figure in figures.items()}
    parts = _parts(ladder) | {"following": _following(found)}
    return {
        "report.html": _html(ladder, parts, pictures).encode(),
        "report.md": _markdown(ladder, parts).encode(),
        "scores.csv": ladder.scores.to_csv(index=False).encode(),
        **{f"{name}.png": content for name, content in pictures.items()},
    }


def summary_html(ladder: Ladder) -> str:
    """Write the verdict, the table and the notes as a notebook shows them."""
    lines = "".join(f"<li>{html.escape(line)}</li>" for line in ladder.verdict)
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in ladder.notes)
    table = ladder.table().to_html(escape=True)
    notes = f"<details><summary>Notes</summary><ul>{notes}</ul></details>" if notes else ""
    return f"<h4>{html.escape(ladder.task.name)}</h4><ul>{lines}</ul>{table}{notes}"


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
        "bias": bias_words(ladder.geo_bias, ladder.best()),
    }  # fmt: skip


def _following(found: Survey | None) -> pd.DataFrame:
    """List the next labels as people read them."""
    if found is None:
        return pd.DataFrame()
    chosen = found.following
    return pd.DataFrame(
        {
            "longitude": chosen["lon"].map("{:.2f}".format),
            "latitude": chosen["lat"].map("{:.2f}".format),
            "from the nearest label": chosen["km"].map(words_km),
            "less unlike the labels": (100 * chosen["gain"]).map("{:.1f} %".format),
        },
        pd.RangeIndex(1, len(chosen) + 1),
    )


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
        f"<p>{html.escape(parts['bias'])}</p>",
        "" if parts["worst"].empty else parts["worst"].to_html(escape=True, index=False),
        *(
            []
            if parts["following"].empty
            else [
                "<h2>Where to trust it, and which labels next</h2>",
                picture("trust", "the prediction, hatched where it is not to be trusted"),
                f"<p>{TRUST}</p>",
                parts["following"].to_html(escape=True),
            ]
        ),
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
        _plain(parts["bias"]), "",
        *([] if parts["following"].empty else [
            "## Where to trust it, and which labels next", "", "![where to trust](trust.png)", "",
            TRUST, "", *_rows(parts["following"]), "",
        ]),
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
