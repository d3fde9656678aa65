"""The contrastive loss against the plain version, forward and backward."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from training.pretraining.loss import contrastive_loss


def plain_loss(images, locations, logit_scale):
    logits = logit_scale.exp() * images @ locations.T
    labels = torch.arange(len(images))
    return (cross_entropy(logits, labels) + cross_entropy(logits.T, labels)) / 2


def pairs(n, dim=16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    images, locations = (
        normalize(torch.randn(n, dim, generator=generator, dtype=torch.float32), dim=1)
        for _ in range(2)
    )
    return images, locations, torch.tensor(2.7)


@pytest.mark.parametrize("chunk_size", [1, 7, 32, 100])
def test_equals_the_plain_version_forward_and_backward(chunk_size):
    results = []
    for loss in (plain_loss, lambda *a: contrastive_loss(*a, chunk_size=chunk_size)):
        inputs = [t.clone().requires_grad_() for t in pairs(32)]
        value = loss(*inputs)
        # A factor other than one shows whether the incoming gradient is used.
        (3.0 * value).backward()
        results.append([value.detach(), *(t.grad for t in inputs)])
    for ours, plain in zip(results[1], results[0], strict=True):
        # Sums of 32 float32 terms in another order.
        torch.testing.assert_close(ours, plain, rtol=2e-5, atol=2e-6)


def test_matched_pairs_give_the_minimum():
    images, locations, _ = pairs(64)
    scale = torch.tensor(4.6)
    matched = contrastive_loss(images, images, scale)
    assert 0.0 <= matched.item() < 0.01
    assert contrastive_loss(images, locations, scale).item() > 1.0


def test_is_symmetric_in_its_two_inputs():
    images, locations, scale = pairs(20)
    there = contrastive_loss(images, locations, scale)
    back = contrastive_loss(locations, images, scale)
    torch.testing.assert_close(there, back, rtol=1e-6, atol=1e-6)


def test_one_pair_has_no_loss_and_no_gradient():
    inputs = [t.clone().requires_grad_() for t in pairs(1)]
    value = contrastive_loss(*inputs)
    value.backward()
    # One float32 rounding of a logit near 10.
    assert abs(value.item()) < 2e-6
    assert all(t.grad.abs().max() < 1e-5 for t in inputs)


def test_large_scales_stay_finite():
    images, locations, _ = pairs(16)
    inputs = [images.requires_grad_(), locations.requires_grad_(), torch.tensor(8.0)]
    value = contrastive_loss(*inputs)
    value.backward()
    assert torch.isfinite(value)
    assert all(torch.isfinite(t.grad).all() for t in inputs[:2])


def test_bfloat16_products_stay_near_the_exact_loss():
    images, locations, scale = pairs(128)
    exact = contrastive_loss(images, locations, scale).item()
    low = contrastive_loss(images, locations, scale, matmul_dtype=torch.bfloat16).item()
    # bfloat16 keeps 8 bits: logits up to 15 are off by up to 0.03, and errors average out.
    assert abs(low - exact) < 0.02


@pytest.mark.parametrize("shapes", [((4, 8), (5, 8)), ((4, 8), (4, 7)), ((4,), (4,))])
def test_features_of_other_shapes_are_refused(shapes):
    with pytest.raises(ValueError, match=r"must both be \(B, D\)"):
        contrastive_loss(torch.ones(shapes[0]), torch.ones(shapes[1]), torch.tensor(1.0))


@pytest.mark.slow
def test_8192_pairs_need_at_most_350_mb_more():
    import subprocess
    import sys

    code = """
import resource, torch
from torch.nn.functional import normalize
from training.pretraining.loss import contrastive_loss
torch.set_num_threads(2)
a, b = (normalize(torch.randn(8192, 256), dim=1).requires_grad_() for _ in range(2))
scale = torch.tensor(2.7, requires_grad=True)
(a[:64] @ b[:64].T).sum().backward()
contrastive_loss(a[:64], b[:64], scale).backward()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
contrastive_loss(a, b, scale).backward()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1000)
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # The whole matrix would be 268 MB, and the plain version holds at least three of them.
    assert 0 <= float(found.stdout) < 350
