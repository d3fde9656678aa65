"""Label by clicking: a classifier that follows every click over a grid embedded once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from numpy.typing import NDArray

from satclip_explore.encoders.base import LocationEncoder
from satclip_explore.geo import Grid, as_lonlat
from training.tables import task_from_table

MIN_CLASSES = 2
"""Two classes with one label each are enough to draw a map."""

CONTRAST = 10.0
"""How sharply likeness decides: chances are softmax(CONTRAST x likeness)."""


@dataclass(frozen=True)
class Labels:
    """Places that were given a class, in the order they were clicked. Each change is a new object.

    Parameters
    ----------
    lonlat : tuple of (lon, lat)
        Degrees.
    classes : tuple of str
        Class of each place.
    """

    lonlat: tuple[tuple[float, float], ...] = ()
    classes: tuple[str, ...] = ()

    def add(self, lonlat: Any, name: str) -> Labels:
        """Label one place; labelling it again replaces the label."""
        name = str(name).strip()
        if not name or len(name) > 80:
            raise ValueError(f"a class needs a name of 1 to 80 characters; got {len(name)}.")
        places = as_lonlat(lonlat)
        if len(places) != 1:
            raise ValueError(f"one click is one place; got {len(places)}.")
        place = (float(places[0, 0]), float(places[0, 1]))
        kept = [
            (where, what)
            for where, what in zip(self.lonlat, self.classes, strict=True)
            if where != place
        ]
        kept.append((place, name))
        return Labels(tuple(one[0] for one in kept), tuple(one[1] for one in kept))

    def undo(self) -> Labels:
        """Take the last label back; nothing happens when there is none."""
        return Labels(self.lonlat[:-1], self.classes[:-1])

    @property
    def names(self) -> tuple[str, ...]:
        """The classes in the order of their first label."""
        return tuple(dict.fromkeys(self.classes))

    def frame(self) -> pd.DataFrame:
        """Return lon, lat, label: what `satclip_explore.export.to_csv` saves."""
        places = np.array(self.lonlat, dtype=np.float64).reshape(-1, 2)
        return pd.DataFrame({"lon": places[:, 0], "lat": places[:, 1], "label": self.classes})

    @classmethod
    def from_table(cls, table: Any, column: str = "label") -> Labels:
        """Read labels that were saved, or any table of labelled places; see `task_from_table`.

        Raises
        ------
        ValueError
            If the table cannot be read, or has fewer than ten labels or only one class.
        """
        task = task_from_table(table, column, kind="classification")
        places = tuple((float(lon), float(lat)) for lon, lat in task.lonlat)
        return cls(places, tuple(task.classes[code] for code in task.target))


@dataclass
class ClickClassifier:
    """Kernel regression on embeddings of unit length, over a grid that is encoded once.

    Each label adds one product of the grid with its embedding; a click costs that and a sum.

    Parameters
    ----------
    encoder : LocationEncoder
        Any encoder.
    grid : Grid
        Pixel centers of the map, shape (H, W); 1 degree is 64,800 pixels.
    ridge : float
        Added to the diagonal of the labels' kernel, so that clicks that disagree do not blow up.
    """

    encoder: LocationEncoder
    grid: Grid
    ridge: float = 0.1
    labels: Labels = field(default_factory=Labels)

    def __post_init__(self) -> None:
        height, width = self.grid.shape
        self._pixels = torch.empty(height * width, self.encoder.embed_dim)
        for rows, values in self.encoder.iter_grid(self.grid):
            part = slice(rows.start * width, rows.stop * width)
            self._pixels[part] = _unit(values.reshape(-1, self.encoder.embed_dim).float().cpu())
        self._likeness: dict[tuple[float, float], torch.Tensor] = {}
        self._points: dict[tuple[float, float], torch.Tensor] = {}

    def add(self, lonlat: Any, name: str) -> None:
        """Label one place."""
        self.set_labels(self.labels.add(lonlat, name))

    def undo(self) -> None:
        """Take the last label back."""
        self.set_labels(self.labels.undo())

    def set_labels(self, labels: Labels) -> None:
        """Take these labels; only places that are new cost anything."""
        new = [place for place in labels.lonlat if place not in self._likeness]
        if new:
            embeddings = torch.from_numpy(self.encoder.embed(np.array(new))).float()
            missing = torch.isnan(embeddings).any(1)
            if bool(missing.any()):
                where = new[int(missing.nonzero()[0])]
                raise ValueError(
                    f"{self.encoder.name} knows nothing at {where[0]:.2f}, {where[1]:.2f}; "
                    "click inside its coverage."
                )
            points = _unit(embeddings)
            likeness = self._pixels @ points.T
            for i, place in enumerate(new):
                self._points[place] = points[i]
                self._likeness[place] = likeness[:, i].contiguous()
        for place in set(self._likeness) - set(labels.lonlat):
            del self._likeness[place], self._points[place]
        self.labels = labels

    @property
    def ready(self) -> bool:
        """Whether there are labels of two classes."""
        return len(self.labels.names) >= MIN_CLASSES

    def chances(self) -> NDArray[np.float32]:
        """Return how likely each class is at each pixel, shape (classes, H, W).

        Raises
        ------
        ValueError
            If fewer than two classes have a label.
        """
        if not self.ready:
            raise ValueError("label places of two classes to see a map.")
        places = self.labels.lonlat
        points = torch.stack([self._points[place] for place in places])
        codes = torch.tensor([self.labels.names.index(name) for name in self.labels.classes])
        wanted = torch.nn.functional.one_hot(codes, len(self.labels.names)).double()
        kernel = (points @ points.T).double()
        kernel.diagonal().add_(self.ridge)
        # Deviations from an even chance: far from every label no class wins by its count.
        weight = torch.linalg.solve(kernel, wanted - wanted.mean(1, keepdim=True)).float()
        scores = self._pixels.new_zeros(len(self.labels.names), len(self._pixels))
        for i, place in enumerate(places):
            scores.addr_(weight[i], self._likeness[place])
        return torch.softmax(CONTRAST * scores, 0).reshape(-1, *self.grid.shape).numpy()

    def raster(self) -> xr.DataArray:
        """Map the likeliest class.

        Returns
        -------
        xarray.DataArray, dims (lat, lon), shape (H, W), int16
            Codes into ``attrs["classes"]``, north first; -1 where the encoder has no coverage. The
            coordinate `chance` (lat, lon) says how likely that class is.
        """
        chances = self.chances()
        missing = np.isnan(chances[0])
        codes = np.where(missing, -1, np.nan_to_num(chances).argmax(0)).astype(np.int16)
        return xr.DataArray(
            codes,
            dims=("lat", "lon"),
            coords={
                "lat": self.grid.lat,
                "lon": self.grid.lon,
                "chance": (("lat", "lon"), chances.max(0)),
            },
            name="label",
            attrs={"classes": list(self.labels.names), "encoder": self.encoder.name},
        )


def _unit(embeddings: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(embeddings, dim=1)
