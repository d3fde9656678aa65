"""Facts about every registered encoder: who made it, from what, under which licence, where it is.

Sizes and hashes are those of the published files where they are known; a file without a known
hash is trusted when it is first downloaded and checked against that from then on.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class EncoderCard:
    """One registered encoder.

    Parameters
    ----------
    name, family : str
        What one types, and which loader reads it.
    dim : int
        Numbers per place.
    authors, year, licence : str, int, str
        Of the weights.
    training_data, coverage : str
        What it learned from, and where it has something to say.
    source : str
        Page of the weights' origin.
    size_mb : float or None
        Download size in MB; None where nothing is downloaded or it is not known.
    repo_id, filename, revision : str
        On the Hugging Face hub: repository, file, and commit ("main" where none is pinned).
    url : str
        Direct address, for files elsewhere.
    sha256 : str or None
        Of the file, in hex.
    manual : str
        Where only a person can download it: where to click and which file to take.
    """

    name: str
    family: str
    dim: int
    authors: str
    year: int
    licence: str
    training_data: str
    coverage: str = "global"
    source: str = ""
    size_mb: float | None = None
    repo_id: str = ""
    filename: str = ""
    revision: str = "main"
    url: str = ""
    sha256: str | None = None
    manual: str = ""


def _satclip(backbone: str, legendre_polys: int) -> EncoderCard:
    repo_id = f"microsoft/SatCLIP-{backbone}-L{legendre_polys}"
    name = f"satclip-{backbone.lower()}-l{legendre_polys}"
    return EncoderCard(
        name=name,
        family="satclip",
        dim=256,
        authors="Klemmer, Rolf, Robinson, Mackey, Rußwurm",
        year=2023,
        licence="MIT",
        training_data=f"S2-100K: 100,000 Sentinel-2 images, frozen {backbone} (MoCo)",
        source=f"https://huggingface.co/{repo_id}",
        repo_id=repo_id,
        filename=f"{name}.ckpt",
    )


def _mini(legendre_polys: int) -> EncoderCard:
    return EncoderCard(
        name=f"mini-l{legendre_polys}",
        family="embedded",
        dim=256,
        authors="satclip-explore",
        year=2026,
        licence="MIT",
        training_data="Blue Marble Next Generation, twelve months of 2004 (NASA, public domain)",
        source="embedded in this package",
    )


def _baseline(name: str, dim: int, what: str) -> EncoderCard:
    return EncoderCard(
        name=name,
        family="baseline",
        dim=dim,
        authors="none",
        year=2026,
        licence="MIT",
        training_data=f"none: {what}",
        source="computed",
    )


_ALL = [
    _mini(40),
    _mini(10),
    *(_satclip(backbone, L) for backbone in ("ResNet18", "ResNet50", "ViT16") for L in (10, 40)),
    _baseline("lonlat", 2, "longitude and latitude"),
    _baseline("xyz", 3, "unit vector"),
    _baseline("wrap", 4, "sines and cosines of the coordinates"),
    *(_baseline(f"harmonics-l{L}", L * L, f"spherical harmonics, L = {L}") for L in (10, 40)),
    *(_baseline(f"random-l{L}", 256, f"an untrained SatCLIP, L = {L}") for L in (10, 40)),
]

CARDS = {card.name: card for card in _ALL}
"""Every registered encoder by name, the embedded ones first."""
