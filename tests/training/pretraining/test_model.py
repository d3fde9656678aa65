"""The trained parts: whitening, losses, and the encoder that comes out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from satclip_explore.encoders.spherical_harmonics import real_spherical_harmonics
from training.imagery.whitening import Whitening
from training.pretraining.config import PretrainConfig
from training.pretraining.model import (
    ContrastiveModel,
    degree_factors,
    image_head,
    location_encoder,
    make_optimizer,
    rate_at,
)
from training.pretraining.retrieval import retrieval
from training.pretraining.targets import PositionFeatures, TargetSpace


def tiny_config(**settings):
    small = {"legendre_polys": 4, "hidden_dim": 16, "embed_dim": 8, "components": 3}
    small["image_encoder"] = "random-convolutions"  # whose features may have any groups
    return PretrainConfig().replace(
        **{**small, "position_eigenfunctions": 3, "position_near_features": 2, **settings}
    )


def test_whitened_components_are_uncorrelated_with_unit_variance():
    rng = np.random.default_rng(0)
    mixed = rng.normal(size=(4000, 6)) @ rng.normal(size=(6, 6)) + 5.0
    whitening = Whitening((4, 2), components=3)
    whitening.fit(mixed)
    values = whitening(torch.from_numpy(mixed)).double()
    assert values.shape == (4000, 5)
    for part in (values[:, :3], values[:, 3:]):
        covariance = np.cov(part.numpy().T)
        # Clipping at five deviations touches one value in a million.
        np.testing.assert_allclose(covariance, np.eye(len(covariance)), atol=0.02)
    assert abs(values.mean(dim=0)).max() < 0.02


def test_without_components_features_are_only_standardized():
    rng = np.random.default_rng(0)
    values = rng.normal(3.0, 2.0, (1000, 4))
    whitening = Whitening((4,), components=0)
    whitening.fit(values)
    found = whitening(torch.from_numpy(values)).numpy()
    wanted = (values - values.mean(axis=0)) / (values.std(axis=0) + 0.01)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_constant_columns_and_odd_places_stay_bounded():
    values = np.zeros((100, 3))
    values[0] = 1e4
    whitening = Whitening((3,), components=2)
    whitening.fit(values)
    assert whitening(torch.from_numpy(values)).abs().max() <= 5.0


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_every_group_weighs_the_same_and_the_mean_square_is_one(power):
    rng = np.random.default_rng(0)
    whitening = Whitening((5, 9), components=4)
    whitening.fit(rng.normal(size=(500, 14)) * np.linspace(0.1, 3.0, 14))
    square = whitening.relevance(power).square()
    assert float(square.mean()) == pytest.approx(1.0, abs=1e-5)
    assert float(square[:4].sum()) == pytest.approx(float(square[4:].sum()), rel=1e-5)
    if power == 1.0:
        assert float(square.std()) == pytest.approx(0.0, abs=1e-5)


def space(embed_dim=256):
    generator = torch.Generator().manual_seed(0)
    position = PositionFeatures(PretrainConfig().training, generator)
    position.fit(unit(4000, seed=1))
    return TargetSpace(embed_dim, 92, position, 0.25, generator)


def unit(n, seed=0):
    drawn = torch.randn(n, 3, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(drawn, dim=1)


def test_what_is_put_into_an_embedding_is_read_off_it_at_its_share():
    targets, places = space(), unit(4000)
    position = targets.position(places)
    image = torch.randn(4000, 92, generator=torch.Generator().manual_seed(1))
    inverse = torch.linalg.pinv(torch.cat([targets.to_position, targets.to_image], dim=1))
    embeddings = torch.cat([position, image], dim=1) @ inverse
    torch.testing.assert_close(targets.position_of(embeddings), position, rtol=0, atol=1e-4)
    torch.testing.assert_close(targets.image_of(embeddings), image, rtol=0, atol=1e-4)
    total = float(embeddings.var(dim=0).sum())
    # Of 256; the sample of places moves it by one in a hundred.
    assert total == pytest.approx(256.0, rel=0.03)
    only = torch.cat([torch.zeros_like(position), image], dim=1) @ inverse
    assert float(only.var(dim=0).sum()) / total == pytest.approx(0.25, abs=0.01)


def test_an_embedding_too_short_for_its_targets_is_refused():
    with pytest.raises(ValueError, match="cannot hold 160 position features and 92 image"):
        space(embed_dim=200)


def test_parts_of_the_loss_that_are_off_train_nothing():
    torch.manual_seed(0)
    batch = (torch.randn(12, 16), torch.randn(12, 3), unit(12))
    for settings, still in (
        ({"contrastive_weight": 0, "regression_weight": 1}, ("head.", "logit_scale")),
        (
            {"contrastive_weight": 0, "regression_weight": 1, "position_weight": 1},
            ("head.", "logit_scale"),
        ),
        ({"contrastive_weight": 1, "position_weight": 1, "regression_weight": 1}, ()),
    ):
        model = ContrastiveModel(tiny_config(**settings), (5,))
        losses = model(*batch)
        losses.total.backward()
        for name, parameter in model.named_parameters():
            assert (parameter.grad is None) == name.startswith(still or "none"), name


def test_places_at_sea_do_not_enter_the_contrastive_loss():
    torch.manual_seed(0)
    model = ContrastiveModel(tiny_config(regression_weight=1.0), (5,))
    harmonics, whitened, vectors = torch.randn(12, 16), torch.randn(12, 3), unit(12)
    part = model(harmonics[:8], whitened[:8], vectors[:8])
    whole = model(harmonics, whitened, vectors, 8)
    torch.testing.assert_close(whole.contrastive, part.contrastive)
    assert whole.regression != part.regression


def test_the_encoder_that_comes_out_includes_the_damping():
    config = tiny_config(degree_damping=0.7)
    model = ContrastiveModel(config, (5,))
    lonlat = torch.tensor([[13.4, 52.5], [-180.0, 90.0], [0.0, -90.0]], dtype=torch.float64)
    harmonics = real_spherical_harmonics(lonlat, 4).float()
    wanted = model.network(harmonics * degree_factors(4, 0.7))
    encoder = location_encoder(model, config)
    # float32 products in another order.
    torch.testing.assert_close(encoder.encode(lonlat), wanted, rtol=1e-5, atol=1e-5)
    assert encoder.name == config.name


def test_degree_factors_fall_with_the_degree():
    factors = degree_factors(3, 1.0)
    torch.testing.assert_close(
        factors, torch.tensor([1, 1 / 2, 1 / 2, 1 / 2, *[1 / 3] * 5]), rtol=1e-6, atol=0
    )
    assert (degree_factors(3, 0.0) == 1).all()


def test_initial_weights_follow_the_seed_and_not_the_global_state():
    config = tiny_config()
    first = ContrastiveModel(config, (5,)).state_dict()
    torch.manual_seed(123)
    second = ContrastiveModel(config, (5,)).state_dict()
    other = ContrastiveModel(tiny_config(seed=1), (5,)).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not torch.equal(first["head.weight"], other["head.weight"])


@pytest.mark.parametrize(("kind", "layers"), [("linear", 1), ("mlp", 2)])
def test_heads_have_their_depth(kind, layers):
    head = image_head(6, kind, 10, 4, torch.Generator().manual_seed(0))
    assert sum(p.ndim == 2 for p in head.parameters()) == layers
    assert head(torch.zeros(2, 6)).shape == (2, 4)


def test_the_scale_stays_within_its_bounds():
    model = ContrastiveModel(tiny_config(maximum_scale=20.0), (5,))
    for value in (-1.0, 99.0):
        with torch.no_grad():
            model.logit_scale.fill_(value)
        model.clamp_scale()
        assert 1.0 <= float(model.logit_scale.detach().exp()) <= 20.001


def test_retrieval_counts_ranks_both_ways():
    images = torch.eye(4)
    locations = torch.eye(4)[[0, 1, 3, 2]]
    found = retrieval(images, locations, 2.0)
    assert found.recall_at_1 == pytest.approx(0.5)
    assert found.recall_at_5 == 1.0
    # A partner with cosine 0 ties with two others and ranks behind them.
    assert found.image_median_rank == pytest.approx(2.5)
    assert found.candidates == 4
    exact = retrieval(images, images, 4.0, chunk_size=3)
    assert exact.recall_at_1 == exact.image_recall_at_1 == exact.location_recall_at_1 == 1.0
    assert exact.location_median_rank == 1.0
    assert 0.0 <= exact.loss < 1e-6


def test_identical_features_find_nothing():
    found = retrieval(torch.ones(20, 3), torch.ones(20, 3), 1.0)
    assert found.recall_at_10 == 0.0
    assert found.loss == pytest.approx(np.log(20), abs=1e-5)


def test_without_a_contrastive_loss_predicted_features_are_matched():
    torch.manual_seed(0)
    model = ContrastiveModel(tiny_config(contrastive_weight=0, regression_weight=1), (5,))
    image, location = model.compare(torch.randn(6, 16), torch.randn(6, 3))
    assert image.shape == location.shape == (6, 3)
    torch.testing.assert_close(image.norm(dim=1), torch.ones(6))


def test_scale_weights_shift_the_regression_towards_a_scale():
    whitening = Whitening((5, 9), components=4)
    whitening.fit(np.random.default_rng(0).normal(size=(500, 14)))
    square = whitening.relevance(0.5, (1.0, 2.0)).square()
    assert float(square.mean()) == pytest.approx(1.0, abs=1e-5)
    assert float(square[4:].sum()) == pytest.approx(4.0 * float(square[:4].sum()), rel=1e-5)


def test_biases_and_the_scale_are_never_decayed():
    config = tiny_config(weight_decay=0.3, adam_betas=[0.8, 0.95], first_layer_rate=0.5)
    model = ContrastiveModel(config, (5,))
    optimizer = make_optimizer(model, config.training)
    decay = {id(p): group for group in optimizer.param_groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        group = decay[id(parameter)]
        assert group["weight_decay"] == (0.3 if name.endswith("weight") else 0.0), name
        assert group["relative_rate"] == (0.5 if name.startswith("network.layers.0") else 1.0)
        assert group["betas"] == (0.8, 0.95)


def test_a_constant_schedule_has_no_rise_unless_asked():
    training = tiny_config(schedule="constant", warmup=0).training
    assert {rate_at(step, 10, training) for step in range(10)} == {training.learning_rate}
    rising = tiny_config(schedule="constant", warmup=0.2).training
    shares = [rate_at(step, 10, rising) / rising.learning_rate for step in range(4)]
    assert shares == [0.5, 1.0, 1.0, 1.0]


def test_bfloat16_does_not_reach_the_harmonics():
    model = ContrastiveModel(tiny_config(hidden_dim=64), (5,)).eval()
    harmonics = 3.0 * torch.randn(200, 16, generator=torch.Generator().manual_seed(0))
    seen = []
    model.network.layers[0].register_forward_hook(lambda *a: seen.append(a[2]))
    exact = model.embeddings(harmonics).detach()
    with torch.autocast("cpu", torch.bfloat16):
        low = model.embeddings(harmonics).detach()
    assert low.dtype == torch.bfloat16
    torch.testing.assert_close(seen[1], seen[0], rtol=0, atol=0)
    assert float((low - exact).norm() / exact.norm()) < 0.006


def test_dropout_hits_phases_in_training_only():
    model = ContrastiveModel(tiny_config(dropout=0.5), (5,))
    harmonics = torch.randn(50, 16)
    torch.testing.assert_close(model.eval().embeddings(harmonics), model.network(harmonics))
    assert not torch.equal(model.train().embeddings(harmonics), model.network(harmonics))
