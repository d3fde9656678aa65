"""Dense layers out of Keras 2 weight files, without Keras."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Layer = tuple[NDArray[np.float32], NDArray[np.float32]]


def read_dense_layers(path: str | Path, shapes: list[tuple[int, int]]) -> list[Layer]:
    """Read kernels and biases of dense layers, in the order of the network.

    Parameters
    ----------
    path : str or Path
        HDF5 file of `save_weights`, or of `save`, which nests the same under model_weights.
    shapes : list of (int, int)
        Expected inputs and outputs of every layer.

    Returns
    -------
    list of (kernel, bias)
        float32, of shapes (inputs, outputs) and (outputs,).

    Raises
    ------
    ModuleNotFoundError
        If h5py is not installed.
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged, or its layers are others.
    """
    try:
        import h5py
    except ImportError as error:
        raise ModuleNotFoundError(
            "GPS2Vec's files need h5py; install it with: pip install h5py"
        ) from error
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file at {path}.")
    try:
        with h5py.File(path, "r") as file:
            root = file["model_weights"] if "layer_names" not in file.attrs else file
            arrays = [
                dataset
                for name in _names(root, "layer_names")
                for dataset in _arrays(root[name], h5py.Dataset)
            ]
            return _check(arrays, shapes, path.name)
    except (OSError, KeyError, RuntimeError, TypeError, AttributeError) as error:
        raise ValueError(f"{path.name} is damaged or is not a Keras 2 weight file.") from error


def _names(group: Any, attribute: str) -> list[str]:
    values = np.asarray(group.attrs[attribute]).tolist()
    return [v.decode() if isinstance(v, bytes) else str(v) for v in values]


def _arrays(group: Any, kind: Any) -> list[Any]:
    """Return a layer's datasets; what is stored outside the file is refused."""
    found = [group[name] for name in _names(group, "weight_names")]
    own = group.file.filename
    if any(
        not isinstance(item, kind) or item.external or item.is_virtual or item.file.filename != own
        for item in found
    ):
        raise KeyError("weight_names")
    return found


def _check(arrays: list[Any], shapes: list[tuple[int, int]], source: str) -> list[Layer]:
    """Compare shapes before anything is read, then read."""
    expected = [shape for n, m in shapes for shape in ((n, m), (m,))]
    got = [tuple(array.shape) for array in arrays]
    if got != expected:
        wrong = next(
            (f"{b} where {a} belongs" for a, b in zip(expected, got, strict=False) if a != b),
            f"{len(got)} arrays where {len(expected)} belong",
        )
        raise ValueError(f"{source} holds other layers than GPS2Vec's: {wrong}.")
    values = [np.asarray(array[()], dtype=np.float32) for array in arrays]
    if not all(np.isfinite(value).all() for value in values):
        raise ValueError(f"{source} holds weights that are not finite.")
    return [(values[i], values[i + 1]) for i in range(0, len(values), 2)]
