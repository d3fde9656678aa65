"""The dashboard: one encoder, one selection, every pane."""

from __future__ import annotations

import html
from typing import Any

import panel as pn
import panel_material_ui as pmui
import param
from panel_material_ui.template.base import Page

from satclip_explore.address import page_links
from satclip_explore.encoders.registry import DEFAULT_ENCODER, list_encoders, load_encoder
from satclip_explore.panes import theme, url_state
from satclip_explore.panes.background import Background
from satclip_explore.panes.base import Selection
from satclip_explore.panes.compare.degrees import DegreesPane
from satclip_explore.panes.compare.pane import ComparePane
from satclip_explore.panes.embedding import EmbeddingPane
from satclip_explore.panes.encoders import EncodersPane
from satclip_explore.panes.evaluate.pane import EvaluatePane
from satclip_explore.panes.jupyter.front_end import later as run_later
from satclip_explore.panes.labels import LabelsPane
from satclip_explore.panes.map import MapPane
from satclip_explore.panes.neighbors import NeighborsPane
from satclip_explore.panes.pca import PCAPane
from satclip_explore.panes.pretrain.pane import PretrainPane, finished_runs
from satclip_explore.panes.probe.pane import ProbePane
from satclip_explore.panes.search import SearchPane
from satclip_explore.panes.served.frame import OPENING, PAGES, TALL, TURN, credits_line, frame
from satclip_explore.panes.served.look import ThemeButton
from satclip_explore.panes.similarity import SimilarityPane
from satclip_explore.panes.table.pane import TablePane
from satclip_explore.panes.tasks import OWN
from satclip_explore.panes.times import TimesPane
from satclip_explore.shared_encoders import load_at, load_once, time_text
from satclip_explore.times import timeless_name

COPY = "Copy link"
TABS = {
    "explore": "Explore",
    "compare": "Compare",
    "probe": "Probe",
    "evaluate": "Evaluate",
    "label": "Label",
    "train": "Train",
    "data": "Your data",
}


