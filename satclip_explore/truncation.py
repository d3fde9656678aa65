"""What L degrees of harmonics can resolve: a picture, or an encoder, cut at L."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from satclip_explore.checks import whole_number
from satclip_explore.encoders.base import LocationEncoder
from satclip_explore.encoders.baselines import load_baseline
from satclip_explore.encoders.satclip import SatCLIP, build_encoder
from satclip_explore.encoders.spherical_harmonics import legendre_rows
from satclip_explore.geo import EARTH_RADIUS_KM, GLOBE, Grid

MAX_DEGREES = 200


def shortest_wave_km(legendre_polys: int) -> float:
    """Return the length of the shortest wave that L degrees hold, at the equator, in km.

    The highest degree, L - 1, has L - 1 waves around the globe; a feature narrower than half of
    one is blurred. Infinite for L = 1, which is one constant.

    Examples
    --------
    >>> [round(shortest_wave_km(L)) for L in (10, 20, 40)]
    [4448, 2107, 1026]
    """
    _check(legendre_polys)
    circumference = 2.0 * np.pi * EARTH_RADIUS_KM
    return circumference / (legendre_polys - 1) if legendre_polys > 1 else float("inf")


def truncate_raster(values: ArrayLike, legendre_polys: int) -> NDArray[np.float64]:
    """Write a raster of the globe with the harmonics of degree below L, and nothing else.

    The best such approximation over the sphere, each pixel weighted by its area.

    Parameters
    ----------
    values : array_like, shape (H, W) or (H, W, C)
        Pixel centers of the whole globe, row 0 in the north; finite.
    legendre_polys : int
        Number of degrees L, at most H and W / 2.

    Returns
    -------
    numpy.ndarray, the same shape, float64
        Near sharp borders it overshoots, as every truncated series does.

    Raises
    ------
    ValueError
        If values are no finite raster, or L is below 1 or too high for its pixels.
    """
    raster = np.asarray(values, dtype=np.float64)
    if raster.ndim not in (2, 3) or raster.size == 0 or not np.isfinite(raster).all():
        raise ValueError(
            f"need a finite raster of the globe, shape (H, W) or (H, W, C); got {raster.shape}."
        )
    height, width = raster.shape[:2]
    _check(legendre_polys)
    if legendre_polys > min(height, width // 2):
        raise ValueError(
            f"{height} x {width} pixels hold at most {min(height, width // 2)} degrees; got "
            f"L = {legendre_polys}."
        )
    grid = Grid(GLOBE, (height, width))
    rows = legendre_rows(torch.from_numpy(grid.lat), legendre_polys)
    root = np.sqrt(grid.area_weights)[:, None]
    # Orders are apart from one another on a ring; degrees of one order are fitted together.
    orders = np.fft.rfft(raster.reshape(height, width, -1), axis=1)
    for m in range(orders.shape[1]):
        if m >= legendre_polys:
            orders[:, m:] = 0.0
            break
        basis = np.stack([rows[l][m].numpy() for l in range(m, legendre_polys)], axis=1)
        across, _ = np.linalg.qr(root * basis)
        orders[:, m] = across @ (across.T @ (root * orders[:, m])) / root
    return np.fft.irfft(orders, n=width, axis=1).reshape(raster.shape)


@torch.no_grad()
def truncate_encoder(encoder: LocationEncoder, legendre_polys: int) -> LocationEncoder:
    """Cut a SatCLIP encoder's harmonics at degree L; take an untrained one for any other.

    The weights of the lower degrees stay as they were learned, so this shows what the encoder owes
    to the finer ones. It is not what training with L degrees would give.

    Parameters
    ----------
    encoder : LocationEncoder
        Where it is no SatCLIP, or has L degrees or fewer, the answer is `random-l{L}`.
    legendre_polys : int
        Number of degrees L.

    Raises
    ------
    ValueError
        If L is not from 1 to 200.
    """
    _check(legendre_polys)
    if not isinstance(encoder, SatCLIP) or legendre_polys > encoder.legendre_polys:
        device = str(encoder.device)
        return load_baseline(f"random-l{legendre_polys}", device=device)
    if legendre_polys == encoder.legendre_polys:
        return encoder
    config = replace(
        encoder.config,
        legendre_polys=legendre_polys,
        name=f"{encoder.name} cut at L = {legendre_polys}",
    )
    state = dict(encoder.network.state_dict())
    # Columns run over degrees: the first L² belong to those below L.
    state["layers.0.weight"] = state["layers.0.weight"][:, : legendre_polys**2].contiguous()
    return build_encoder(config, state, dtype=encoder.dtype, device=encoder.device)


def _check(legendre_polys: Any) -> None:
    whole_number(legendre_polys, "legendre_polys", 1, MAX_DEGREES)
