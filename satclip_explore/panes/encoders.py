"""What each encoder is good for, and how its weights come to this machine."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pandas as pd
import panel as pn
import param

from satclip_explore.encoders.cards import CARDS
from satclip_explore.encoders.registry import list_encoders
from satclip_explore.encoders.weights import download_weights
from satclip_explore.panes import theme
from satclip_explore.panes.background import Background, Job
from satclip_explore.panes.base import Pane
from satclip_explore.panes.rows import Rows
from satclip_explore.panes.served.settings import refuse_fetching
from satclip_explore.progress import Progress


class EncodersPane(Pane):
    """The registered encoders, each in a sentence; weights are fetched once that was agreed to.

    Parameters
    ----------
    on_choose : callable
        Called with the name of an encoder that is on this machine.
    """

    opened = param.Boolean(False, doc="whether the list is shown")
    asked = param.String("", doc="the encoder whose download is asked about; empty: none")

    _tick = param.Integer(0, doc="counts changes of what is on this machine")
    _not_settings: tuple[str, ...] = (*Pane._not_settings, "opened", "asked")

    def __init__(self, on_choose: Callable[[str], object], **params: Any) -> None:
        self._on_choose = on_choose
        super().__init__(**params)
        self._background = Background()

    def table(self) -> pd.DataFrame:
        """Return the registered encoders, those on this machine first."""
        return list_encoders().sort_values("available", ascending=False, kind="stable")

    def turn(self, _: Any = None) -> None:
        """Show the list, or put it away."""
        self.param.update(opened=not self.opened, asked="", message="")

    def choose(self, row: int) -> None:
        """Take the encoder of a row, counted from 0, or ask whether to fetch it."""
        table = self.table()
        if row >= len(table):
            return
        found = table.iloc[row]
        self.param.update(asked="", message="")
        if found["available"]:
            self.opened = False
            self._on_choose(found["name"])
        elif CARDS[found["name"]].manual:
            self.message = (
                f"The weights of {found['name']} can only be had by hand: "
                f"{CARDS[found['name']].manual}."
            )
        else:
            try:
                refuse_fetching(f"The weights of {found['name']}")
            except ValueError as error:
                self.message = str(error)
            else:
                self.asked = found["name"]

    def fetch(self, _: Any = None) -> None:
        """Fetch the weights that were asked about, beside the page, and take them."""
        name = self.asked
        if not name:
            return
        self.param.update(asked="", message="", busy=f"fetching {name} …")

        def work(job: Job) -> str:
            def on_progress(progress: Progress) -> None:
                job.check()
                share = "" if progress.share != progress.share else f", {progress.share:.0%}"
                words = f"fetching {name}: {progress.done / 1e6:,.1f} MB{share} …"
                job.deliver(partial(self.param.update, busy=words))

            refuse_fetching(f"The weights of {name}")
            try:
                download_weights(CARDS[name], on_progress=on_progress)
            except (OSError, ImportError) as error:
                raise ValueError(f"{name} could not be fetched: {error}") from error
            return name

        def done(name: str) -> None:
            self.param.update(busy="", opened=False, _tick=self._tick + 1)
            self._on_choose(name)

        def failed(error: ValueError) -> None:
            self.param.update(busy="", message=str(error))

        self._background.start(work, done, failed)

    def stop(self, _: Any = None) -> None:
        """Fetch nothing; what arrived of a file that was begun is of no use and goes."""
        self._background.stop()
        self.param.update(asked="", busy="")

    @param.depends("asked")
    def question(self) -> str:
        """Say, as markup, what would be fetched, from where, and under which license."""
        if not self.asked:
            return ""
        card = CARDS[self.asked]
        size = f"{card.size_mb:,.0f} MB" if card.size_mb else "size not known in advance"
        said = (
            f"Fetch {card.name}, {size}, from {card.source}? Its license: {card.license}; by "
            f"{card.authors} ({card.year}). It is kept on the machine that runs this page."
        )
        return f"<div style='font-size:13px'>{theme.escape(said)}</div>"

    @param.depends("opened", "_tick")
    def markup(self) -> str:
        """List the encoders as markup."""
        if not self.opened:
            return ""
        rows = "".join(_row(number, row) for number, row in enumerate(self.table().itertuples()))
        return (
            "<div style='max-height:360px;overflow:auto'><table aria-label='encoders'>"
            "<tr><th>Encoder</th><th>What it is good for</th>"
            f"<th>Numbers</th><th>Weights</th></tr>{rows}</table></div>"
        )

    def __panel__(self) -> Any:
        rows = Rows(self.choose, object=self.param.opened.rx.pipe(lambda _: self.markup()),
                    sizing_mode="stretch_width")  # fmt: skip
        self.param.watch(lambda _: rows.param.update(object=self.markup()), "_tick")
        asks = self.param.asked.rx.bool()
        question = pn.FlexBox(
            theme.text(self.question), theme.button("Fetch it", self.fetch, strong=True),
            theme.button("Not now", self.stop), align_items="center", gap="4px 10px", margin=0,
            visible=asks, sizing_mode="stretch_width",
        )  # fmt: skip
        shown = theme.card(
            "Encoders", self.status(), question, rows, visible=self.param.opened,
            actions=(theme.button("Close", self.turn),),
            hint="click one to look through it, or to be asked whether to fetch its weights",
        )  # fmt: skip
        shown.styles = shown.styles | {"flex": "0 0 auto", "margin-bottom": "8px"}
        return shown


def _row(number: int, row: Any) -> str:
    where = "on this machine" if row.available else "to fetch"
    if not row.available and CARDS[row.name].manual:
        where = "by hand"
    return (
        f"<tr data-row='{number}'><td>{theme.escape(row.name)}</td>"
        f"<td style='white-space:normal'>{theme.escape(about(row))}</td>"
        f"<td>{row.dim:,}</td><td>{where}</td></tr>"
    )


def about(row: Any) -> str:
    """Say in a sentence what an encoder is good for, and what it learned from."""
    learned = str(row.training_data)
    if not learned.startswith(("none: ", "distilled ")):
        learned = f"learned from {learned}"
    sentences = filter(None, (row.good_for, learned.removeprefix("none: ")))
    return " ".join(f"{said[0].upper()}{said[1:]}." for said in sentences)
