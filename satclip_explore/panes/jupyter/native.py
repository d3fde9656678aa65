"""A pane as Jupyter widgets: what a notebook shows, with no page and no server of ours around it.

Layouts become boxes, controls ipywidgets, the map ipyleaflet's own widget; figures and what has no
counterpart are one Bokeh widget each. Every widget follows the Panel object it was made from, and
controls write back to it, so a pane is described once, in `__panel__`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import holoviews.util
import ipywidgets
import panel as pn
import panel_material_ui as pmui
from bokeh.document import Document
from bokeh.models import ImportedStyleSheet
from bokeh.models.ui import UIElement
from panel.io.notebook import patch_inline_stylesheets
from panel.io.resources import set_resource_mode
from panel.pane.base import ReplacementPane

from satclip_explore.panes import plots, theme
from satclip_explore.panes.download_menu import DownloadMenu
from satclip_explore.panes.jupyter import front_end
from satclip_explore.panes.jupyter.controls import Controls
from satclip_explore.panes.jupyter.style import ROOT, STYLE, scoped
from satclip_explore.panes.rows import Rows


class Mirror(Controls):
    """Makes Jupyter widgets of Panel objects and keeps the two in step."""

    def widget(self, shown: Any) -> ipywidgets.Widget:
        """Return the widget that shows a Panel object."""
        shown = pn.panel(shown)
        # Figures that share a range have to be in one document.
        together = plots.LINKED in (shown.tags or ())
        for kinds, make in () if together else self._makers():
            if isinstance(shown, kinds):
                made = make(shown)
                break
        else:
            made = bokeh_widget(shown)
        place(made, shown)
        return made

    def _makers(self) -> Iterable[tuple[Any, Callable[[Any], ipywidgets.Widget]]]:
        return (
            (pn.pane.IPyLeaflet, lambda shown: shown.object),
            (ReplacementPane, self._replaced),
            ((pn.Column, pn.Row, pn.FlexBox), self._box),
            ((pn.pane.HTML, Rows), self._text),
            (pmui.Select, lambda shown: self._choice(shown, ipywidgets.Dropdown)),
            (pmui.RadioButtonGroup, lambda shown: self._choice(shown, ipywidgets.ToggleButtons)),
            (pmui.TextInput, self._line),
            (pmui.DiscreteSlider, self._steps),
            (pmui.FloatSlider, self._slider),
            (pmui.MultiChoice, self._tags),
            (pmui.Button, self._button),
            (pmui.Checkbox, self._tick),
            (pn.widgets.FileDropper, self._upload),
            (DownloadMenu, self._downloads),
        )

    def _box(self, shown: Any) -> ipywidgets.Box:
        box = ipywidgets.Box([self.widget(child) for child in shown.objects])
        made = dict(zip(map(id, shown.objects), box.children, strict=True))

        def follow(event: Any) -> None:
            # What stays keeps its widget: a figure that is made anew would lose its zoom.
            kept = {id(child): made.get(id(child)) or self.widget(child) for child in event.new}
            made.clear()
            made.update(kept)
            box.children = tuple(kept.values())

        shown.param.watch(follow, "objects")
        return box

    def _replaced(self, shown: Any) -> ipywidgets.Box:
        return self._box(shown._inner_layout)

    def _text(self, shown: Any) -> ipywidgets.HTML:
        made = ipywidgets.HTML(scoped(shown.object))
        shown.param.watch(lambda event: setattr(made, "value", scoped(event.new)), "object")
        return made


def bokeh_widget(shown: Any) -> ipywidgets.Widget:
    """Return one Bokeh widget for a Panel object that has no counterpart among ipywidgets."""
    with set_resource_mode("inline"):
        model = shown.get_root(doc=Document())
    for part in model.select({"type": UIElement}):
        # Panel names its style sheets by addresses on another machine; figures need none of them.
        if isinstance(shown, pn.pane.HoloViews):
            named = [sheet for sheet in part.stylesheets if isinstance(sheet, ImportedStyleSheet)]
            part.stylesheets = [sheet for sheet in part.stylesheets if sheet not in named]
        else:
            patch_inline_stylesheets(part)
    return bokeh_widget_type()(model, combine_events=True)


def bokeh_widget_type() -> type:
    """Return the class of what `bokeh_widget` makes."""
    from jupyter_bokeh.widgets import BokehModel

    return BokehModel


def place(made: ipywidgets.Widget, shown: Any) -> None:
    """Give a widget the place in its box that the Panel object has, and hide them together."""
    layout, styles = made.layout, shown.styles or {}
    stretched = str(shown.sizing_mode or "").startswith("stretch")
    if shown.width is not None:
        layout.width = f"{shown.width}px"
    elif stretched and "flex" not in styles:
        layout.width = f"calc(100% - {_across(shown.margin)}px)"
    if isinstance(shown, pn.Column | ReplacementPane):
        layout.flex_flow, layout.align_items = "column", "stretch"
    elif isinstance(shown, pn.FlexBox):
        layout.flex_flow = "row wrap"
        layout.align_items, layout.justify_content = shown.align_items, shown.justify_content
        layout.grid_gap = shown.gap or None
    if getattr(shown, "max_height", None):
        layout.max_height, layout.overflow = f"{shown.max_height}px", "auto"
    for name in ("flex", "min-width", "min-height", "padding", "border"):
        if name in styles:
            setattr(layout, name.replace("-", "_"), str(styles[name]))
    layout.margin = _margin(shown.margin)
    for color, name in ((theme.SURFACE, "card"), (theme.GROUND, "ground")):
        if styles.get("background") == color:
            made.add_class(f"{ROOT}-{name}")

    def show(*_: Any) -> None:
        layout.display = None if shown.visible else "none"

    show()
    shown.param.watch(show, "visible")


def _margin(margin: Any) -> str:
    sides = (margin,) if isinstance(margin, int) else tuple(margin or (0,))
    return " ".join(f"{side}px" for side in sides)


def _across(margin: Any) -> int:
    """Return what margins take of the width, in pixels; they are written as in CSS."""
    sides = (margin,) if isinstance(margin, int) else tuple(margin or (0,))
    return int(sides[1] + sides[3]) if len(sides) == 4 else 2 * int(sides[-1])


def show(shown: Any) -> ipywidgets.Box:
    """Return the outermost box of a pane, with the style sheet of all that is in it."""
    box = ipywidgets.Box(
        [ipywidgets.HTML(STYLE, layout=ipywidgets.Layout(display="none")), Mirror().widget(shown)],
        layout=ipywidgets.Layout(flex_flow="column", align_items="stretch"),
    )
    box.add_class(ROOT)
    return box


def bundle(view: Callable[[], Any], **options: Any) -> Any:
    """Return what IPython's display asks an object for: the widgets of what `view()` makes."""
    front_end.load()
    # In a notebook `hv.extension` is another, which would send a front end after Panel's.
    holoviews.util.extension("bokeh")
    return show(view())._repr_mimebundle_(**options)
