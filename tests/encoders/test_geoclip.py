"""GeoCLIP: the published formulas spelled out, on weights made here in the published layout."""

from __future__ import annotations

import math
import zipfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from satclip_explore.encoders.geoclip import equal_earth, read_geoclip, weight_shapes
from satclip_explore.encoders.registry import load_encoder


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    values = {}
    for key, shape in weight_shapes().items():
        scale = 16.0 ** int(key[6]) if key.endswith(".b") else shape[-1] ** -0.5
        values[key] = torch.randn(shape, generator=generator) * scale
    return values


def project(lon: float, lat: float) -> tuple[float, float]:
    """The equal-earth projection of one place, degrees to degrees over 180."""
    root = float(np.sqrt(np.float32(3.0)))
    theta = math.asin(root / 2 * math.sin(math.radians(lat)))
    a1, a2, a3, a4 = 1.340264, -0.081106, 0.000893, 0.003796
    slope = 9 * a4 * theta**8 + 7 * a3 * theta**6 + 3 * a2 * theta**2 + a1
    x = 2 * root * math.radians(lon) * math.cos(theta) / (3 * slope)
    y = a4 * theta**9 + a3 * theta**7 + a2 * theta**3 + a1 * theta
    return x * 66.50336 / 180, y * 66.50336 / 180


def by_hand(state: dict[str, torch.Tensor], places: np.ndarray, scales: int = 3) -> np.ndarray:
    w = {key: value.double().numpy() for key, value in state.items()}
    points = np.array([project(*place) for place in places.tolist()])
    total = np.zeros((len(places), len(w["LocEnc0.head.0.bias"])))
    for i in range(scales):
        angle = 2 * math.pi * points @ w[f"LocEnc{i}.capsule.0.b"].T
        x = np.concatenate([np.cos(angle), np.sin(angle)], axis=1)
        for k in (1, 3, 5):
            layer = f"LocEnc{i}.capsule.{k}"
            x = np.maximum(x @ w[f"{layer}.weight"].T + w[f"{layer}.bias"], 0)
        total += x @ w[f"LocEnc{i}.head.0.weight"].T + w[f"LocEnc{i}.head.0.bias"]
    return total


def test_a_published_file_gives_the_published_embeddings(tmp_path, state, places):
    torch.save(state, tmp_path / "location_encoder_weights.pth")
    encoder = read_geoclip(tmp_path / "location_encoder_weights.pth", dtype="float64")
    np.testing.assert_allclose(encoder.embed(places), by_hand(state, places), rtol=0, atol=1e-9)
    assert (encoder.name, encoder.family, encoder.embed_dim) == ("geoclip", "geoclip", 512)
    assert encoder.coverage(places).all()


def test_float32_is_as_close_as_the_finest_scale_allows(tmp_path, state, places):
    torch.save(state, tmp_path / "w.pth")
    quick = read_geoclip(tmp_path / "w.pth").embed(places)
    expected = by_hand(state, places)
    # Frequencies near 1,000 turn by 6,000 radians, of which float32 keeps 5e-4.
    assert np.abs(quick - expected).max() < 5e-3 * np.abs(expected).max()
    half = read_geoclip(tmp_path / "w.pth", dtype="bfloat16").embed(places)
    assert np.abs(half - expected).max() < 5e-2 * np.abs(expected).max()


def test_the_whole_models_safetensors_are_read_too(tmp_path, state, places):
    whole = {f"location_encoder.{key}": value for key, value in state.items()}
    save_file(whole | {"logit_scale": torch.ones(1)}, tmp_path / "model.safetensors")
    torch.save(state, tmp_path / "w.pth")
    np.testing.assert_array_equal(
        read_geoclip(tmp_path / "model.safetensors").embed(places),
        read_geoclip(tmp_path / "w.pth").embed(places),
    )


