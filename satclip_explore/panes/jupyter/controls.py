"""Controls as ipywidgets, tied to the Panel widgets that they stand for."""

from __future__ import annotations

import contextlib
import html
from typing import Any

import ipywidgets

from satclip_explore.panes.jupyter.style import ROOT
from satclip_explore.panes.uploads import n_bytes


class Controls:
    """Makes one ipywidget of one Panel widget; values go both ways."""

    def __init__(self) -> None:
        self._writing = False

    def _choice(
        self, shown: Any, kind: Any, *, throttled: bool = False, **settings: Any
    ) -> ipywidgets.Widget:
        made = kind(options=_options(shown.options), value=shown.value, **settings)

        def options(event: Any) -> None:
            with self._quiet():
                made.options = _options(event.new)
                made.value = shown.value

        shown.param.watch(options, "options")
        return self._linked(made, shown, throttled=throttled)

    def _steps(self, shown: Any) -> ipywidgets.Widget:
        kind = ipywidgets.SelectionSlider
        return self._choice(shown, kind, throttled=True, continuous_update=False)

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
        shown.param.watch(lambda event: setattr(made, "description", event.new), "label")
        _follow_disabled(made, shown)
        return made

    def _tick(self, shown: Any) -> ipywidgets.Widget:
        made = ipywidgets.Checkbox(shown.value, description=shown.label, indent=False)
        made.observe(lambda change: setattr(shown, "value", change["new"]), "value")
        shown.param.watch(lambda event: setattr(made, "value", event.new), "value")
        made.layout.width = "auto"
        _follow_disabled(made, shown)
        return made

    def _downloads(self, shown: Any) -> ipywidgets.Widget:
        """Make the button, and below it, while it is open, one button for each choice."""
        choices, said = ipywidgets.VBox(), ipywidgets.HTML()

        def item(number: int, choice: Any) -> ipywidgets.Widget:
            button = ipywidgets.Button(description=choice.label, tooltip=choice.inside)

            def give(_: Any) -> None:
                said.value = f"<pre>{html.escape(choice.code)}</pre>"
                if not choice.code:
                    try:
                        content = shown.content(number, lambda *_: None)
                    except ValueError as error:
                        said.value = html.escape(str(error))
                        return
                    name = html.escape(choice.filename)
                    address = f"data:application/octet-stream;base64,{content}"
                    said.value = f"<a download='{name}' href='{address}'>Save {name}</a>"

            button.on_click(give)
            button.layout.width = "auto"
            return ipywidgets.VBox([button, ipywidgets.HTML(html.escape(choice.inside))])

        def turn(_: Any) -> None:
            said.value = ""
            opened = bool(choices.children)
            choices.children = ()
            if not opened:
                try:
                    choices.children = [item(n, each) for n, each in enumerate(shown.choices())]
                except ValueError as error:
                    said.value = html.escape(str(error))

        made = ipywidgets.Button(description="Download")
        made.on_click(turn)
        made.layout.width = "auto"
        return ipywidgets.VBox([made, choices, said])

    def _upload(self, shown: Any) -> ipywidgets.Widget:
        made = ipywidgets.FileUpload(multiple=False, description="Choose a file")

        def take(change: Any) -> None:
            limit = n_bytes(shown.max_file_size) if shown.max_file_size else float("inf")
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
            if self._writing:
                return
            if most is not None and len(change["new"]) > most:
                made.value = change["old"]
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
        _follow_disabled(made, shown)
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


def _follow_disabled(made: Any, shown: Any) -> None:
    made.disabled = bool(shown.disabled)
    shown.param.watch(lambda event: setattr(made, "disabled", bool(event.new)), "disabled")


def _options(options: Any) -> list[tuple[str, Any]]:
    if isinstance(options, dict):
        return list(options.items())
    return [(str(option), option) for option in options]