class Explorer(pn.viewable.Viewer):
    """Every pane around one encoder and one selection.

    Parameters
    ----------
    encoder : LocationEncoder, optional
        What to start with; default the embedded encoder.
    """

    encoder_name = param.Selector(default=None, objects=[], doc="which encoder is shown")
    time = param.String("", doc="the month or year that is shown; empty: none was chosen")
    tab = param.Selector(default="explore", objects=list(TABS), doc="which page is open")
    message = param.String("", doc="what went wrong, as a sentence; empty when nothing did")
    copy_label = param.String(COPY, doc="on the button that copies the address")

    def __init__(self, encoder: Any = None, **params: Any) -> None:
        encoder = load_once(DEFAULT_ENCODER) if encoder is None else encoder
        table = list_encoders()
        self._runs = finished_runs()
        names = [*table["name"][table["available"]], *self._runs]
        name = timeless_name(encoder)
        self._encoders = {name: encoder}
        self._asked = self._drawn = (name, time_text(encoder))
        super().__init__(**params)
        # Before this line they would be the options of every visitor.
        self.param.encoder_name.objects = list(dict.fromkeys([name, *names]))
        with param.parameterized.discard_events(self):
            self.param.update(encoder_name=name, time=time_text(encoder))
        self._background, self._built = Background(), False
        self.link: Any = None
        self.selection = Selection()
        shared: dict[str, Any] = {"selection": self.selection}
        self.search = SearchPane(**shared)
        self.about = EncodersPane(self._choose)
        self.times = TimesPane(encoder, self._choose_time, **shared)
        self.pca = PCAPane(encoder, **shared)
        self.map = MapPane(encoder, search=False, **shared)
        self.embedding = EmbeddingPane(encoder, **shared)
        self.neighbors = NeighborsPane(encoder, **shared)
        self.similarity = SimilarityPane(encoder, **shared)
        for pane in (self.map, self.embedding):
            pane.follow_colors(self.pca)
        self.compare = ComparePane(encoder, self._names(), self._load, **shared)
        self.degrees = DegreesPane(encoder, **shared)
        self.probe = ProbePane(encoder, **shared)
        self.evaluate = EvaluatePane(encoder, self._names(), self._load, **shared)
        self.label = LabelsPane(encoder, **shared)
        self.data = TablePane(
            encoder, on_probe=self._probe_table, on_evaluate=self._evaluate_table,
            on_label=self._label_table, **shared,
        )  # fmt: skip
        self.train = PretrainPane(on_encoder=self._add, **shared)
        self.panes = [
            self.pca, self.map, self.embedding, self.neighbors, self.similarity, self.probe,
            self.evaluate, self.label, self.compare, self.degrees, self.data,
            self.times,
        ]  # fmt: skip
        self.links = page_links(self)

    @param.depends("encoder_name", "time", watch=True)
    def _switch(self) -> None:
        kept = self._encoders.get(self.encoder_name)
        if self.encoder_name != self._asked[0]:
            # What is chosen of one encoder says nothing of another.
            with param.parameterized.discard_events(self):
                self.time = "" if kept is None else time_text(kept)
        before, wanted = self._drawn, (self.encoder_name, self.time)
        self._asked = wanted
        kept = self.pca.encoder if wanted == before else kept
        if kept is not None and (wanted == before or wanted[1] == time_text(kept)):
            self._background.stop()
            self._use(kept, wanted)
            return

        def work(_: Any) -> Any:
            return load_at(self._load(wanted[0]), wanted[1])

        def failed(error: ValueError) -> None:
            self._asked = before
            self.param.update(encoder_name=before[0], time=before[1])
            self.message = str(error)

        if self._built:
            self._background.start(work, lambda found: self._use(found, wanted), failed)
            return
        # A link names an encoder: whatever is drawn first is drawn of that one.
        try:
            self._use(work(None), wanted)
        except ValueError as error:
            failed(error)

    def _load(self, name: str) -> Any:
        """Load an encoder by its registered name, or one that was trained here before."""
        if name in self._encoders:
            return self._encoders[name]
        if name not in self._names() and ":" in name:
            known, _, time = name.rpartition(":")
            return load_at(self._load(known), time.removeprefix("month").removeprefix("year"))
        return load_encoder(self._runs[name]) if name in self._runs else load_once(name)

    def _use(self, encoder: Any, drawn: tuple[str, str]) -> None:
        self._drawn, self.message = drawn, ""
        for pane in self.panes:
            pane.encoder = encoder

    def _names(self) -> list[str]:
        return self.param.encoder_name.objects

    def follow_address(self, link: Any) -> None:
        """Take over what the page's address says, then keep the address up to date.

        Parameters
        ----------
        link : PageLink
            Of the session.
        """
        self.link = link
        problems = url_state.follow(link, self.links)
        link.on_copied = self._copied
        link.on_stored = self.label.restore
        link.on_nudge = self.selection.nudge
        self.label.param.watch(lambda _: link.param.update(kept=self.label.kept()), "labels")
        if OWN in (self.probe.task, self.evaluate.task):
            problems.append(
                "This link uses a table that only its sender has: ask for it, and drop it here."
            )
        self.message = " ".join(filter(None, [self.message, *problems]))

    def _copied(self, done: bool) -> None:
        self.copy_label = "Copied" if done else "Not copied"

        def reset() -> None:
            self.copy_label = COPY

        if pn.state.curdoc is not None:
            pn.state.curdoc.add_timeout_callback(reset, 2_000)

    def copy_link(self, _: Any = None) -> None:
        """Copy the address of what is on the screen."""
        if self.link is not None:
            self.link.copied += 1

    @param.depends("message")
    def sentence(self) -> str:
        """Write what went wrong as markup."""
        line = f"<div class='sentence' role='alert'>{html.escape(self.message)}</div>"
        return line if self.message else ""

    def status(self) -> Any:
        """Show what went wrong; takes no room where nothing did."""
        return theme.text(self.sentence, visible=self.param.message.rx.bool())

    def header(self) -> list[Any]:
        """Return what belongs beside the title: the pages, a search field, the encoder."""
        pages = pmui.RadioButtonGroup.from_param(
            self.param.tab, options={label: name for name, label in TABS.items()}, label="",
            color="primary", size="small", margin=(0, 0, 0, 6), description="",
            theme_config=theme.MATERIAL, stylesheets=[theme.NARROW_TABS],
        )  # fmt: skip
        pages.jscallback(args={"names": {label: name for name, label in TABS.items()}}, value=TURN)
        choose = theme.select(self.param.encoder_name, "Encoder", 140)
        tools = [self.search.field(), choose, theme.button("About encoders", self.about.turn)]
        if self.link is not None:
            tools += [
                theme.button(self.param.copy_label, self.copy_link),
                ThemeButton(margin=(4, 2)),
            ]
        right = pn.FlexBox(*tools, align_items="center", justify_content="flex-end", margin=0,
                           gap="4px", styles={"flex": "1 1 340px", "width": "auto"})  # fmt: skip
        return [
            pn.FlexBox(pages, right, align_items="center", sizing_mode="stretch_width", margin=0,
                       gap="4px")
        ]  # fmt: skip

    def explore_page(self) -> Any:
        """Arrange the panes that look at one place."""
        return pn.Column(
            self.times,
            _line((self.pca, 1.45, 520), (self.map, 1.0, 340), later=(self.map,)),
            _line((self.embedding, 1.0, 340), (self.similarity, 1.0, 340),
                  (self.neighbors, 1.15, 340),
                  later=(self.embedding, self.similarity, self.neighbors)),
            margin=0, sizing_mode="stretch_width",
        )  # fmt: skip

    def compare_page(self) -> Any:
        """Arrange what sets encoders side by side."""
        return pn.Column(self.compare, self.degrees, margin=0, sizing_mode="stretch_width",
                         styles=TALL | {"gap": "8px"})  # fmt: skip

    def _probe_table(self, reading: Any, column: str, kind: str) -> None:
        self.probe.take(reading, column, kind)
        self.tab = "probe"

    def _evaluate_table(self, reading: Any, column: str, kind: str) -> None:
        self.evaluate.take(reading, column, kind)
        self.tab = "evaluate"

    def _label_table(self, content: bytes) -> None:
        self.label.load(content)
        self.tab = "label"

    def _add(self, folder: Any) -> None:
        """Offer the encoder of a finished run."""
        encoder = load_encoder(folder)
        self._encoders[encoder.name] = encoder
        self._list(encoder.name)
        self.compare.offer(encoder)

    def _list(self, name: str) -> None:
        """Put a name among the encoders that can be chosen."""
        if name not in self._names():
            self.param.encoder_name.objects = [*self._names(), name]
        self.evaluate.names = self._names()

    def _choose_time(self, text: str) -> None:
        self.time = text

    def _choose(self, name: str) -> None:
        """Show an encoder of the list, which may have come to this machine just now."""
        self._list(name)
        self.encoder_name = name

    def pages(self) -> Any:
        """Return the pages, of which one is visible; each is built when it is first opened."""
        self._built = True
        build = {
            "explore": self.explore_page,
            "compare": self.compare_page,
            "probe": lambda: self.probe,
            "evaluate": lambda: self.evaluate,
            "label": lambda: self.label,
            "train": lambda: self.train,
            "data": lambda: self.data,
        }
        pages = {
            name: pn.Column(theme.hint(OPENING), name=name, visible=False, margin=0,
                            sizing_mode="stretch_width", styles=TALL)
            for name in TABS
        }  # fmt: skip

        def turn(*_: Any) -> None:
            tab = self.tab
            for name, page in pages.items():
                page.visible = name == tab
            # To build it takes seconds: its room is shown first.
            if tab in build:
                pages[tab][:] = [build.pop(tab)()]

        turn()
        self.param.watch(turn, "tab")
        return pn.Column(*pages.values(), name=PAGES, margin=0, sizing_mode="stretch_width",
                         styles=TALL)  # fmt: skip

    def body(self) -> Any:
        """Return the pages with the credits under them."""
        hidden = [self.link] if self.link is not None else []
        top = self.search.answers(), self.about, self.status()
        return pn.Column(*top, self.pages(), credits_line(), *hidden, margin=8,
                         sizing_mode="stretch_width", styles=TALL)  # fmt: skip

    def page(self) -> Page:
        """Return the page that is served."""
        return frame(self.header(), [self.body()])

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        from satclip_explore.panes.jupyter import native

        return native.bundle(self.__panel__, include=include, exclude=exclude)

    def __panel__(self) -> Any:
        ground = {"background": theme.GROUND, "padding": "8px", "box-sizing": "border-box"}
        return pn.Column(*self.header(), self.body(), sizing_mode="stretch_width", styles=ground)


def _line(*shares: tuple[Any, float, int], later: tuple[Any, ...] = ()) -> pn.FlexBox:
    """Put panes side by side: each with its share of the width, and the least it can do with.

    In a notebook the panes named in `later` follow when the first have been sent.
    """
    cells = []
    for pane, grow, basis in shares:
        cell = run_later(pane.__panel__) if pane in later else pane.__panel__()
        cell.styles = cell.styles | {
            "flex": f"{grow} 1 {basis}px",
            "min-width": f"min(100%, {basis}px)",
            "align-self": "stretch",
            "height": "auto",
            "width": "auto",
        }
        cells.append(cell)
    return pn.FlexBox(*cells, gap="8px", align_items="stretch", margin=(0, 0, 8, 0),
                      sizing_mode="stretch_width")  # fmt: skip
