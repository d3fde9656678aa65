"""See what location encoders know of the Earth.

Longitude comes first, in degrees. Names are imported when they are first used, so that
`import satclip_explore` loads neither the user interface nor the training module.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from satclip_explore import panes as panes
    from satclip_explore.atlas import load_atlas as load_atlas
    from satclip_explore.comparison import compare_encoders as compare_encoders
    from satclip_explore.embedding_files import export_embeddings as export_embeddings
    from satclip_explore.encoders.base import LocationEncoder as LocationEncoder
    from satclip_explore.encoders.combine import concat as concat
    from satclip_explore.encoders.combine import stack as stack
    from satclip_explore.encoders.custom import from_callable as from_callable
    from satclip_explore.encoders.custom import from_module as from_module
    from satclip_explore.encoders.registry import list_encoders as list_encoders
    from satclip_explore.encoders.registry import load_encoder as load_encoder
    from satclip_explore.encoders.table import from_table as from_table
    from satclip_explore.fields import embed_grid as embed_grid
    from satclip_explore.fields import similarity_raster as similarity_raster
    from satclip_explore.files.cf import to_netcdf as to_netcdf
    from satclip_explore.files.geotiff import to_geotiff as to_geotiff
    from satclip_explore.files.places import read_places as read_places
    from satclip_explore.files.raster import to_png as to_png
    from satclip_explore.files.table import to_csv as to_csv
    from satclip_explore.files.table import to_geoparquet as to_geoparquet
    from satclip_explore.files.vector_files import to_vector as to_vector
    from satclip_explore.geo import Grid as Grid
    from satclip_explore.neighbors import nearest_neighbors as nearest_neighbors
    from satclip_explore.notebook import explore as explore
    from satclip_explore.projection import pca_raster as pca_raster
    from satclip_explore.regions import list_regions as list_regions
    from satclip_explore.regions import region as region
    from satclip_explore.times import change_raster as change_raster
    from satclip_explore.webpage.page import to_html as to_html
    from training.evaluate import evaluate as evaluate
    from training.evaluation.complementarity import complementarity as complementarity
    from training.pretrain import pretrain as pretrain
    from training.probe import train_probe as train_probe
    from training.probes.saved import load_probe as load_probe
    from training.tasks.atlas import list_tasks as list_tasks
    from training.tasks.atlas import load_task as load_task
    from training.tasks.presence import presence_task as presence_task
    from training.tasks.tables import task_from_table as task_from_table

_HOME = {
    "Grid": "satclip_explore.geo",
    "LocationEncoder": "satclip_explore.encoders.base",
    "change_raster": "satclip_explore.times",
    "compare_encoders": "satclip_explore.comparison",
    "complementarity": "training.evaluation.complementarity",
    "concat": "satclip_explore.encoders.combine",
    "embed_grid": "satclip_explore.fields",
    "evaluate": "training.evaluate",
    "explore": "satclip_explore.notebook",
    "export_embeddings": "satclip_explore.embedding_files",
    "from_callable": "satclip_explore.encoders.custom",
    "from_module": "satclip_explore.encoders.custom",
    "from_table": "satclip_explore.encoders.table",
    "list_encoders": "satclip_explore.encoders.registry",
    "list_regions": "satclip_explore.regions",
    "list_tasks": "training.tasks.atlas",
    "load_atlas": "satclip_explore.atlas",
    "load_encoder": "satclip_explore.encoders.registry",
    "load_probe": "training.probes.saved",
    "load_task": "training.tasks.atlas",
    "nearest_neighbors": "satclip_explore.neighbors",
    "panes": "satclip_explore",
    "pca_raster": "satclip_explore.projection",
    "pretrain": "training.pretrain",
    "read_places": "satclip_explore.files.places",
    "region": "satclip_explore.regions",
    "similarity_raster": "satclip_explore.fields",
    "stack": "satclip_explore.encoders.combine",
    "presence_task": "training.tasks.presence",
    "task_from_table": "training.tasks.tables",
    "to_csv": "satclip_explore.files.table",
    "to_geoparquet": "satclip_explore.files.table",
    "to_geotiff": "satclip_explore.files.geotiff",
    "to_html": "satclip_explore.webpage.page",
    "to_netcdf": "satclip_explore.files.cf",
    "to_png": "satclip_explore.files.raster",
    "to_vector": "satclip_explore.files.vector_files",
    "train_probe": "training.probe",
}
"""Where each public name lives. The imports above say the same to type checkers and editors."""

__all__ = sorted(_HOME)

try:
    __version__ = version("satclip-explore")
except PackageNotFoundError:  # run from a checkout that was not installed
    __version__ = "0.2.0"


def __getattr__(name: str) -> Any:
    """Import a public name from its home."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "panes":
        return import_module("satclip_explore.panes")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
