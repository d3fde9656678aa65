"""What is trained: the location encoder, the image head on top of fixed features, the scale."""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import nn

from satclip_explore.encoders.satclip import SatCLIP, build_encoder
from satclip_explore.encoders.siren import SatCLIPConfig, Siren
from training.imagery.whitening import Whitening
from training.pretraining.config import PretrainConfig
from training.pretraining.loss import contrastive_loss
from training.pretraining.settings import TrainingConfig
from training.pretraining.targets import PositionFeatures, TargetSpace


def rate_at(step: int, steps: int, training: TrainingConfig) -> float:
    """Return the learning rate of a step: a linear rise, then constant or a cosine to zero."""
    rise = round(training.warmup * steps)
    if training.schedule == "cosine":
        rise = max(1, rise)
    if step < rise:
        return training.learning_rate * (step + 1) / rise
    if training.schedule == "constant":
        return training.learning_rate
    done = (step - rise) / max(1, steps - rise)
    return training.learning_rate * 0.5 * (1.0 + math.cos(math.pi * done))


def make_optimizer(model: ContrastiveModel, training: TrainingConfig) -> torch.optim.Optimizer:
    """Make AdamW: the first layer has a rate of its own; biases and scale are never decayed."""
    beta1, beta2 = training.adam_betas
    first = {id(p) for p in model.network.layers[0].parameters()}
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for parameter in model.parameters():
        if parameter.requires_grad:
            key = (id(parameter) in first, parameter.ndim > 1)
            groups.setdefault(key, []).append(parameter)
    return torch.optim.AdamW(
        [
            {
                "params": parameters,
                "relative_rate": training.first_layer_rate if is_first else 1.0,
                "weight_decay": training.weight_decay if decays else 0.0,
            }
            for (is_first, decays), parameters in groups.items()
        ],
        lr=training.learning_rate,
        betas=(beta1, beta2),
    )


@dataclass(frozen=True)
class Losses:
    """What a batch gives: the loss to descend, and its parts.

    Parameters
    ----------
    total, contrastive, regression, position : torch.Tensor, scalar
        Weighted sum, and its parts before weighting.
    """

    total: torch.Tensor
    contrastive: torch.Tensor
    regression: torch.Tensor
    position: torch.Tensor


