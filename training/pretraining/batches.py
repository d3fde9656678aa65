"""Everything a step needs, on the device: whitened image features and harmonics of the places."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from satclip_explore.encoders.spherical_harmonics import harmonics_by_feature
from satclip_explore.geo import as_lonlat, unit_vectors
from training.imagery.cache import Features
from training.imagery.source import displace
from training.pretraining.config import PretrainConfig
from training.pretraining.model import ContrastiveModel, degree_factors

HARMONICS_BYTES = 2_000_000_000
"""Harmonics of all places are kept up to this size; beyond it each batch computes its own."""

FIT_PLACES = 60_000
"""Images that the whitening is fitted on, about: every k-th, and fewer than twice as many."""

CHUNK = 8192
"""Places whose harmonics are computed at once."""


class PlacePairs:
    """Training and validation pairs of one run.

    Parameters
    ----------
    features : Features
        The cache.
    config : PretrainConfig
        Settings.
    device : torch.device
        Where batches are wanted.
    ranks : int
        Processes that share a batch.

    Raises
    ------
    ValueError
        If fewer pairs are usable than a batch and the validation need.
    """

    def __init__(
        self,
        features: Features,
        config: PretrainConfig,
        device: torch.device,
        ranks: int = 1,
    ) -> None:
        self.config, self.device = config, device
        self.lonlat = features.lonlat
        rows = np.flatnonzero(features.usable & features.on_land)
        order = np.random.default_rng([config.training.seed, 4]).permutation(rows)
        n_validation = config.imagery.validation_places
        self.validation = np.sort(order[:n_validation])
        self.training = np.sort(order[n_validation:])
        self.at_sea = np.flatnonzero(features.usable & ~features.on_land)
        # Every batch has the same mixture, its places on land first.
        share = len(self.at_sea) / max(1, len(self.at_sea) + len(self.training))
        self.batch_at_sea = ranks * round(share * config.training.batch_size / ranks)
        self.batch_on_land = config.training.batch_size - self.batch_at_sea
        if not self.batch_on_land:
            raise ValueError(
                f"ocean_fraction={config.imagery.ocean_fraction:g} leaves no place on land in a "
                f"batch of {config.training.batch_size:,}; set it lower."
            )
        if len(order) < n_validation + self.batch_on_land:
            raise ValueError(
                f"{len(order):,} usable images are too few for batches of "
                f"{config.training.batch_size:,} and {n_validation:,} validation places; set "
                "batch_size and validation_places lower."
            )
        self.unusable = int((~features.usable).sum())
        self._table = features.table
        self._whitened: torch.Tensor | None = None
        self._harmonics: torch.Tensor | None = None
        # The images of Blue Marble are displaced in the cache; those of files stay, so their
        # locations move.
        published = config.features.jitter == "published"
        self.moves = config.imagery.source != "blue-marble" and (
            published or config.features.jitter_m > 0
        )
        self._factors = degree_factors(
            config.location.legendre_polys, config.location.degree_damping
        ).to(device)

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in the training places."""
        return len(self.training) // self.batch_on_land

    @property
    def left_out(self) -> int:
        """Training places too few for another batch: others in every epoch."""
        return len(self.training) - self.steps_per_epoch * self.batch_on_land

    def fit(self, model: ContrastiveModel) -> None:
        """Fit whitening and position features on training places, their images undisturbed."""
        step = max(1, len(self.training) // FIT_PLACES)
        rows = self.training[::step]
        model.whitening.fit(np.asarray(self._table[0][rows]))
        if model.targets.position is not None:
            vectors = torch.from_numpy(unit_vectors(self.lonlat[rows])).float()
            model.targets.position.fit(vectors)

    def load(self, model: ContrastiveModel) -> None:
        """Whiten all images once, and compute the harmonics where they fit in memory."""
        augmentations, places, _ = self._table.shape
        whitened = torch.empty(
            augmentations, places, model.whitening.dim, dtype=torch.float16, device=self.device
        )
        for version in range(augmentations):
            for start in range(0, places, CHUNK):
                images = np.array(self._table[version, start : start + CHUNK])
                values = model.whitening(torch.from_numpy(images).to(self.device))
                whitened[version, start : start + CHUNK] = values
        self._whitened = whitened.flatten(0, 1)
        size = len(self.lonlat) * len(self._factors) * torch.float32.itemsize
        if size <= HARMONICS_BYTES and not self.moves:
            kept = torch.empty(
                len(self.lonlat), len(self._factors), dtype=torch.float32, device=self.device
            )
            for start in range(0, len(self.lonlat), CHUNK):
                part = self.harmonics(self.lonlat[start : start + CHUNK])
                kept[start : start + CHUNK] = part
            self._harmonics = kept

    def harmonics(self, lonlat: NDArray[np.float64]) -> torch.Tensor:
        """Compute damped harmonics, shape (n, L²), float32."""
        location = self.config.location
        places = torch.from_numpy(lonlat).to(self.device)
        values = harmonics_by_feature(
            places, location.legendre_polys, location.harmonics_calculation
        )
        return values.T.to(torch.float32).mul_(self._factors)

    def epoch(self, epoch: int) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Shuffle the places into batches of (place, version), the same on every rank."""
        rng = np.random.default_rng([self.config.training.seed, 5, epoch])
        steps = self.steps_per_epoch
        land = rng.permutation(self.training)[: steps * self.batch_on_land].reshape(steps, -1)
        # There may be one place at sea too few for the last batch: the first one comes again.
        sea = np.resize(rng.permutation(self.at_sea), (steps, self.batch_at_sea))
        rows = np.concatenate([land, sea], axis=1)
        versions = rng.integers(self.config.features.augmentations, size=rows.shape)
        return list(zip(rows, versions, strict=True))

    def own(self, rank: int, ranks: int) -> NDArray[np.int64]:
        """Return which positions of a batch one of several processes takes, land first."""
        land, sea = self.batch_on_land // ranks, self.batch_at_sea // ranks
        return np.concatenate(
            [
                np.arange(rank * land, (rank + 1) * land),
                self.batch_on_land + np.arange(rank * sea, (rank + 1) * sea),
            ]
        )

    def batch(
        self, rows: NDArray[np.int64], versions: NDArray[np.int64], rng: np.random.Generator
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return harmonics (B, L²), whitened images (B, K) and unit vectors (B, 3) of pairs."""
        assert self._whitened is not None
        places = torch.from_numpy(rows).to(self.device)
        index = torch.from_numpy(versions * len(self.lonlat) + rows).to(self.device)
        lonlat = self.lonlat[rows]
        if self._harmonics is not None:
            harmonics = self._harmonics[places]
        else:
            lonlat = self._moved(lonlat, rng) if self.moves else lonlat
            harmonics = self.harmonics(lonlat)
        vectors = torch.from_numpy(unit_vectors(lonlat)).to(self.device, torch.float32)
        return harmonics, self._whitened[index].float(), vectors

    def _moved(self, lonlat: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
        features = self.config.features
        if features.jitter == "published":
            return as_lonlat(np.minimum(lonlat + rng.uniform(0.0, 0.01, lonlat.shape), [360, 90]))
        return displace(lonlat, features.jitter_m, rng)

    def unseen(self, part: slice) -> tuple[torch.Tensor, torch.Tensor]:
        """Return float32 harmonics and whitened images of some validation places, undisturbed."""
        assert self._whitened is not None
        rows = self.validation[part]
        index = torch.from_numpy(rows).to(self.device)
        return self.harmonics(self.lonlat[rows]), self._whitened[index].float()
