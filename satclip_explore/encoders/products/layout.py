"""Which array of a store holds vectors, which of its axes is which, and which step is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from satclip_explore.encoders.base import Times
from satclip_explore.encoders.products.stores import Group, Variable

Y_AXES = ("y", "lat", "latitude", "northing")
X_AXES = ("x", "lon", "long", "longitude", "easting")
TIME_AXES = ("time", "year", "t", "date")
USUAL_NAMES = ("embeddings", "embedding")


@dataclass(frozen=True)
class Vectors:
    """An array of vectors: which of its axes is which, and what is said beside and above it."""

    values: Variable
    y: str
    x: str
    time: str
    numbers: str
    group: Group
    above: tuple[Group, ...]

    def beside(self, name: str) -> Variable | None:
        """Find an array by its name: in the same group, or one above."""
        for group in (self.group, *self.above):
            if name in group.variables:
                return group.variables[name]
        return None

    def said(self, key: str) -> Any:
        """Find an attribute of the array, its group, or one above; None if nobody says so."""
        for attrs in (self.values.attrs, self.group.attrs, *(g.attrs for g in self.above)):
            if key in attrs:
                return attrs[key]
        return None


def find_vectors(group: Group, above: tuple[Group, ...], variable: str | None) -> Iterator[Vectors]:
    """Find the arrays of vectors in a group and below: one in each."""
    candidates = [
        vectors for v in group.variables.values() if (vectors := _vectors(v, group, above))
    ]
    if variable is not None:
        candidates = [vectors for vectors in candidates if vectors.values.name == variable]
    usual = [vectors for vectors in candidates if vectors.values.name in USUAL_NAMES] or candidates
    if len(usual) > 1:
        names = ", ".join(vectors.values.name for vectors in usual)
        raise ValueError(f"{group.name} has several arrays of vectors: {names}; say variable=.")
    yield from usual
    for below in group.groups:
        yield from find_vectors(below, (group, *above), variable)


def _vectors(values: Variable, group: Group, above: tuple[Group, ...]) -> Vectors | None:
    """Tell the axes of an array apart; None where it holds no vectors on a grid."""
    axes: dict[str, str] = {}
    left = []
    for name in values.dims:
        for role, names in (("y", Y_AXES), ("x", X_AXES), ("time", TIME_AXES)):
            if name.lower() in names and role not in axes:
                axes[role] = name
                break
        else:
            left.append(name)
    left = [name for name in left if values.shape[values.dims.index(name)] > 1] or left[:1]
    if "y" not in axes or "x" not in axes or len(left) != 1 or values.dtype.kind not in "iuf":
        return None
    return Vectors(values, axes["y"], axes["x"], axes.get("time", ""), left[0], group, above)


def finest(found: list[Vectors]) -> list[Vectors]:
    """Keep the finest level where groups that are numbered hold one grid in several sizes."""
    levels = all(vectors.group.name.isdecimal() for vectors in found)
    if levels or any(vectors.said("multiscales") is not None for vectors in found):
        return sorted(found, key=lambda vectors: np.prod(vectors.values.shape, dtype=float))[-1:]
    return found


def time_step(vectors: Vectors, wanted: str | None) -> int | None:
    """Return which step along time is asked for; None without that axis."""
    if not vectors.time:
        if wanted:
            raise ValueError(f"{vectors.group.name} has no time axis; leave year= and time= out.")
        return None
    labels = time_labels(vectors)
    size = len(labels)
    if size == 1 and wanted is None:
        return 0
    steps = [i for i, label in enumerate(labels) if wanted and label.startswith(wanted)]
    if len(steps) != 1:
        shown = ", ".join(labels[:12]) + (" …" if size > 12 else "")
        asked = f"{wanted!r:.40} is {'none' if not steps else 'several'}" if wanted else "say which"
        raise ValueError(
            f"{vectors.group.name} has the times {shown}; {asked}, with year= or time=."
        )
    return steps[0]


def choices(vectors: Vectors, year: int | None, time: str | None) -> Times | None:
    """Say what else could be asked for along time, in the words that it was asked in."""
    if year is None and time is None:
        return None
    labels = time_labels(vectors)
    days = [label[:10] for label in labels]
    if time is not None:
        return Times("time", tuple(days if len(set(days)) == len(days) else labels))
    return Times("year", tuple(sorted({int(label[:4]) for label in labels})))


def time_labels(vectors: Vectors) -> list[str]:
    """Write the steps of the time axis as years or ISO dates."""
    size = vectors.values.shape[vectors.values.dims.index(vectors.time)]
    return _labels(vectors.beside(vectors.time), size)


def _labels(coordinate: Variable | None, size: int) -> list[str]:
    if coordinate is None:
        return [str(i) for i in range(size)]
    values = coordinate.all()
    units = coordinate.attrs.get("units")
    if isinstance(units, str) and " since " in units:
        from xarray.coding.times import decode_cf_datetime

        values = decode_cf_datetime(values, units, coordinate.attrs.get("calendar"))
    return [str(value)[:19] for value in values]
