"""One field that finds a place: by name, by coordinates in any notation, in a link, as WKT."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import panel as pn
import param

from satclip_explore.coordinates import MAX_LENGTH, read_coordinates
from satclip_explore.gazetteer import Place, find_places
from satclip_explore.geo import GLOBE, Bounds
from satclip_explore.panes import theme
from satclip_explore.panes.base import Pane

_WORDS = re.compile(r"[^\W\d_]{2,}")
_NOTATION = re.compile(
    r"^(?:geo:|SRID\s*=|(?:MULTI)?(?:POINT|LINESTRING|POLYGON)[ZM\s]*\()|://|\d\s*deg",
    re.IGNORECASE,
)


class SearchPane(Pane):
    """Moves the selection to what is typed; where that is open, it asks."""

    typed = param.String("", doc="a name, coordinates, the link of a map, or WKT")
    choices = param.List([], doc="(words, (lon, lat), bounds or None) to choose from")
    said = param.String("", doc="what was found, in a few words")

    _not_settings: tuple[str, ...] = (*Pane._not_settings, "typed", "choices", "said")

    @param.depends("typed", watch=True)
    def _find(self) -> None:
        text = self.typed.strip()
        if not text:
            self.param.update(choices=[], said="", message="")
            return
        try:
            found = find(text)
        except ValueError as error:
            self.param.update(choices=[], said="", message=str(error))
            return
        if isinstance(found[0], Place):
            first, *others = found
            self._go(first.lonlat, first.bounds)
            words = f"{first} ({first.kind})." + (" Others of this name:" if others else "")
            if first.guessed:
                also_called = " Or:" if others else ""
                words = (
                    f"No place is called {text!r}; nearest: {first} ({first.kind}).{also_called}"
                )
            also = [(str(place), place.lonlat, place.bounds) for place in others]
        elif len(found) == 1:
            self._go(found[0], None)
            words, also = "", []
        else:
            words = "Latitude or longitude first? Choose a place:"
            also = [(theme.coordinates(place), place, None) for place in found]
        self.param.update(choices=also, said=words, message="")

    def _go(self, lonlat: tuple[float, float], bounds: Bounds | None) -> None:
        self.selection.select(*lonlat)
        if bounds is not None:
            # A view ends at the antimeridian.
            self.selection.look(bounds if bounds[2] <= 180.0 else GLOBE)

    def choose(self, number: int, _: Any = None) -> None:
        """Take one of the choices, counted from 0; the question is answered then."""
        _, lonlat, bounds = self.choices[number]
        self._go(lonlat, bounds)
        self.param.update(choices=[], said="")

    @param.depends("said", "message")
    def answer(self) -> str:
        """Write what was found, or what went wrong, as markup."""
        if self.message:
            return f"<div class='sentence' role='alert'>{theme.escape(self.message)}</div>"
        return f"<span class='hint' role='status'>{theme.escape(self.said)}</span>"

    def field(self, **options: Any) -> Any:
        """Return the field alone."""
        return theme.text_input(
            self.param.typed, "Find a place", None, max_length=MAX_LENGTH,
            placeholder="Nairobi, or 52.5 N 13.4 E, or a map link", sizing_mode="stretch_width",
            styles={"flex": "1 1 110px", "max-width": "300px", "width": "auto"}, **options,
        )  # fmt: skip

    def answers(self) -> Any:
        """Return what was found, with a button for each choice; no room where there is nothing."""
        row = pn.FlexBox(align_items="center", gap="4px 6px", margin=0,
                         sizing_mode="stretch_width")  # fmt: skip
        words = theme.text(self.answer)

        def show(*_: Any) -> None:
            buttons = [
                theme.button(label, partial(self.choose, number))
                for number, (label, *_) in enumerate(self.choices)
            ]
            row.objects = [words, *buttons]
            row.visible = bool(self.said or self.message)

        show()
        self.param.watch(show, ["choices", "said", "message"])
        return row

    def __panel__(self) -> Any:
        return pn.Column(self.field(), self.answers(), margin=0, sizing_mode="stretch_width")


def find(text: str) -> list[Any]:
    """Read text as coordinates where it looks like them, else as a name.

    Returns
    -------
    list
        Places with names, best first, or (lon, lat) pairs.

    Raises
    ------
    ValueError
        If it is neither.
    """
    has_digit = any(sign.isdigit() for sign in text)
    if _NOTATION.search(text) or (has_digit and not _WORDS.search(text)):
        return list(read_coordinates(text))
    return list(find_places(text))
