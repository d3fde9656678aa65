"""One place: its numbers as a strip, their length, its color, and what is known of the ground."""

from __future__ import annotations

import html
from typing import Any

import numpy as np
import pandas as pd
import param

from satclip_explore.atlas import Atlas, country_at, load_atlas
from satclip_explore.panes import cells, theme, world
from satclip_explore.panes.base import sentence
from satclip_explore.panes.downloads import Choice, code_choice, stem, table_choices
from satclip_explore.provenance import provenance

FAR_KM = 100.0
"""Beyond this distance the nearest labeled place says little about the selected one."""

FACTS = {
    "biome": "Biome",
    "ecoregion": "Ecoregion",
    "koppen": "Climate",
    "elevation_m": "Elevation",
    "population_density": "People per km²",
}


class EmbeddingPane(world.ColoredPane):
    """The embedding of the selected place, with the place's facts."""

    per_row = param.Integer(64, bounds=(8, 512), doc="numbers in each row of the strip")

    def __init__(self, encoder: Any = None, **params: Any) -> None:
        super().__init__(encoder, **params)
        self._atlas: Atlas | None = None

    @param.depends("encoder", "selection.lonlat")
    def numbers(self) -> np.ndarray:
        """Return the embedding, shape (D,)."""
        return self.encoder.embed([self.selection.lonlat])[0]

    def summary(self, numbers: np.ndarray) -> dict[str, Any]:
        """Return norm, the scores on three principal components, and the color they give."""
        projection = world.projection_of(self.encoder, self.components, self.stretch)
        return {
            "norm": float(np.linalg.norm(numbers)),
            "scores": projection.scores(numbers[None])[0],
            "color": projection.colors(numbers[None])[0],
        }

    @param.depends("selection.lonlat")
    def facts(self) -> dict[str, Any]:
        """Return what the embedded atlas knows of the nearest labeled land place.

        Unknown values are ""; `here` is the country of the selected place itself.
        """
        # Every call of `load_atlas` copies its tables: too slow to answer a click with.
        self._atlas = self._atlas or load_atlas()
        place = self._atlas.nearest([self.selection.lonlat]).iloc[0].to_dict()
        known = {name: "" if pd.isna(value) else value for name, value in place.items()}
        return known | {"here": country_at([self.selection.lonlat], offshore=True)[0]}

    @param.depends("encoder", "selection.lonlat", "per_row", "components", "stretch")
    @sentence(str)
    def view(self) -> str:
        """Describe the place, as markup."""
        numbers = self.numbers()
        summary = self.summary(numbers)
        if not np.isfinite(numbers).all():
            raise ValueError(
                f"{self.encoder.name} has no coverage at "
                f"{theme.coordinates(self.selection.lonlat)}. Choose another place."
            )
        facts = self.facts()
        red, green, blue = (int(value) for value in summary["color"])
        by_component = dict(zip(self.components, summary["scores"], strict=True))
        if self.components == world.BIOMES:
            by_component = {}
        scores = " &nbsp; ".join(
            f"<span class='k' title='{COMPONENT}'>{world.component_name(component)}</span> "
            f"{score:+.2f}"
            for component, score in by_component.items()
        )
        return (
            f"<style>{STYLE}</style><div class='place'>"
            f"<span class='swatch' style='background:rgb({red},{green},{blue})'></span>"
            f"<span class='where'>{theme.coordinates(self.selection.lonlat)}</span>"
            f"<span class='name'>{self._where(facts)}</span></div>"
            f"{strip(numbers, self.per_row)}"
            f"<div class='numbers'><span class='k'>{len(numbers)} numbers, "
            f"<span title='{LENGTH}'>length</span></span> {summary['norm']:.2f} &nbsp; "
            f"{scores}</div>{self._facts(facts)}"
        )

    def _where(self, facts: dict[str, Any]) -> str:
        if facts["distance_km"] > FAR_KM and not facts["here"]:
            return "Open sea, hardly seen in training"
        near = f"near {facts['near']}" if facts["near"] else ""
        return html.escape(", ".join(filter(None, [str(facts["here"] or ""), near])))

    def _facts(self, facts: dict[str, Any]) -> str:
        if facts["distance_km"] > FAR_KM:
            return f"<p class='hint'>Nearest land place: {facts['distance_km']:,.0f} km away.</p>"
        rows = "".join(
            f"<div><span class='k'>{label}</span> {_written(column, facts[column])}</div>"
            for column, label in FACTS.items()
        )
        return (
            f"<div class='facts'>{rows}</div><div class='hint'>From the nearest labeled place, "
            f"{facts['distance_km']:.0f} km away.</div>"
        )

    def downloads(self) -> list[Choice]:
        """List what the place can be had as."""
        encoder, place = self.encoder, self.selection.lonlat

        def table(_: Any) -> pd.DataFrame:
            return encoder.embed_frame(pd.DataFrame([place], columns=["lon", "lat"]))

        inside = f"one row: longitude, latitude, the {encoder.embed_dim} numbers"
        code = cells.cell({"encoder": encoder}, cells.call("encoder.embed", place))
        return [
            *table_choices(table, stem(encoder.name, "place"), inside, provenance(encoder)),
            code_choice(code),
        ]

    def __panel__(self) -> Any:
        # One HTML pane whose text changes: a new pane each time lays the whole page out anew.
        body = theme.text(self.view, sizing_mode="stretch_width")
        return theme.card("This place", body, self.status(), actions=(self.download_menu(),))


