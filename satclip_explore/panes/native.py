"""A pane as Jupyter widgets: what a notebook shows, with no page and no server of ours around it.

Layouts become boxes, controls ipywidgets, the map ipyleaflet's own widget; figures and what has no
counterpart are one Bokeh widget each. Every widget follows the Panel object it was made from, and
controls write back to it, so a pane is described once, in `__panel__`.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable
from typing import Any

import holoviews.util
import ipywidgets
import panel as pn
import panel_material_ui as pmui
from bokeh.document import Document
from bokeh.models import ImportedStyleSheet, UIElement
from panel.io.notebook import patch_inline_stylesheets
from panel.io.resources import set_resource_mode
from panel.pane.base import ReplacementPane

from satclip_explore.panes import front_end, theme
from satclip_explore.panes.native_style import ROOT, STYLE, scoped


class Mirror:
    """Makes Jupyter widgets of Panel objects and keeps the two in step."""

    def __init__(self) -> None:
        self._writing = False

    def widget(self, shown: Any) -> ipywidgets.Widget:
        """Return the widget that shows a Panel object."""
        shown = pn.panel(shown)
        for kinds, make in self._makers():
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
            (pn.pane.HTML, self._text),
            (pmui.Select, lambda shown: self._choice(shown, ipywidgets.Dropdown)),
            (pmui.RadioButtonGroup, lambda shown: self._choice(shown, ipywidgets.ToggleButtons)),
            (pmui.TextInput, self._line),
            (pmui.FloatSlider, self._slider),
            (pmui.MultiChoice, self._tags),
            (pmui.Button, self._button),
            (pn.widgets.FileDropper, self._upload),
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

    def _choice(self, shown: Any, kind: Any) -> ipywidgets.Widget:
        made = kind(options=_options(shown.options), value=shown.value)

        def options(event: Any) -> None:
            with self._quiet():
                made.options = _options(event.new)
                made.value = shown.value

        shown.param.watch(options, "options")
        return self._linked(made, shown)

    def _line(self, shown: Any) -> ipywidgets.Widget:
        made = ipywidgets.Text(
            shown.value or "", placeholder=shown.placeholder or "", continuous_update=False
        )
        return self._linked(made, shown)

    def _slider(self, shown: Any) -> ipywidgets.Widget:
        made = ipywidgets.FloatSlider(
            shown.value, min=shown.start, max=shown.end, step=shown.step, continuous_update=False
        )
        return self._linked(made, shown, throttled=True)

    def _tags(self, shown: Any) -> ipywidgets.Widget:
        made = ipywidgets.TagsInput(
            value=list(shown.value), allowed_tags=list(shown.options), allow_duplicates=False
        )

        def options(event: Any) -> None:
            made.allowed_tags = list(event.new)

        shown.param.watch(options, "options")
        return self._linked(made, shown, most=shown.max_items)

    def _button(self, shown: Any) -> ipywidgets.Widget:
        strong = shown.color == "primary"
        made = ipywidgets.Button(
            description=shown.label or shown.name, button_style="primary" if strong else ""
        )

        def press(_: Any) -> None:
            shown.clicks += 1

        made.on_click(press)
        made.layout.width = "auto"
        return made

    def _upload(self, shown: Any) -> ipywidgets.Widget:
        made = ipywidgets.FileUpload(multiple=False, description="Choose a file")

        def take(change: Any) -> None:
            limit = _bytes(shown.max_file_size)
            files = {file["name"]: bytes(file["content"]) for file in change["new"]}
            if any(len(content) > limit for content in files.values()):
                made.description = f"At most {shown.max_file_size}"
                return
            made.description = "Choose a file"
            shown.value = files

        made.observe(take, "value")
        made.layout.width = "auto"
        return made

    def _linked(
        self, made: Any, shown: Any, *, throttled: bool = False, most: int | None = None
    ) -> ipywidgets.Box:
        """Tie a control's value to the Panel widget's, both ways, and put its label above it."""

        def to_panel(change: Any) -> None:
            if self._writing or (most is not None and len(change["new"]) > most):
                return
            shown.value = change["new"]
            if throttled:
                # What slow work listens to; a page sets it when the slider is let go.
                shown.value_throttled = change["new"]

        def to_widget(event: Any) -> None:
            with self._quiet():
                made.value = "" if event.new is None else event.new

        made.observe(to_panel, "value")
        shown.param.watch(to_widget, "value")
        made.layout.width = "100%"
        label = ipywidgets.Label(shown.label or "")
        box = ipywidgets.Box(
            [label, made], layout=ipywidgets.Layout(flex_flow="column", align_items="stretch")
        )
        box.add_class(f"{ROOT}-control")
        return box

    @contextlib.contextmanager
    def _quiet(self) -> Any:
        before, self._writing = self._writing, True
        try:
            yield
        finally:
            self._writing = before


def bokeh_widget(shown: Any) -> ipywidgets.Widget:
    """Return one Bokeh widget for a Panel object that has no counterpart among ipywidgets."""
    with set_resource_mode("inline"):
        model = shown.get_root(doc=Document())
    for part in model.select({"type": UIElement}):
        # Panel names its style sheets by addresses on another machine; figures need none of them.
        if isinstance(shown, pn.pane.HoloViews):
            named = [one for one in part.stylesheets if isinstance(one, ImportedStyleSheet)]
            part.stylesheets = [one for one in part.stylesheets if one not in named]
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


def _options(options: Any) -> list[tuple[str, Any]]:
    if isinstance(options, dict):
        return list(options.items())
    return [(str(option), option) for option in options]


def _bytes(words: str | None) -> float:
    """Read a size such as 50MB."""
    if not words:
        return float("inf")
    number, unit = re.fullmatch(r"(\d+)\s*([KMG]?)B", words).groups()
    return int(number) * 1024 ** " KMG".index(unit or " ")


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


def later(build: Callable[[], Any]) -> Any:
    """Return what `build()` makes; in a notebook an empty column that it fills after this cell."""
    if front_end.shell() is None:
        return build()
    column = pn.Column(margin=0)

    def fill() -> None:
        built = build()
        built.styles = built.styles | {"flex": "1 1 auto"}
        column.append(built)

    front_end.soon(fill)
    return column
