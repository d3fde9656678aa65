"""Which imagery a run looks at, and the offer to fetch what is not on this machine."""

from __future__ import annotations

import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import panel as pn
import param

from satclip_explore.panes import theme
from satclip_explore.panes.background import Background, Job
from satclip_explore.panes.served.settings import refuse_fetching
from satclip_explore.progress import Cancelled, Progress
from training.imagery.download import (
    SIZES,
    blue_marble_folder,
    download_blue_marble,
    missing_bytes,
)
from training.imagery.embedded import write_embedded_months

BLUE_MARBLE, PICTURE, FOLDER = "blue-marble", "picture", "folder"
KINDS = {
    "Blue Marble, twelve months": BLUE_MARBLE,
    "the picture in the package": PICTURE,
    "a folder on this machine": FOLDER,
}
BATCH_SECONDS = 0.2


class ImageryChoice(pn.viewable.Viewer):
    """Chooses imagery; where Blue Marble is missing it says how large it is and fetches it.

    Nothing is fetched before the button is pressed.

    Parameters
    ----------
    store : path, optional
        Where Blue Marble is kept; default the folder of downloads.
    """

    kind = param.Selector(default=BLUE_MARBLE, objects=KINDS, doc="which imagery")
    folder = param.String("", doc="folder of the imagery on this machine")
    left = param.Integer(0, doc="bytes of Blue Marble that are not here")
    fetching = param.Boolean(False, doc="whether it is being fetched")
    message = param.String("", doc="what went wrong, as a sentence")

    def __init__(self, store: str | Path | None = None, **params: Any) -> None:
        self._store = Path(store) if store is not None else blue_marble_folder()
        left = missing_bytes(self._store)
        # What is at hand comes first: nobody should have to fetch anything to see a run.
        params.setdefault("kind", PICTURE if left else BLUE_MARBLE)
        super().__init__(left=left, **params)
        self._background = Background()
        self._cancel = threading.Event()

    def open(self, night_lights: bool) -> Path:
        """Return the folder of the imagery; may take seconds.

        Parameters
        ----------
        night_lights : bool
            Whether they must be among it.

        Raises
        ------
        ValueError
            If there is none, with what to do.
        """
        if self.kind == PICTURE:
            if night_lights:
                raise ValueError(
                    "The picture in the package does not show the lights of the night, which these "
                    "settings look at: choose Blue Marble, or the settings laptop."
                )
            return write_embedded_months(self._store.with_name("package-picture"))
        if self.kind == FOLDER:
            refuse_fetching("Imagery in a folder")
            if not self.folder.strip():
                raise ValueError("Name the folder of the imagery on this machine first.")
            return Path(self.folder.strip()).expanduser()
        if missing_bytes(self._store):
            raise ValueError(
                f"Blue Marble is not on this machine: download it ({_mb(self.left)}), or train on "
                "the picture in the package."
            )
        return self._store

    def fetch(self, _: Any = None) -> None:
        """Fetch what is missing of Blue Marble, beside the page."""
        self._cancel = cancel = threading.Event()
        self.param.update(fetching=True, message="")

        def work(job: Job) -> None:
            last = 0.0

            def on_progress(progress: Progress) -> None:
                nonlocal last
                if job.is_set():
                    cancel.set()
                if time.monotonic() - last >= BATCH_SECONDS:
                    last = time.monotonic()
                    job.deliver(partial(self.param.update, left=progress.total - progress.done))

            refuse_fetching("Blue Marble")
            try:
                download_blue_marble(self._store, on_progress=on_progress, cancel=cancel)
            except Cancelled:
                return

        def failed(error: ValueError) -> None:
            self.message = str(error)
            done()

        def done(_: Any = None) -> None:
            self.param.update(fetching=False, left=missing_bytes(self._store))

        self._background.start(work, done, failed)

    def cancel(self, _: Any = None) -> None:
        """Stop fetching; finished images are kept."""
        self._cancel.set()

    @param.depends("kind", "left", "fetching", "message")
    def sentences(self) -> str:
        """Say what the imagery is, where it goes, and how much is left, as markup."""
        if self.message:
            return f"<div class='sentence' role='alert'>{theme.escape(self.message)}</div>"
        if self.kind == PICTURE:
            words = (
                "39 km per pixel and no seasons: to try it out, and not to learn much from. Blue "
                f"Marble, twelve months, is {_mb(self.left)} to fetch."
                if self.left
                else "39 km per pixel and no seasons: to try it out, and not to learn much from."
            )
        elif self.kind == FOLDER:
            words = (
                "The twelve months of Blue Marble, or S2-100K as it is distributed: index.csv with "
                "data/*.tar or images/*.tif (78 GB: hf download torchgeo/s2-100k --repo-type "
                "dataset). For S2-100K, Start fetches the weights of the image encoder once, from "
                "the Hugging Face hub."
            )
        elif self.fetching:
            done = sum(SIZES) - self.left
            share = 100.0 * done / sum(SIZES)
            return (
                f"<div class='busy'>{done / 1e6:.1f} of {_mb(sum(SIZES))} fetched</div>"
                f"{progress_bar(share)}"
            )
        elif self.left:
            words = (
                f"Not on this machine yet: pictures of the Earth by NASA, twelve months and one of "
                f"the night, public domain, {_mb(self.left)} to fetch into {self._store}."
            )
        else:
            words = (
                f"NASA's twelve months of 2004, 5 km per pixel, and the lights of 2016, in "
                f"{self._store}."
            )
        return f"<div class='hint'>{theme.escape(words)}</div>"

    def __panel__(self) -> Any:
        offered = pn.bind(
            lambda kind, left, fetching: kind == BLUE_MARBLE and left > 0 and not fetching,
            self.param.kind, self.param.left, self.param.fetching,
        )  # fmt: skip
        label = self.param.left.rx.pipe(lambda left: f"Download {_mb(left)}")
        get = theme.button(label, self.fetch, strong=True, visible=offered)
        return pn.FlexBox(
            theme.select(self.param.kind, "Imagery", 245),
            theme.text_input(self.param.folder, "Folder", 300,
                             visible=self.param.kind.rx.pipe(lambda kind: kind == FOLDER),
                             placeholder="on the machine that runs this page"),
            get, theme.button("Cancel", self.cancel, visible=self.param.fetching),
            theme.text(self.sentences, styles={"flex": "1 1 260px", "min-width": "200px"}),
            align_items="center", sizing_mode="stretch_width", gap="2px 8px", margin=0,
        )  # fmt: skip


def progress_bar(percent: float) -> str:
    """Draw how far something is, as markup."""
    return (
        f"<div role='progressbar' aria-valuenow='{percent:.0f}' style='height:4px;margin-top:4px;"
        f"border-radius:2px;background:{theme.LINE}'><div style='width:{percent:.1f}%;height:4px;"
        f"border-radius:2px;background:{theme.ACCENT}'></div></div>"
    )


def _mb(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
