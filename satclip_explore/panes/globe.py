"""A pane over a globe that is encoded once, beside the page, and kept for the whole process."""

from __future__ import annotations

from typing import Any

import panel as pn
import param

from satclip_explore.fields import EmbeddedGrid
from satclip_explore.geo import Grid
from satclip_explore.panes.background import Background, Job
from satclip_explore.panes.base import Pane
from satclip_explore.store import RESULTS


class GlobePane(Pane):
    """Shares one encoded globe with every pane of the same encoder and resolution."""

    resolution = param.Number(1.0, bounds=(0.25, 10.0), doc="pixel size in degrees")

    _tick = param.Integer(0, doc="counts globes that became ready")

    def __init__(self, encoder: Any, **params: Any) -> None:
        super().__init__(encoder, **params)
        self._background = Background()
        self._asked: Any = None

    def globe(self, progress: Any = None) -> EmbeddedGrid:
        """Return the encoded globe; computes it where nobody has."""
        encoder, resolution = self.encoder, self.resolution
        # The embeddings alone are shared: an EmbeddedGrid would keep its encoder.
        unit = RESULTS.get(
            self._key(),
            lambda: EmbeddedGrid.of(encoder, resolution, progress=progress).unit,
            progress,
        )
        return EmbeddedGrid(encoder, Grid.from_resolution(resolution), unit)

    def ready(self) -> bool:
        """Tell whether the globe is there; where it is not, start encoding it."""
        if RESULTS.peek(self._key()) is not None:
            return True
        if self._asked != self._key():
            self._asked = self._key()
            # On a served page the first figure comes first.
            pn.state.onload(self._start)
        return False

    def _start(self) -> None:
        self.busy = "encoding the globe …"
        self._background.start(self._encode, self._done, self._failed)

    def _encode(self, job: Job) -> EmbeddedGrid:
        return self.globe(job.check)

    def _done(self, _: Any) -> None:
        self.param.update(busy="", message="", _tick=self._tick + 1)

    def _failed(self, error: ValueError) -> None:
        self._asked = None
        self.param.update(busy="", message=str(error))

    def _key(self) -> tuple[Any, ...]:
        return ("globe", self.encoder, self.resolution)