LENGTH = "Square root of the sum of the squares of all numbers."
COMPONENT = "Score on a principal component: a direction in which embeddings differ most."


def climate(code: str) -> str:
    """Say in words what a Köppen–Geiger class is: "Cfb" is "temperate, humid, warm summer"."""
    main = {"A": "tropical", "B": "", "C": "temperate", "D": "cold", "E": "polar"}
    second = {"f": "humid all year", "m": "monsoon", "w": "dry winter", "s": "dry summer",
              "W": "desert", "S": "steppe", "T": "tundra", "F": "ice"}  # fmt: skip
    third = {"a": "hot summer", "b": "warm summer", "c": "short summer", "d": "severe winter",
             "h": "hot", "k": "cold"}  # fmt: skip
    tables = (main, second, third)
    words = [table.get(letter, "") for table, letter in zip(tables, code, strict=False)]
    return ", ".join(filter(None, words))


def _written(column: str, value: Any) -> str:
    if value == "":
        return "unknown"
    if column == "koppen":
        code = html.escape(str(value))
        return f"{climate(str(value))} <span class='k' title='Köppen–Geiger class'>{code}</span>"
    if column == "elevation_m":
        return f"{float(value):,.0f} m"
    if column == "population_density":
        return f"{float(value):,.1f}"
    return html.escape(str(value))


STYLE = f"""
.place {{ display: flex; gap: 8px; align-items: center; flex-wrap: wrap; margin-bottom: 6px; }}
.swatch {{ width: 16px; height: 16px; border-radius: 4px; border: 1px solid {theme.LINE}; }}
.where {{ font-size: 16px; font-weight: 600; font-variant-numeric: tabular-nums; }}
.name {{ font-size: 13px; color: {theme.MUTED}; }}
.strip {{ width: 100%; display: block; border-radius: 4px; }}
.numbers {{ font: 12px {theme.MONO}; margin: 6px 0 4px; }}
.k {{ color: {theme.MUTED}; }}
.facts {{ display: flex; flex-wrap: wrap; gap: 2px 16px; font-size: 12.5px; line-height: 1.45;
  border-top: 1px solid {theme.LINE}; padding: 5px 0 3px; }}
"""


def strip(numbers: np.ndarray, per_row: int = 64) -> str:
    """Draw numbers as rows of bars about zero, each with its value as a tooltip.

    Parameters
    ----------
    numbers : numpy.ndarray, shape (D,)
        Finite.
    per_row : int
        Bars in a row.

    Returns
    -------
    str
        An SVG picture. The scale is the largest size among the numbers.
    """
    top = float(np.abs(numbers).max()) or 1.0
    n_rows = -(-len(numbers) // per_row)
    bars = []
    for i, value in enumerate(numbers):
        row, column = divmod(i, per_row)
        size = 12.0 * abs(float(value)) / top
        y = row * 28 + 14 - (size if value > 0 else 0.0)
        color = theme.ACCENT if value > 0 else theme.COOL
        bars.append(
            f"<rect x='{column * 8 + 1}' y='{y:.2f}' width='6' height='{max(size, 0.4):.2f}' "
            f"fill='{color}'><title>{i}: {value:+.4f}</title></rect>"
        )
    lines = "".join(
        f"<line x1='0' x2='{per_row * 8}' y1='{row * 28 + 14}' y2='{row * 28 + 14}' "
        f"stroke='{theme.LINE}' stroke-width='1'/>"
        for row in range(n_rows)
    )
    return (
        f"<svg class='strip' role='img' aria-label='{len(numbers)} numbers of the embedding' "
        f"viewBox='0 0 {per_row * 8} {n_rows * 28}' style='background:{theme.RAISED}'>"
        f"{lines}{''.join(bars)}</svg>"
    )
