"""ONNX: a SatCLIP encoder agrees with its graph in ONNX Runtime; graphs of others open."""

from __future__ import annotations

import numpy as np
import pytest

from satclip_explore.encoders.registry import load_encoder

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.mark.parametrize(("name", "dtype"), [("mini-l40", "float32"), ("mini-l10", "float64")])
def test_a_graph_gives_the_encoders_numbers(tmp_path, edges, name, dtype):
    encoder = load_encoder(name, dtype=dtype)
    path = encoder.to_onnx(tmp_path / "encoder.onnx")
    again = load_encoder(path, dtype=dtype)
    assert (again.family, again.name, again.embed_dim) == ("onnx", name, encoder.embed_dim)
    exact = load_encoder(name, dtype="float64").embed(edges)
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    assert np.abs(again.embed(edges) - exact).max() < tolerance * np.abs(exact).max()
    assert again.embed(edges[:1]).shape == (1, encoder.embed_dim)


def test_both_conventions_of_the_harmonics_are_written(tmp_path, tiny_encoder, edges):
    tiny_encoder.harmonics_calculation = "closed-form"
    again = load_encoder(tiny_encoder.to_onnx(tmp_path / "tiny.onnx"))
    np.testing.assert_allclose(again.embed(edges), tiny_encoder.embed(edges), rtol=0, atol=1e-5)


def foreign(path, width=2):
    """A graph that gives its input back, in float32 and without facts."""
    from onnx import TensorProto, helper

    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Identity", ["coords"], ["out"])],
        "g",
        [info("coords", TensorProto.FLOAT, ["n", width])],
        [info("out", TensorProto.FLOAT, ["n", width])],
    )
    opsets = [helper.make_opsetid("", 17)]
    path.write_bytes(
        helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()
    )
    return path


def test_a_graph_of_others_needs_to_be_told_the_order(tmp_path):
    path = foreign(tmp_path / "theirs.onnx")
    with pytest.raises(ValueError, match="does not say which coordinate it takes first"):
        load_encoder(path)
    assert load_encoder(path, order="latlon").embed((13.5, 52.5)).tolist() == [[52.5, 13.5]]
    assert load_encoder(path, order="lonlat").embed((13.5, 52.5)).tolist() == [[13.5, 52.5]]


def test_what_is_no_graph_of_places_is_a_sentence(tmp_path):
    with pytest.raises(ValueError, match=r"must take one array of places \(N, 2\)"):
        load_encoder(foreign(tmp_path / "three.onnx", 3), order="lonlat")
    (tmp_path / "bad.onnx").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="bad.onnx is damaged or is no ONNX graph"):
        load_encoder(tmp_path / "bad.onnx")
    with pytest.raises(ValueError, match="only SatCLIP encoders are written as ONNX"):
        load_encoder("xyz").to_onnx(tmp_path / "xyz.onnx")


def test_weights_in_another_file_are_not_read(tmp_path, monkeypatch):
    """A graph in memory would look for them in the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret").write_bytes(b"passwords")
    held = onnx.TensorProto(name="w", data_type=onnx.TensorProto.UINT8, dims=[1, 9])
    held.data_location = onnx.TensorProto.EXTERNAL
    for key, value in {"location": "secret", "offset": "0", "length": "9"}.items():
        held.external_data.add(key=key, value=value)
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node("Cast", ["w"], ["numbers"], to=onnx.TensorProto.DOUBLE),
            onnx.helper.make_node("Gather", ["lonlat", "first"], ["lon"], axis=1),
            onnx.helper.make_node("Mul", ["lon", "numbers"], ["embedding"]),
        ],
        "leak",
        [onnx.helper.make_tensor_value_info("lonlat", onnx.TensorProto.DOUBLE, ["places", 2])],
        [onnx.helper.make_tensor_value_info("embedding", onnx.TensorProto.DOUBLE, ["places", 9])],
        [held, onnx.helper.make_tensor("first", onnx.TensorProto.INT64, [1], [0])],
    )
    opset = onnx.helper.make_opsetid("", 17)
    model = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=9)
    (tmp_path / "leak.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ValueError, match="damaged or is no ONNX graph"):
        load_encoder(tmp_path / "leak.onnx", order="lonlat")
