"""Random convolutional features, the features of MOSAIKS, computed here from a picture of Earth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from satclip_explore.atlas import codes_at, land_mask
from satclip_explore.encoders.base import LocationEncoder, resolve_device, resolve_dtype
from satclip_explore.encoders.table import GridTable
from satclip_explore.geo import GLOBE, Grid, as_lonlat, equal_area_sample

N_FILTERS = 128
"""Filters of the encoder; each gives two numbers."""

KERNEL = 3
"""Edge of a filter in pixels."""

CELLS = (128, 256)
"""Rows and columns of the table of features: 1.4° each, 156 km at the equator."""

LARGEST = (4096, 8192)
"""Largest picture that is read, rows and columns."""

THRESHOLD = 0.5
"""Of the rectifiers, in deviations of a response over land: smooth land seldom passes 1."""

N_PATCHES = 4096
PIXELS_AT_ONCE = 131_072


class RandomConvolutions(nn.Module):
    """Random convolutional features: patches of the data itself as filters, averaged responses.

    Parameters
    ----------
    patches : torch.Tensor, shape (F, C, k, k)
        Filters, drawn from the images and whitened by the caller or random.
    bias : float
        Threshold of the two rectifiers.

    References
    ----------
    Rolf et al. (2021), "A generalizable and accessible approach to machine learning with global
    satellite imagery", Nature Communications 12:4392.
    """

    patches: torch.Tensor

    def __init__(self, patches: torch.Tensor, bias: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("patches", patches)
        self.bias = bias
        self.dim = 2 * len(patches)

    def responses(self, images: torch.Tensor) -> torch.Tensor:
        """Rectify the positive and negative responses of every filter, (n, 2F, H', W')."""
        found = nn.functional.conv2d(images, self.patches)
        return torch.cat([torch.relu(found - self.bias), torch.relu(-found - self.bias)], dim=1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Average the responses over each image, (n, 2F)."""
        return self.responses(images).mean(dim=(2, 3))


def whitened_filters(patches: NDArray[Any], n_filters: int) -> torch.Tensor:
    """Make filters of patches of the images: centered, whitened, of unit length.

    Parameters
    ----------
    patches : numpy.ndarray, shape (P, C, k, k)
        The first `n_filters` become filters; all of them say what is white.
    n_filters : int
        Filters F.

    Returns
    -------
    torch.Tensor, shape (F, C, k, k), float32
    """
    flat = patches.reshape(len(patches), -1).astype(np.float64)
    centered = flat - flat.mean(axis=0)
    values, vectors = np.linalg.eigh(centered.T @ centered / len(flat))
    whiten = vectors / np.sqrt(values + 1e-3 * values.max()) @ vectors.T
    filters = centered[:n_filters] @ whiten
    filters /= np.linalg.norm(filters, axis=1, keepdims=True) + 1e-12
    # Responses of a filter on whitened patches: the whitening is folded into the filter.
    filters = (filters @ whiten).reshape(n_filters, *patches.shape[1:])
    return torch.from_numpy(filters.astype(np.float32))


class ConvolvedPicture(LocationEncoder):
    """Features of the land around a place, averaged over cells of 1.4° and read off bilinearly.

    Filters see the picture as it is, plate carrée: toward the poles it is stretched.

    Parameters
    ----------
    pixels : numpy.ndarray, shape (H, W, 3), uint8
        The whole globe, row 0 in the north; H a multiple of 128, W = 2 H.
    name, dtype, device : str
        As in `load_encoder`.
    seed : int
        Of the patches that become filters.
    """

    family = "rcf"
    embed_dim = 2 * N_FILTERS

    def __init__(
        self,
        pixels: NDArray[np.uint8],
        *,
        name: str = "mosaiks-mini",
        dtype: str = "float32",
        device: str = "auto",
        seed: int = 0,
    ) -> None:
        self.name = name
        self.dtype, self.device = resolve_dtype(dtype), resolve_device(device)
        grid = Grid(GLOBE, CELLS)
        features = _cell_features(pixels, seed)
        self._table = GridTable(grid.lon, grid.lat, features, name=name, dtype=dtype, device=device)
        self.weights_hash = self._table.weights_hash

    def coverage(self, lonlat: Any) -> NDArray[np.bool_]:
        """Tell which places lie on land; see `LocationEncoder.coverage`."""
        places = as_lonlat(lonlat)
        return (codes_at(places) > 0) & self._table.coverage(places)

    def encode(self, lonlat: torch.Tensor) -> torch.Tensor:
        """Encode one chunk of checked places; see `LocationEncoder.encode`."""
        out = self._table.encode(lonlat)
        out[torch.from_numpy(codes_at(lonlat.cpu()) == 0).to(self.device)] = torch.nan
        return out


