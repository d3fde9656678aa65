"""Frozen image encoders: published Sentinel-2 backbones."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from satclip_explore.encoders.tensor_files import read_torch_file
from satclip_explore.encoders.weights import fetch_from_hub
from satclip_explore.errors import MissingFileError, Offer

CACHE = Path("~/.cache/satclip_explore/backbones")
"""Where fetched weights are kept."""


def read_backbone_weights(
    backbone: Backbone, weights: str | Path | None, *, download: bool
) -> dict[str, torch.Tensor]:
    """Read the weights of a backbone, without executing what the file may hold.

    Parameters
    ----------
    backbone : Backbone
        Which one.
    weights : str, pathlib.Path or None
        The file; None looks into the cache, and takes nothing but the published file.
    download : bool
        Fetch it when the cache lacks it.

    Returns
    -------
    dict of str to torch.Tensor
        Keys as in timm; the classifier is left out.

    Raises
    ------
    FileNotFoundError
        If the file is not there.
    ValueError
        If the file in the cache is not the published one.
    """
    path = Path(weights) if weights is not None else CACHE.expanduser() / backbone.filename
    if not path.is_file() and weights is None and download:
        fetch_from_hub(backbone.repo_id, backbone.filename, backbone.revision, path)
    if not path.is_file():
        raise MissingFileError(
            f"no weights of the image encoder at {path}, where {backbone.url} belongs.",
            Offer.DOWNLOAD,
        )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if weights is None and not digest.startswith(backbone.checksum):
        raise ValueError(
            f"{path} is not the published file: its SHA-256 starts with {digest[:8]}, not "
            f"{backbone.checksum}. Delete it and download it again."
        )
    content = read_torch_file(path)
    state = content.get("state_dict", content)
    kept = {
        str(key).removeprefix("module.encoder_q.").removeprefix("module."): value
        for key, value in state.items()
        if isinstance(value, torch.Tensor)
    }
    return {key: value for key, value in kept.items() if not key.startswith(("fc.", "head."))}


SSL4EO_BANDS = (
    *("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09"),
    *("B10", "B11", "B12"),
)
"""Order of the 13 bands that the SSL4EO-S12 weights expect."""


@dataclass(frozen=True)
class Backbone:
    """A published image encoder and its weights.

    Parameters
    ----------
    model : str
        Name in timm.
    dim : int
        Length of a feature vector.
    repo_id, revision, filename : str
        On the Hugging Face hub. The file name ends in the first eight digits of its SHA-256.
    image_size : int
        Pixels along the edge that the model takes; larger images are cropped to their center. 0: it
        takes any size, and sees the whole image.
    """

    model: str
    dim: int
    repo_id: str
    revision: str
    filename: str
    image_size: int = 0

    @property
    def url(self) -> str:
        """Address of the weights."""
        return f"https://huggingface.co/{self.repo_id}/resolve/{self.revision}/{self.filename}"

    @property
    def checksum(self) -> str:
        """First eight hex digits of the SHA-256 of the weights."""
        return Path(self.filename).stem.rpartition("-")[2]


BACKBONES = {
    "resnet18": Backbone(
        "resnet18",
        512,
        "torchgeo/resnet18_sentinel2_all_moco",
        "5b8cddc9a14f3844350b7f40b85bcd32aed75918",
        "resnet18_sentinel2_all_moco-59bfdff9.pth",
    ),
    "resnet50": Backbone(
        "resnet50",
        2048,
        "torchgeo/resnet50_sentinel2_all_moco",
        "da4f3c9dbe09272eb902f3b37f46635fa4726879",
        "resnet50_sentinel2_all_moco-df8b932e.pth",
    ),
    "vit16": Backbone(
        "vit_small_patch16_224",
        384,
        "torchgeo/vit_small_patch16_224_sentinel2_all_moco",
        "1cb683f6c14739634cdfaaceb076529adf898c74",
        "vit_small_patch16_224_sentinel2_all_moco-67c9032d.pth",
        image_size=224,
    ),
}
"""SSL4EO-S12 (Wang et al. 2023, CC BY 4.0), MoCo, 13 bands; published with torchgeo."""


class Frozen(nn.Module):
    """A network that never changes: no gradients, and stored statistics that stay.

    Parameters
    ----------
    network : torch.nn.Module
        Maps (n, C, H, W) to (n, dim).
    batch_statistics : bool
        Normalize each batch by its own mean and variance, as the authors' training did, in place of
        the stored ones.
    """

    def __init__(self, network: nn.Module, *, batch_statistics: bool = False) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(False)
        if batch_statistics:
            for layer in network.modules():
                if isinstance(layer, nn.BatchNorm2d):
                    layer.track_running_stats = False
                    layer.running_mean = layer.running_var = None

    def train(self, mode: bool = True) -> Frozen:
        """Stay in evaluation mode, whatever the surrounding model is put in."""
        del mode
        return super().train(False)

    @torch.no_grad()
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Describe images, shape (n, C, H, W), by features, shape (n, dim)."""
        return self.network(images)


def load_backbone(
    name: str,
    weights: str | Path | None = None,
    *,
    download: bool = False,
    batch_statistics: bool = False,
) -> Frozen:
    """Build a published backbone, frozen.

    Parameters
    ----------
    name : str
        A key of `BACKBONES`.
    weights : str or pathlib.Path, optional
        Its file; default the cache.
    download : bool
        Fetch missing weights.
    batch_statistics : bool
        See `Frozen`.

    Raises
    ------
    ImportError
        If timm is not installed.
    FileNotFoundError
        If the weights are not on this machine.
    ValueError
        If the file is not these weights.
    """
    try:
        import timm
    except ImportError as error:
        raise ImportError(
            f"the backbone {name!r} needs timm: pip install timm torchvision."
        ) from error
    backbone = BACKBONES[name]
    network = timm.create_model(backbone.model, in_chans=len(SSL4EO_BANDS), num_classes=0)
    found = read_backbone_weights(backbone, weights, download=download)
    try:
        network.load_state_dict(found)
    except RuntimeError as error:
        raise ValueError(
            f"{weights or backbone.filename} does not hold the weights of {name}: its keys or "
            "shapes are others."
        ) from error
    return Frozen(network, batch_statistics=batch_statistics)
