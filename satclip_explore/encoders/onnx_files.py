"""ONNX in and out: a SatCLIP encoder as a graph of standard operators, and graphs as encoders."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import torch

from satclip_explore.encoders.base import LocationEncoder, resolve_device, resolve_dtype
from satclip_explore.encoders.custom import ORDERS
from satclip_explore.encoders.satclip import SatCLIP
from satclip_explore.encoders.spherical_harmonics import harmonics_tables, order_scale
from satclip_explore.files.atomic import write_whole

OPSET = 17
IR_VERSION = 9
"""Of 2023: older runtimes open it too."""

EXTERNAL_FOLDER = "session.model_external_initializers_file_folder_path"
FATAL = 4

MAX_BYTES = 2_000_000_000
"""Largest graph that ONNX holds in one file."""


class _Graph:
    """Collects nodes and constants; values are passed on by name."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        from onnx import helper

        name = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def constant(self, values: Any, dtype: Any = np.float64) -> str:
        from onnx import numpy_helper

        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values, dtype), name))
        return name


def write_onnx(encoder: SatCLIP, path: str | Path) -> Path:
    """Write an encoder as an ONNX graph: `lonlat` (N, 2) in degrees to `embedding` (N, D).

    Harmonics are float64 in it, and the network float32 or float64, as the encoder's dtype.

    Raises
    ------
    ModuleNotFoundError
        If onnx is not installed.
    """
    try:
        import onnx
        from onnx import TensorProto, helper
    except ImportError as error:
        raise ModuleNotFoundError(
            "to_onnx needs onnx; install it with: pip install 'satclip-explore[onnx]'"
        ) from error
    graph = _Graph()
    wide = encoder.dtype == torch.float64
    kind = TensorProto.DOUBLE if wide else TensorProto.FLOAT
    x = _harmonics(graph, encoder.legendre_polys, encoder.harmonics_calculation)
    x = graph.add("Cast", graph.add("Transpose", x, perm=[1, 0]), to=kind)
    network, dtype = encoder.network, np.float64 if wide else np.float32
    for layer, frequency in zip(network.hidden_layers, network.frequencies, strict=False):
        # The frequency is folded into the weights.
        parts = (frequency * p.detach().double().cpu().numpy() for p in (layer.weight, layer.bias))
        weight, bias = (graph.constant(part, dtype) for part in parts)
        x = graph.add("Sin", graph.add("Gemm", x, weight, bias, transB=1))
    last = network.last_layer
    weight, bias = (
        graph.constant(p.detach().double().cpu().numpy(), dtype) for p in (last.weight, last.bias)
    )
    graph.nodes.append(
        helper.make_node("Gemm", [x, weight, bias], ["embedding"], transB=1, name="embedding")
    )
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "location_encoder",
            [helper.make_tensor_value_info("lonlat", TensorProto.DOUBLE, ["places", 2])],
            [helper.make_tensor_value_info("embedding", kind, ["places", encoder.embed_dim])],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="satclip_explore",
    )
    facts = {"name": encoder.name, "order": "lonlat", "weights_hash": encoder.weights_hash}
    helper.set_model_props(model, facts)
    onnx.checker.check_model(model)
    return write_whole(path, model.SerializeToString())


def _harmonics(graph: _Graph, legendre_polys: int, harmonics_calculation: str) -> str:
    """Add the harmonics of `real_spherical_harmonics`, (L², N), by the same recurrence."""
    radians = graph.constant(math.pi / 180)
    lon, lat = (
        graph.add("Transpose", graph.add("Gather", "lonlat", index, axis=1), perm=[1, 0])
        for index in (graph.constant([0], np.int64), graph.constant([1], np.int64))
    )
    cos_theta = graph.add("Neg", graph.add("Sin", graph.add("Mul", lat, radians)))
    to_pole = graph.add("Sub", graph.constant(90.0), graph.add("Abs", lat))
    sin_theta = graph.add("Sin", graph.add("Mul", to_pole, radians))
    a, ab, sectoral, legendre_index, trig_index = harmonics_tables(legendre_polys)
    zero = graph.add("Mul", lat, graph.constant(0.0))
    diagonal = graph.add("Add", zero, graph.constant(math.sqrt(0.25 / math.pi)))
    rows = [zero, graph.add("Concat", diagonal, zero, axis=0)]
    start, first_axis = graph.constant([0], np.int64), graph.constant([0], np.int64)
    for l in range(1, legendre_polys):
        step = graph.add("Mul", sin_theta, graph.constant(sectoral[l - 1]))
        diagonal = graph.add("Mul", diagonal, step)
        stop = graph.constant([l], np.int64)
        before = graph.add("Slice", rows[-1], start, stop, first_axis)
        near = graph.add("Mul", graph.add("Mul", cos_theta, before), graph.constant(a[l]))
        far = graph.add("Mul", rows[-2], graph.constant(ab[l]))
        rows.append(graph.add("Concat", graph.add("Add", near, far), diagonal, zero, axis=0))
    legendre = graph.add("Concat", *rows[1:], axis=0)
    orders = np.arange(legendre_polys, dtype=np.float64)[:, None]
    angle = graph.add("Mul", graph.add("Mul", lon, radians), graph.constant(orders))
    scale = order_scale(legendre_polys, harmonics_calculation).numpy()[:, None]
    # Not every runtime has a cosine of doubles.
    quarter = graph.add("Add", angle, graph.constant(math.pi / 2))
    waves = [graph.add("Mul", graph.add("Sin", quarter), graph.constant(scale))]
    if legendre_polys > 1:
        part = graph.add(
            "Slice", graph.add("Mul", graph.add("Sin", angle), graph.constant(scale)),
            graph.constant([1], np.int64), graph.constant([legendre_polys], np.int64), first_axis,
        )  # fmt: skip
        waves.append(part)
    trig = graph.add("Concat", *waves, axis=0)
    return graph.add(
        "Mul",
        graph.add("Gather", legendre, graph.constant(legendre_index, np.int64), axis=0),
        graph.add("Gather", trig, graph.constant(trig_index, np.int64), axis=0),
    )