def read_convolved_picture(
    path: str | Path, *, name: str = "mosaiks-mini", dtype: str = "float32", device: str = "auto"
) -> ConvolvedPicture:
    """Compute random convolutional features of a picture of the globe.

    Parameters
    ----------
    path : str or Path
        PNG or JPEG in plate carrée: 180° W to 180° E, the north up, twice as wide as high.
    name, dtype, device : str
        As in `load_encoder`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ModuleNotFoundError
        If Pillow is not installed.
    ValueError
        If the file is no such picture, or too small or too large.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise ModuleNotFoundError(
            "features of a picture need Pillow; install it with: pip install pillow"
        ) from error
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no picture at {path}; pass a JPEG or PNG of the whole globe.")
    try:
        with Image.open(path, formats=("JPEG", "PNG")) as picture:
            width, height = picture.size
            if width != 2 * height or height % CELLS[0] or not CELLS[0] <= height <= LARGEST[0]:
                raise ValueError(
                    f"{path.name} must show the globe in plate carrée, twice as wide as high, its "
                    f"height a multiple of {CELLS[0]} up to {LARGEST[0]}; got {width} x {height}."
                )
            pixels = np.asarray(picture.convert("RGB"))
    # Decoders raise many kinds of errors on damaged files.
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path.name} cannot be read as a JPEG or PNG picture.") from error
    return ConvolvedPicture(pixels, name=name, dtype=dtype, device=device)


@torch.no_grad()
def _cell_features(pixels: NDArray[np.uint8], seed: int) -> NDArray[np.float32]:
    """Average filter responses over the land of every cell: (128, 256, 2F), NaN far at sea."""
    height, width = pixels.shape[:2]
    land = land_mask(Grid(GLOBE, (height, width)))
    image = torch.from_numpy(pixels.astype(np.float32) / 255.0).permute(2, 0, 1)[None]
    # Around the antimeridian the picture goes on; at the poles its edge is repeated.
    margin = KERNEL // 2
    image = nn.functional.pad(image, (margin, margin, 0, 0), mode="circular")
    image = nn.functional.pad(image, (0, 0, margin, margin), mode="replicate")
    patches = _land_patches(image[0], land, seed)
    network = RandomConvolutions(whitened_filters(patches, N_FILTERS), THRESHOLD)
    # About the mean color of land: else a filter would answer to brightness, on one side alone.
    image -= torch.from_numpy(patches.mean(axis=(0, 2, 3)))[:, None, None]
    edge = height // CELLS[0]
    mask = torch.from_numpy(land.astype(np.float32))[None, None]
    sums, counts = [], nn.functional.avg_pool2d(mask, edge)[0, 0]
    step = edge * max(1, PIXELS_AT_ONCE // (width * edge))
    for top in range(0, height, step):
        bottom = min(top + step, height)
        responses = network.responses(image[:, :, top : bottom + 2 * margin])
        sums.append(nn.functional.avg_pool2d(responses * mask[:, :, top:bottom], edge)[0])
    features = torch.cat(sums, dim=1) / counts.clamp(min=1e-9)
    return _fill(features, counts > 0).permute(1, 2, 0).contiguous().numpy()


def _land_patches(image: torch.Tensor, land: NDArray[np.bool_], seed: int) -> NDArray[np.float32]:
    """Cut patches around places of the land, uniform by area: (P, 3, k, k)."""
    height, width = land.shape
    lon, lat = equal_area_sample(8 * N_PATCHES, seed=seed).T
    rows = ((90.0 - lat) * (height / 180.0)).astype(int).clip(0, height - 1)
    columns = ((lon + 180.0) * (width / 360.0)).astype(int).clip(0, width - 1)
    on_land = np.flatnonzero(land[rows, columns])[:N_PATCHES]
    windows = image.unfold(1, KERNEL, 1).unfold(2, KERNEL, 1)
    return windows[:, rows[on_land], columns[on_land]].permute(1, 0, 2, 3).contiguous().numpy()


def _fill(features: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Give cells beside the land the mean of their neighbors; NaN farther out.

    Two rings: the four cells around a place on land then all have features. Columns wrap.
    """
    known = known.float()[None]
    features = features * known
    for _ in range(2):
        padded = nn.functional.pad(torch.cat([features, known]), (1, 1, 0, 0), mode="circular")
        padded = nn.functional.pad(padded, (0, 0, 1, 1))
        sums = nn.functional.avg_pool2d(padded, 3, stride=1, divisor_override=1)
        fresh = (known == 0) & (sums[-1:] > 0.5)
        features = torch.where(fresh, sums[:-1] / sums[-1:].clamp(min=1.0), features)
        known = torch.where(fresh, torch.ones_like(known), known)
    return features.masked_fill(known == 0, torch.nan)