@pytest.mark.parametrize("prefix", ["", "location_encoder.", "module.loc."])
def test_models_of_its_shape_are_read_in_their_own_sizes(tmp_path, draw, edges, prefix):
    """TaxaBind's, GAIR's and SLED's location encoders have GeoCLIP's shape."""
    state = draw(weight_shapes(2, frequencies=6, hidden_dim=16, embed_dim=10))
    whole = {f"{prefix}{key}": value for key, value in state.items()}
    save_file(whole, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text('{"sigma": [1, 16], "dim": 10}')
    torch.save({"model": whole, "epoch": 3}, tmp_path / "checkpoint.pth")
    expected = by_hand(state, edges, scales=2)
    for path in (tmp_path, tmp_path / "model.safetensors", tmp_path / "checkpoint.pth"):
        encoder = load_encoder(path, dtype="float64")
        np.testing.assert_allclose(encoder.embed(edges), expected, rtol=0, atol=1e-9)
    assert (encoder.family, encoder.embed_dim) == ("geoclip", 10)
    with pytest.raises(ValueError, match="not the published taxabind-location"):
        load_encoder("taxabind-location", path=tmp_path)
    # The map ends at the antimeridian: 180 is its other edge.
    assert np.abs(encoder.embed((180, 10)) - encoder.embed((-180, 10))).max() > 0.01


def test_the_weights_inside_the_wheel_are_read(tmp_path, state, places):
    torch.save(state, tmp_path / "w.pth")
    wheel = tmp_path / "geoclip-1.3.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(tmp_path / "w.pth", "geoclip/model/weights/location_encoder_weights.pth")
    np.testing.assert_array_equal(
        load_encoder("geoclip", path=wheel).embed(places),
        load_encoder(tmp_path / "w.pth").embed(places),
    )
    assert load_encoder(wheel).family == "geoclip"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("geoclip/__init__.py", "")
    with pytest.raises(ValueError, match="not a wheel of geoclip"):
        read_geoclip(wheel)
    wheel.write_bytes(b"nothing")
    with pytest.raises(ValueError, match="not a wheel of geoclip"):
        read_geoclip(wheel)


def test_the_real_weights_give_the_published_embeddings(places):
    package = find_spec("geoclip")
    if package is None:
        pytest.skip("geoclip is not installed: pip install --no-deps geoclip")
    folder = Path(next(iter(package.submodule_search_locations))) / "model" / "weights"
    encoder = load_encoder("geoclip", path=folder, dtype="float64")
    state = torch.load(folder / "location_encoder_weights.pth", weights_only=True)
    expected = by_hand(state, places)
    np.testing.assert_allclose(encoder.embed(places), expected, rtol=0, atol=1e-6)
    quick = load_encoder("geoclip", path=folder)
    # The finest scale turns by 6,000 radians, of which float32 keeps 5e-4.
    assert np.abs(quick.embed(places) - expected).max() < 5e-3 * np.abs(expected).max()


def test_longitude_comes_first_here():
    east, north = equal_earth(torch.tensor([[90.0, 0.0], [0.0, 60.0]], dtype=torch.float64))
    assert east[0] > 0.3
    assert east[1].abs() < 1e-12
    assert north[0].abs() < 1e-12
    assert north[1] > 0.3


def test_the_projection_keeps_areas():
    # One degree by one degree anywhere: projected area over cos(lat) is constant (equal area).
    lat = torch.arange(-80.0, 81.0, 20.0, dtype=torch.float64)
    d = 0.01
    corner = torch.stack([torch.full_like(lat, 30.0), lat], dim=1)
    right, up = corner + torch.tensor([d, 0.0]), corner + torch.tensor([0.0, d])
    a, b = equal_earth(right) - equal_earth(corner), equal_earth(up) - equal_earth(corner)
    area = (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]) / torch.cos(torch.deg2rad(lat + d / 2))
    np.testing.assert_allclose(area / area.mean(), np.ones(len(lat)), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda s: s.pop("LocEnc2.head.0.bias"), "lacks LocEnc2.head.0.bias"),
        (lambda s: s.update({"LocEnc3.head.0.bias": torch.ones(512)}), "unexpected LocEnc3"),
        (lambda s: s.update({"LocEnc0.capsule.0.b": torch.ones(128, 2)}), "must have shape"),
        (lambda s: s.update({"LocEnc0.head.0.bias": torch.full((512,), torch.nan)}), "finite"),
        (lambda s: s.pop("LocEnc0.capsule.0.b"), "does not hold GeoCLIP"),
    ],
)
def test_other_weights_get_one_sentence(tmp_path, state, edit, message):
    changed = dict(state)
    edit(changed)
    torch.save(changed, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=message):
        read_geoclip(tmp_path / "w.pth")


def test_a_damaged_or_missing_file_is_refused(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="damaged"):
        read_geoclip(tmp_path / "model.safetensors")
    with pytest.raises(FileNotFoundError):
        read_geoclip(tmp_path / "other.safetensors")