class Onnx(LocationEncoder):
    """An ONNX graph of places; made by `read_onnx`."""

    family = "onnx"
    periodic = False

    def __init__(
        self, path: Path, session: Any, order: str, *, name: str, dtype: str, device: str
    ) -> None:
        self._session, self._order, self.name = session, ORDERS[order], name
        self.dtype, self.device = resolve_dtype(dtype), resolve_device(device)
        self._kind = np.float64 if "double" in session.get_inputs()[0].type else np.float32
        self.embed_dim = self._run(np.zeros((2, 2))).shape[1]
        self.weights_hash = hashlib.sha256(path.read_bytes()).hexdigest()[:16]

    def encode(self, lonlat: torch.Tensor) -> torch.Tensor:
        """Encode one chunk of checked places; see `LocationEncoder.encode`."""
        values = self._run(lonlat.cpu().numpy())
        return torch.from_numpy(values).to(self.device, self.dtype)

    def _run(self, lonlat: Any) -> Any:
        places = np.ascontiguousarray(lonlat[:, self._order], self._kind)
        values = self._session.run(None, {self._session.get_inputs()[0].name: places})[0]
        if values.ndim != 2 or len(values) != len(places):
            raise ValueError(
                f"the graph must give one vector per place, shape ({len(places)}, D); got "
                f"{values.shape}."
            )
        return values


def read_onnx(
    path: str | Path,
    *,
    order: str | None = None,
    name: str = "",
    dtype: str = "float32",
    device: str = "auto",
) -> Onnx:
    """Open an ONNX graph whose input is (N, 2) degrees as an encoder.

    Parameters
    ----------
    path : str or Path
        What `LocationEncoder.to_onnx` wrote, or a graph of others.
    order : {"lonlat", "latlon"}, optional
        Which coordinate the graph takes first; needed where the file does not say it.
    name, dtype, device : str
        As in `load_encoder`.

    Raises
    ------
    ModuleNotFoundError
        If onnxruntime is not installed.
    ValueError
        If it is no graph of places, or nothing says which coordinate comes first.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ModuleNotFoundError(
            "ONNX graphs need onnxruntime; install it with: pip install 'satclip-explore[onnx]'"
        ) from error
    path = Path(path)
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path.name} is larger than the 2 GB that an ONNX file may have.")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = FATAL
    # Weights that a graph keeps in other files would come from the working directory.
    options.add_session_config_entry(EXTERNAL_FOLDER, str(path))
    try:
        session = onnxruntime.InferenceSession(
            path.read_bytes(), options, providers=["CPUExecutionProvider"]
        )
    # The runtime raises errors of many kinds of its own.
    except Exception as error:
        raise ValueError(f"{path.name} is damaged or is no ONNX graph that runs here.") from error
    inputs = session.get_inputs()
    if len(inputs) != 1 or len(inputs[0].shape) != 2 or inputs[0].shape[1] not in (2, None):
        shapes = ", ".join(f"{each.name} {each.shape}" for each in inputs)
        raise ValueError(f"{path.name} must take one array of places (N, 2); it takes {shapes}.")
    facts = session.get_modelmeta().custom_metadata_map
    order = order or facts.get("order")
    if order not in ORDERS:
        raise ValueError(
            f"{path.name} does not say which coordinate it takes first; say order='lonlat' or "
            "order='latlon'."
        )
    title = name or facts.get("name", "")[:200] or path.stem
    return Onnx(path, session, order, name=title, dtype=dtype, device=device)
