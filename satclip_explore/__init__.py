"""See what location encoders know of the Earth.

Longitude comes first, in degrees. Names are imported when they are first used, so that
`import satclip_explore` loads neither the user interface nor the training module.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

_HOME = {
    "load_encoder": "satclip_explore.encoders.registry",
    "list_encoders": "satclip_explore.encoders.registry",
    "concat": "satclip_explore.encoders.combine",
    "stack": "satclip_explore.encoders.combine",
    "load_atlas": "satclip_explore.atlas",
    "region": "satclip_explore.regions",
    "embed_grid": "satclip_explore.fields",
    "similarity_raster": "satclip_explore.fields",
    "pca_raster": "satclip_explore.projection",
    "nearest_neighbors": "satclip_explore.neighbors",
    "compare_encoders": "satclip_explore.comparison",
    "train_probe": "training.probe",
    "list_tasks": "training.tasks.atlas",
    "load_task": "training.tasks.atlas",
    "pretrain": "training.pretrain",
    "explore": "satclip_explore.notebook",
}

__all__ = sorted(_HOME)

try:
    __version__ = version("satclip-explore")
except PackageNotFoundError:  # run from a checkout that was not installed
    __version__ = "0.2.0"


def __getattr__(name: str) -> Any:
    """Import a public name from its home."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
