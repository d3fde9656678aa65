"""CSP: a grid-cell encoder pretrained against images (Mai et al. 2023), on FMoW or iNaturalist."""

from __future__ import annotations

from pathlib import Path

from satclip_explore.encoders.space2vec import Space2Vec, read_space2vec


def read_csp(
    path: str | Path, *, name: str = "csp", dtype: str = "float32", device: str = "auto"
) -> Space2Vec:
    """Load a released .pth.tar file of CSP.

    Parameters
    ----------
    path : str or Path
        File with `params`, `state_dict` and `optimizer`. The encoder is read from its parameters:
        32 frequencies between 0.1 and 360, one hidden layer of 512 with layer norm, 256 outputs
        that pass the activation too (gelu for FMoW, leaky ReLU for iNaturalist).
    name, dtype, device : str
        As in `load_encoder`. A CUDA device stored in the file does not matter.

    Returns
    -------
    Space2Vec

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, would run code, or does not hold such an encoder.

    References
    ----------
    Mai et al. (2023), "CSP: Self-Supervised Contrastive Spatial Pre-Training for
    Geospatial-Visual Representations", ICML.
    """
    return read_space2vec(path, name=name, family="csp", dtype=dtype, device=device)
