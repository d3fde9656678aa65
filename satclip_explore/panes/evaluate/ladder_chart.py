"""The ladder as a picture: scores against how far away the labels are, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import Any

from satclip_explore.panes import theme
from training.evaluation.verdict import COORDINATES, INTERPOLATION, words_km

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 460.0, 290.0, 40.0, 450.0, 12.0, 244.0
"""Of the drawing, and of its axes, in its own units."""

LOWEST = -0.5
"""Scores below are drawn here: they would flatten all others."""

HINT = (
    "<p class='hint'>Choose what to predict, then press Evaluate. Every place is predicted from "
    "the labels of other places: first of those nearby, then of places farther and farther away. "
    "Interpolation knows only the labels and where they are; an embedding has to beat it.</p>"
)


def styles(names: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Give each contender a color and a dash: gray is what knows nothing of the places."""
    plain = {"constant": (theme.FAINT, "1 4"), "lonlat": (theme.FAINT, "2 3"),
             "harmonics-l10": (theme.MUTED, "2 3"), "nearest": (theme.MUTED, "6 4"),
             "idw": (theme.INK, "6 4")}  # fmt: skip
    colors = cycle(theme.SERIES)
    return {name: plain[name] if name in plain else (next(colors), "") for name in names}


def ladder_chart(steps: Sequence[Any], rungs: Sequence[str]) -> str:
    """Draw what has been scored so far, as markup.

    Parameters
    ----------
    steps : sequence of Step
        Of an evaluation, those with a score.
    rungs : sequence of str
        All that are expected, from near to far.

    Returns
    -------
    str
        An SVG picture and a legend; names are escaped.
    """
    if not steps:
        return HINT
    at = {name: LEFT + 20.0 + (RIGHT - LEFT - 40.0) * k / max(1, len(rungs) - 1)
          for k, name in enumerate(rungs)}  # fmt: skip
    low = max(LOWEST, min(0.0, *(step.score for step in steps if step.score == step.score), 0.0))
    span = 1.02 - low

    def y(score: float) -> float:
        return BOTTOM - (BOTTOM - TOP) * (min(max(score, low), 1.02) - low) / span

    names = list(dict.fromkeys(step.contender for step in steps))
    drawn, keys = [], []
    for name, (color, dash) in styles(names).items():
        mine = [step for step in steps if step.contender == name and step.score == step.score]
        # Side by side, so that their intervals do not hide one another.
        aside = 3.0 * (names.index(name) - (len(names) - 1) / 2.0) / max(1, len(names) - 1)
        path = [(at[step.rung] + aside, step) for step in mine if step.rung in at]
        width = 1.3 if name in ("constant", *COORDINATES) else 2.0
        points = " ".join(f"{x:.1f},{y(step.score):.1f}" for x, step in path)
        drawn.append(
            f"<g stroke='{color}' fill='none' stroke-width='{width}'>"
            f"<polyline points='{points}' stroke-dasharray='{dash}'/>"
            + "".join(_mark(x, step, y, color, name) for x, step in path) + "</g>"
        )  # fmt: skip
        keys.append(
            f"<span style='white-space:nowrap'><span style='color:{color}'>"
            f"{'┅' if dash else '━'}</span> {theme.escape(name)}</span>"
        )
    km = {step.rung: words_km(step.km) for step in steps}
    return (
        f"<svg role='img' aria-label='scores by distance' viewBox='0 0 {WIDTH:g} {HEIGHT:g}' "
        f"style='width:100%;max-width:760px;font-size:10px' fill='{theme.MUTED}'>"
        f"{_grid(y, low)}{_labels(at, km)}{''.join(drawn)}</svg>"
        "<div class='hint' style='display:flex;flex-wrap:wrap;gap:2px 14px'>"
        f"{''.join(keys)}</div>"
    )


def _mark(x: float, step: Any, y: Any, color: str, name: str) -> str:
    """Draw a score with its interval; no interval for what nobody compares."""
    words = f"{name}, {step.rung}: {step.score:.3f} ({step.low:.3f} to {step.high:.3f})"
    bar = ""
    if step.low == step.low and name not in ("constant", *COORDINATES):
        faint = "0.45" if name in INTERPOLATION else "0.8"
        bar = (f"<line x1='{x:.1f}' x2='{x:.1f}' y1='{y(step.low):.1f}' y2='{y(step.high):.1f}' "
               f"stroke-width='1' opacity='{faint}'/>")  # fmt: skip
    return (
        f"{bar}<circle cx='{x:.1f}' cy='{y(step.score):.1f}' r='2.6' fill='{color}' "
        f"stroke='none'><title>{theme.escape(words)}</title></circle>"
    )


def _grid(y: Any, low: float) -> str:
    ticks = [tick / 4.0 for tick in range(-2, 5) if tick / 4.0 >= low - 1e-9]
    return "".join(
        f"<line x1='{LEFT}' x2='{RIGHT}' y1='{y(tick):.1f}' y2='{y(tick):.1f}' "
        f"stroke='{theme.FAINT if tick == 0.0 else theme.LINE}'/>"
        f"<text x='{LEFT - 6}' y='{y(tick) + 3.5:.1f}' text-anchor='end'>{tick:g}</text>"
        for tick in ticks
    )


def _labels(at: dict[str, float], km: dict[str, str]) -> str:
    """Write under each rung what is held out together, and how far the labels then are."""
    return "".join(
        f"<text x='{x:.1f}' y='{BOTTOM + 15}' text-anchor='middle'>{theme.escape(name[:9])}</text>"
        f"<text x='{x:.1f}' y='{BOTTOM + 28}' text-anchor='middle' fill='{theme.INK}'>"
        f"{km.get(name, '')}</text>"
        for name, x in at.items()
    ) + (
        f"<text x='{(LEFT + RIGHT) / 2}' y='{HEIGHT - 4}' text-anchor='middle'>"
        "held out together, and the distance to the nearest label that this leaves</text>"
    )
