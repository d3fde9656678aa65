import numpy as np
import pytest
import torch

from satclip_explore.encoders.base import Readout, resolve_device, resolve_dtype
from satclip_explore.encoders.satclip import SatCLIP
from satclip_explore.encoders.siren import Siren
from satclip_explore.geo import Grid


def encoder(legendre_polys=10, dtype="float64", convention="analytic", seed=0):
    network = Siren(legendre_polys**2, 64, 16, 2, seed=seed)
    return SatCLIP(network, legendre_polys, harmonics_calculation=convention, dtype=dtype)


def whole_grid(enc, grid, readout=None, precision=None):
    blocks = enc.iter_grid(grid, readout, precision=precision)
    return np.concatenate([values.float().numpy().copy() for _, values in blocks])


@pytest.mark.parametrize("convention", ["analytic", "closed-form"])
@pytest.mark.parametrize("bounds", [(-180, -90, 180, 90), (170, -20, 200, 40), (0, 89, 1, 90)])
def test_the_grid_path_gives_what_the_point_path_gives(convention, bounds):
    enc = encoder(convention=convention)
    grid = Grid(bounds, (70, 23))
    points = enc.embed(grid.lonlat).reshape(70, 23, 16)
    np.testing.assert_allclose(whole_grid(enc, grid), points, rtol=0, atol=1e-6)


def test_grid_rows_come_once_each_from_north_to_south():
    grid = Grid((-180, -90, 180, 90), (130, 40))
    rows = [range(130)[part] for part, _ in encoder().iter_grid(grid)]
    assert [row for part in rows for row in part] == list(range(130))


def test_a_folded_readout_equals_one_applied_afterwards():
    enc, rng = encoder(), np.random.default_rng(0)
    readout = Readout(rng.normal(size=(3, 16)), rng.normal(size=3))
    grid = Grid((-180, -90, 180, 90), (9, 11))
    after = enc.embed(grid.lonlat) @ readout.weight.T + readout.bias
    np.testing.assert_allclose(
        whole_grid(enc, grid, readout), after.reshape(9, 11, 3), rtol=0, atol=1e-5
    )


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 0.1)])
def test_narrow_types_stay_close_to_float64_everywhere(dtype, tolerance, places):
    """The Siren multiplies phases by 30: float32 keeps 1e-5, bfloat16 (8 bits) about a tenth."""
    exact = encoder(40).embed(places)
    error = np.abs(encoder(40, dtype).embed(places) - exact).max()
    assert error < tolerance * np.abs(exact).max()


def test_bfloat16_on_a_grid_keeps_the_first_phase_in_float32():
    grid = Grid((-180, -90, 180, 90), (40, 80))
    exact = whole_grid(encoder(40), grid)
    error = np.abs(whole_grid(encoder(40, "float32"), grid, precision="bfloat16") - exact)
    assert error.max() < 0.02 * np.abs(exact).max()


def test_minus_180_and_180_give_the_same_embedding(tiny_encoder):
    np.testing.assert_array_equal(tiny_encoder.embed([-180, 10]), tiny_encoder.embed([180, 10]))


def test_a_batch_of_one_keeps_its_axis_and_nothing_gives_nothing(tiny_encoder):
    assert tiny_encoder.embed((13.4, 52.5)).shape == (1, 8)
    assert tiny_encoder.embed([]).shape == (0, 8)


def test_chunks_do_not_change_the_result(places):
    enc = encoder()
    whole = enc.embed(places)
    enc.chunk_size = 3
    np.testing.assert_allclose(enc.embed(places), whole, rtol=0, atol=1e-13)


def test_embeddings_come_in_the_encoders_dtype(places):
    assert encoder(dtype="float32").embed(places).dtype == np.float32
    assert encoder(dtype="float64").embed(places).dtype == np.float64
    assert encoder(dtype="bfloat16").embed(places).dtype == np.float32


def test_encode_is_differentiable_for_training():
    enc = encoder()
    enc.encode(torch.tensor([[10.0, 90.0], [3.0, 4.0]], dtype=torch.float64)).sum().backward()
    assert torch.isfinite(enc.network.layers[0].weight.grad).all()


def test_the_same_seed_gives_the_same_network():
    a, b, c = Siren(4, seed=0), Siren(4, seed=0), Siren(4, seed=1)
    assert torch.equal(a.layers[0].weight, b.layers[0].weight)
    assert not torch.equal(a.layers[0].weight, c.layers[0].weight)


def test_hidden_layers_can_be_read():
    net = Siren(4, 8, 2, 3)
    x = torch.randn(5, 4)
    assert net.hidden(x, 0).shape == (5, 8)
    torch.testing.assert_close(net.last_layer(net.hidden(x)), net(x))


def test_a_network_of_another_width_is_refused():
    with pytest.raises(ValueError, match="L = 3 needs 9 input features; got 16"):
        SatCLIP(Siren(16), 3)
    with pytest.raises(ValueError, match="at least one"):
        Siren(4, num_layers=0)


def test_devices_and_dtypes_are_checked():
    assert resolve_dtype("float64") is torch.float64
    assert resolve_dtype(torch.float32) is torch.float32
    with pytest.raises(ValueError, match="dtype must be one of"):
        resolve_dtype("int8")
    assert resolve_device("cpu").type == "cpu"
    assert resolve_device("auto").type in {"cpu", "cuda"}
    with pytest.raises(ValueError, match="not available"):
        resolve_device("warp-drive")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="not available"):
            resolve_device("cuda")


def test_an_encoder_shows_itself(tiny_encoder):
    assert "tiny-l5" in repr(tiny_encoder)
    tiny_encoder.name = "<script>"
    assert "<script>" not in tiny_encoder._repr_html_()
