"""Retrieval among unseen places: how often an image finds its location, and the other way."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Retrieval:
    """Retrieval figures; the two directions are averaged unless they are named.

    Parameters
    ----------
    candidates : int
        Pairs, each searched among all of them.
    loss : float
        Symmetric cross-entropy over the candidates.
    recall_at_1, recall_at_5, recall_at_10 : float
        Share of queries whose partner is among the first 1, 5, 10.
    image_recall_at_1, location_recall_at_1 : float
        By what was searched with: the image, or the location.
    image_median_rank, location_median_rank : float
        Median rank of the partner; 1 is perfect.
    """

    candidates: int
    loss: float
    recall_at_1: float
    recall_at_5: float
    recall_at_10: float
    image_recall_at_1: float
    location_recall_at_1: float
    image_median_rank: float
    location_median_rank: float


@torch.no_grad()
def retrieval(
    image_features: torch.Tensor,
    location_features: torch.Tensor,
    logit_scale: float,
    *,
    chunk_size: int = 1024,
) -> Retrieval:
    """Rank every pair among all pairs.

    Parameters
    ----------
    image_features, location_features : torch.Tensor, shape (M, D)
        Normalized features, row i with row i.
    logit_scale : float
        Log of the inverse temperature, for the loss.
    chunk_size : int
        Queries at a time.

    Returns
    -------
    Retrieval

    Notes
    -----
    A partner that ties with others ranks behind them: identical features find nothing.
    """
    scale = float(torch.tensor(logit_scale).exp())
    image_ranks, image_loss = _ranks(image_features, location_features, scale, chunk_size)
    location_ranks, location_loss = _ranks(location_features, image_features, scale, chunk_size)
    ranks = torch.stack([image_ranks, location_ranks]).double()
    within = [float((ranks <= n).double().mean()) for n in (1, 5, 10)]
    first = (ranks <= 1).double().mean(dim=1)
    # quantile, not median: torch's median of an even count is its lower half.
    medians = torch.quantile(ranks, 0.5, dim=1)
    return Retrieval(
        candidates=len(image_features),
        loss=0.5 * (image_loss + location_loss),
        recall_at_1=within[0],
        recall_at_5=within[1],
        recall_at_10=within[2],
        image_recall_at_1=float(first[0]),
        location_recall_at_1=float(first[1]),
        image_median_rank=float(medians[0]),
        location_median_rank=float(medians[1]),
    )


def _ranks(
    queries: torch.Tensor, keys: torch.Tensor, scale: float, chunk_size: int
) -> tuple[torch.Tensor, float]:
    ranks, loss = [], 0.0
    for start in range(0, len(queries), chunk_size):
        cosine = queries[start : start + chunk_size] @ keys.T
        line = torch.arange(len(cosine), device=cosine.device)
        partner = cosine[line, line + start]
        ranks.append((cosine >= partner[:, None]).sum(dim=1))
        loss += float((torch.logsumexp(cosine * scale, dim=1) - partner * scale).sum())
    return torch.cat(ranks).cpu(), loss / len(queries)
