"""What is noted of one registered encoder."""

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
    authors, year, license : str, int, str
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
    embedded : bool
        Whether the weights come with this package.
    factory : str
        "module:function" of an encoder that needs no file, called with its name and the keywords
        dtype and device; further keywords are options of `load_encoder`.
    good_for : str
        What it is a first choice for, in its authors' evaluation.
    """

    name: str
    family: str
    dim: int
    authors: str
    year: int
    license: str
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
    embedded: bool = False
    factory: str = ""
    good_for: str = ""
