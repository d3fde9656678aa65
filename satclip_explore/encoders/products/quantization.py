"""What undoes the quantization of an array: as its store says, or as its product is known to do."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from satclip_explore.encoders.products.layout import Vectors
from satclip_explore.encoders.products.profiles import PROFILES, find_profile
from satclip_explore.encoders.products.stores import Variable


@dataclass(frozen=True)
class Rule:
    """What turns stored numbers into those that are meant: profile, × scale + offset, by pixel.

    Parameters
    ----------
    product : str
        For people.
    scale, offset : numpy.ndarray, shape () or (D,)
        Of every pixel.
    pixel_scale, mask : Variable, optional
        One number a pixel: a factor, not finite without data; and 0 without data.
    nodata : tuple of float
        Stored numbers of a pixel without data.
    limits : tuple of float
        Smallest and largest stored number that counts.
    """

    product: str
    scale: NDArray[np.float64]
    offset: NDArray[np.float64]
    pixel_scale: Variable | None = None
    mask: Variable | None = None
    nodata: tuple[float, ...] = ()
    limits: tuple[float, float] = (-np.inf, np.inf)

    def beyond(self, stored: NDArray[Any]) -> NDArray[np.bool_]:
        """Tell which vectors, (N, D), hold a number that does not count."""
        low, high = self.limits
        return np.asarray(((stored < low) | (stored > high)).any(axis=1), dtype=bool)


def find_rule(vectors: Vectors, product: str | None) -> Rule:
    """Find how stored numbers are scaled: as the store says, or as its product is known to do.

    Raises
    ------
    ValueError
        If the product is unknown or its arrays are missing, or integers are scaled in a way that
        nothing tells.
    """
    values, dim = vectors.values, vectors.values.shape[vectors.values.dims.index(vectors.numbers)]
    limits = _limits(values)
    no_scale, zero = np.array(1.0), np.array(0.0)
    # xarray writes a _FillValue of NaN beside the missing_value that was there before.
    stated = [_number(values.attrs.get(key)) for key in ("_FillValue", "missing_value")]
    nodata = tuple(code for code in stated if code is not None and np.isfinite(code))
    known = (*PROFILES, "tessera", "mind", "geoemb")
    if product is not None and product not in known:
        raise ValueError(f"product must be one of {', '.join(known)}; got {product!r:.60}.")
    said = vectors.said("geoemb:quantization")
    scale = said.get("scale") if isinstance(said, dict) else None
    if product in (None, "geoemb") and isinstance(scale, dict) and values.dtype.kind in "iu":
        if scale.get("type") == "array":
            factors = _needed(vectors, str(scale.get("array_name")), "its quantization")
            return Rule("geoemb", no_scale, zero, pixel_scale=factors, nodata=nodata)
        factor, offset = scale.get("scale", 1.0), scale.get("offset", 0.0)
        return Rule("geoemb", np.array(float(factor)), np.array(float(offset)), nodata=nodata)
    if product == "tessera" or (product is None and vectors.beside("scales") is not None):
        return Rule("tessera", no_scale, zero, _needed(vectors, "scales", "TESSERA"), nodata=nodata)
    if product == "mind" or (product is None and vectors.beside("emb_scale") is not None):
        parts = [_needed(vectors, f"emb_{part}", "MIND").all() for part in ("scale", "offset")]
        if any(part.shape != (dim,) for part in parts):
            raise ValueError(
                f"emb_scale and emb_offset must hold {dim} numbers, as the vectors do."
            )
        factors_of, shift = (part.astype(np.float64) for part in parts)
        return Rule("mind", factors_of, shift, mask=vectors.beside("mask"), nodata=nodata)
    factor, offset = (values.attrs.get(key) for key in ("scale_factor", "add_offset"))
    if product is None and (factor is not None or offset is not None):
        times, plus = _number(factor), _number(offset)
        times, plus = 1.0 if times is None else times, 0.0 if plus is None else plus
        return Rule("plain", np.array(times), np.array(plus), nodata=nodata, limits=limits)
    profile = find_profile(product, dim, values.dtype)
    usual = () if profile.nodata is None else (profile.nodata,)
    return Rule(profile.name, no_scale, zero, nodata=nodata or usual, limits=limits)


def _limits(values: Variable) -> tuple[float, float]:
    """Read the valid range of stored numbers; one of another kind is of restored numbers."""
    said = values.attrs.get("valid_range")
    low, high = said if said is not None and np.size(said) == 2 else (None, None)
    stated = (values.attrs.get("valid_min", low), values.attrs.get("valid_max", high))
    found = [
        _number(limit) if np.asarray(limit).dtype.kind == values.dtype.kind else None
        for limit in stated
    ]
    return (
        -np.inf if found[0] is None else found[0],
        np.inf if found[1] is None else found[1],
    )


def _number(said: Any) -> float | None:
    """Read a number of an attribute; xarray writes those of floats as base64 of a double."""
    if isinstance(said, str):
        try:
            return float(said)
        except ValueError:
            packed = base64.b64decode(said + "==")
            return float(np.frombuffer(packed, "<f8")[0]) if len(packed) == 8 else None
    return None if said is None else float(np.ravel(said)[0])


def _needed(vectors: Vectors, name: str, product: str) -> Variable:
    found = vectors.beside(name)
    if found is None:
        raise ValueError(f"{product} needs an array {name!r:.60}; the store has none.")
    return found
