"""HDF5 files that keep their data in other files: refused, since a stranger's could name any."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def refuse_other_files(source: Any) -> None:
    """Refuse an HDF5 file whose arrays or links lead to other files of this machine.

    Parameters
    ----------
    source : path or binary stream
        Of the file.

    Raises
    ------
    ValueError
        If an array is stored outside of the file or put together from others, or a link leads out.
    OSError, RuntimeError, KeyError
        If the file is damaged, or is no HDF5.

    Notes
    -----
    HDF5 itself opens whatever path such a file names, and gives its bytes as numbers.
    """
    try:
        import h5py
    except ImportError as error:
        raise ImportError("NetCDF needs h5py: pip install 'satclip-explore[geo]'") from error
    with h5py.File(source, "r") as file:
        name = file.visititems(_is_elsewhere) or file.visititems_links(_leads_out)
    if name:
        raise ValueError(
            f"the array {Path(name).name!r:.60} lies in another file; copy it into this one first."
        )


def _is_elsewhere(name: str, item: Any) -> str | None:
    import h5py

    array = isinstance(item, h5py.Dataset)
    return name if array and (item.external or item.is_virtual) else None


def _leads_out(name: str, link: Any) -> str | None:
    import h5py

    return name if isinstance(link, h5py.ExternalLink) else None