class ContrastiveModel(nn.Module):
    """Location encoder and image head, with the loss between them.

    Parameters
    ----------
    config : PretrainConfig
        Sizes, loss weights and seed.
    groups : tuple of int
        Widths of the groups of image features.
    """

    def __init__(self, config: PretrainConfig, groups: tuple[int, ...]) -> None:
        super().__init__()
        location, training = config.location, config.training
        self.settings = training
        self.matmul_dtype = torch.float32
        self.network = Siren(
            location.legendre_polys**2,
            location.hidden_dim,
            location.embed_dim,
            location.num_layers,
            w0_initial=location.w0_initial,
            w0=location.w0,
            seed=training.seed,
        )
        self.power, self.weights = config.features.component_power, config.features.scale_weights
        self.whitening = Whitening(groups, config.features.components)
        generator = torch.Generator().manual_seed(training.seed + 1)
        self.head = image_head(
            self.whitening.dim, training.head, training.head_dim, location.embed_dim, generator
        )
        self.logit_scale = nn.Parameter(torch.tensor(math.log(training.initial_scale)))
        self.targets = TargetSpace(
            location.embed_dim,
            self.whitening.dim if training.regression_weight else 0,
            PositionFeatures(training, generator) if training.position_weight else None,
            training.image_share,
            generator,
        )
        self.logit_scale.requires_grad_(training.contrastive_weight > 0)
        self.head.requires_grad_(training.contrastive_weight > 0)

    def image_features(self, whitened: torch.Tensor) -> torch.Tensor:
        """Normalized features of images from whitened components, (n, embed_dim), float32."""
        mapped = self.head(whitened * self.whitening.relevance(self.power))
        return nn.functional.normalize(mapped.float(), dim=1)

    def embeddings(self, harmonics: torch.Tensor) -> torch.Tensor:
        """Embed places from damped harmonics, shapes (B, L²) to (B, embed_dim).

        The first layer is float32 whatever autocast says: bfloat16 holds 8 bits, too few for the
        phase of the first sines.
        """
        features = harmonics
        layers = zip(self.network.hidden_layers, self.network.frequencies, strict=True)
        for index, (linear, w0) in enumerate(layers):
            exact = torch.autocast(harmonics.device.type, enabled=False)
            with exact if index == 0 else nullcontext():
                phase = linear(features)
            phase = nn.functional.dropout(phase, self.settings.dropout, self.training)
            features = torch.sin(w0 * phase)
        return self.network.last_layer(features)

    def regression_relevance(self) -> torch.Tensor:
        """Weights of the components in the regression loss, shape (K,)."""
        return self.whitening.relevance(self.settings.regression_power, self.weights)

    def compare(
        self, harmonics: torch.Tensor, whitened: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return normalized features of images and of locations, (n, D) each, to be matched.

        Without a contrastive loss no joint space is learned; the image features themselves are
        then matched with those that the embeddings predict.
        """
        embeddings = self.embeddings(harmonics)
        if self.settings.contrastive_weight:
            return self.image_features(whitened), nn.functional.normalize(embeddings, dim=1)
        relevance = self.regression_relevance()
        return (
            nn.functional.normalize(whitened * relevance, dim=1),
            nn.functional.normalize(self.targets.image_of(embeddings), dim=1),
        )

    def forward(
        self,
        harmonics: torch.Tensor,
        whitened: torch.Tensor,
        vectors: torch.Tensor,
        on_land: int | None = None,
    ) -> Losses:
        """Compute the losses of a batch of pairs.

        Parameters
        ----------
        harmonics : torch.Tensor, shape (B, L²)
            Of the locations, damped.
        whitened : torch.Tensor, shape (B, K)
            Components of the images.
        vectors : torch.Tensor, shape (B, 3)
            The locations as unit vectors.
        on_land : int, optional
            The first so many pairs enter the contrastive loss; default all.
        """
        settings = self.settings
        embeddings = self.embeddings(harmonics).float()
        contrastive = regression = position = embeddings.new_zeros(())
        if settings.contrastive_weight:
            contrastive = contrastive_loss(
                self.image_features(whitened[:on_land]),
                nn.functional.normalize(embeddings[:on_land], dim=1),
                self.logit_scale,
                chunk_size=settings.loss_chunk,
                matmul_dtype=self.matmul_dtype,
            )
        # bfloat16 cannot tell the phases of places apart.
        with torch.autocast(embeddings.device.type, enabled=False):
            if settings.regression_weight:
                error = self.targets.image_of(embeddings) - whitened * self.regression_relevance()
                regression = error.square().mean()
            if self.targets.position is not None:
                error = self.targets.position_of(embeddings) - self.targets.position(vectors)
                position = error.square().sum(dim=1).mean()
        total = (
            settings.contrastive_weight * contrastive
            + settings.regression_weight * regression
            + settings.position_weight * position
        )
        return Losses(total, contrastive, regression, position)

    @torch.no_grad()
    def clamp_scale(self) -> None:
        """Keep the learned inverse temperature between 1 and its maximum."""
        self.logit_scale.clamp_(0.0, math.log(self.settings.maximum_scale))


def degree_factors(legendre_polys: int, damping: float) -> torch.Tensor:
    """Return the factor of every harmonic, (1 + l)^-damping, shape (L²,), float32."""
    l = torch.arange(legendre_polys, dtype=torch.float64)
    return (1.0 + l).pow(-damping).repeat_interleave(2 * torch.arange(legendre_polys) + 1).float()


def location_encoder(model: ContrastiveModel, config: PretrainConfig) -> SatCLIP:
    """Copy the location encoder out of a model, as everybody uses it: plain harmonics, float32.

    The damping of the harmonics is folded into the first layer.
    """
    location = config.location
    settings = SatCLIPConfig(
        location.legendre_polys,
        location.hidden_dim,
        location.num_layers,
        location.embed_dim,
        location.harmonics_calculation,
        location.w0_initial,
        location.w0,
        config.name,
    )
    state = {key: value.detach().cpu() for key, value in model.network.state_dict().items()}
    factors = degree_factors(location.legendre_polys, location.degree_damping)
    state["layers.0.weight"] = state["layers.0.weight"] * factors
    return build_encoder(settings, state, device="cpu")


def image_head(
    in_dim: int, kind: str, hidden_dim: int, embed_dim: int, generator: torch.Generator
) -> nn.Module:
    """Build the trainable part of the image encoder."""
    if kind == "linear":
        return seeded_linear(in_dim, embed_dim, generator)
    return nn.Sequential(
        seeded_linear(in_dim, hidden_dim, generator),
        nn.GELU(),
        seeded_linear(hidden_dim, embed_dim, generator),
    )


@torch.no_grad()
def seeded_linear(in_dim: int, out_dim: int, generator: torch.Generator) -> nn.Linear:
    """Make torch's usual linear layer, drawn from a generator instead of the global state."""
    layer: nn.Linear = nn.utils.skip_init(nn.Linear, in_dim, out_dim)
    limit = 1.0 / math.sqrt(in_dim)
    layer.weight.uniform_(-limit, limit, generator=generator)
    layer.bias.uniform_(-limit, limit, generator=generator)
    return layer
