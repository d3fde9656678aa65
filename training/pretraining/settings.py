"""Settings of a pretraining run, section by section, with defaults that run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ImageryConfig:
    """Which images, of which places."""

    source: str = "blue-marble"
    """"blue-marble", "s2-100k" or "geotiffs"."""
    root: str = ""
    """Folder that holds the imagery; `pretrain(data=…)` replaces it."""
    places: int = 120_000
    """Places to draw (Blue Marble), or at most this many of the files; 0 takes all."""
    antarctica_fraction: float = 0.03
    """Fraction of the places on land that lie south of 60° S, which is 8 % of all land."""
    ocean_fraction: float = 0.0
    """Fraction of the places that lie at sea, half of them off a coast. No image tells these apart,
    so they enter the regression and position losses only (Blue Marble)."""
    night_lights: bool = False
    """Whether the lights of the night (Black Marble 2016) join the year (patch-statistics)."""
    patch_size: int = 256
    """Pixels along an edge that a file must have; larger ones are cropped to their center."""
    bands: tuple[str, ...] = ("auto",)
    """Bands of one's own files, as in ["B02", "B03"]; "auto" takes the names in them."""
    scale: float = 1.0
    """What the numbers in one's own files are divided by: 10,000 for Sentinel-2."""
    allow_missing: bool = False
    """Go on when files that the index names are not there."""
    validation_places: int = 4096
    """Places kept out of training, drawn at random."""


@dataclass(frozen=True)
class FeatureConfig:
    """What is computed once from each image."""

    image_encoder: str = "patch-statistics"
    """"patch-statistics", "random-convolutions", or a backbone of `image_encoder.BACKBONES`."""
    scales_km: tuple[float, ...] = (10.0, 25.0, 60.0, 150.0, 400.0, 1200.0)
    """Edges of the nested squares whose statistics describe a place, in km, increasing."""
    components: int = 16
    """Whitened components kept of each scale; 0 only standardizes the features."""
    scale_weights: tuple[float, ...] = ()
    """Relative weights of the scales, small to large, in the regression loss; empty: all alike."""
    component_power: float = 0.5
    """0 gives the components their own variance, 1 makes them all weigh the same."""
    augmentations: int = 1
    """Versions of each image: its center displaced (Blue Marble) or the image turned (files)."""
    jitter_m: float = 0.0
    """Standard deviation of the displacement, along each axis, in meters."""
    jitter: str = "symmetric"
    """"symmetric", or "published": up to 0.01 degrees north and east (files)."""
    blur: bool = False
    """Whether versions of files are blurred, each differently; the first one is not."""
    batch_statistics: bool = False
    """Whether a ResNet normalizes batches of 512 by their own statistics, not the stored ones."""


@dataclass(frozen=True)
class LocationConfig:
    """The location encoder."""

    legendre_polys: int = 10
    harmonics_calculation: str = "analytic"
    hidden_dim: int = 512
    embed_dim: int = 256
    num_layers: int = 2
    w0_initial: float = 30.0
    w0: float = 1.0
    degree_damping: float = 0.0
    """Harmonics of degree l are multiplied by (1 + l)^-damping; the stored weights include it."""


@dataclass(frozen=True)
class TrainingConfig:
    """The loop."""

    epochs: int = 25
    batch_size: int = 4096
    """Pairs that are contrasted with one another, over all processes together."""
    learning_rate: float = 1e-3
    accumulate: int = 1
    """Batches whose gradients make one step; pairs are contrasted within each."""
    schedule: str = "cosine"
    """After the rise, "cosine" to zero or "constant"."""
    adam_betas: tuple[float, ...] = (0.9, 0.98)
    """Decay of the two moments of AdamW."""
    dropout: float = 0.0
    """Share of a hidden layer's phases, before the sine, set to zero while training."""
    first_layer_rate: float = 1.0
    """Learning rate of the location encoder's first layer, relative to the others."""
    weight_decay: float = 0.01
    warmup: float = 0.05
    """Share of all steps over which the learning rate rises; see `schedule`."""
    head: str = "linear"
    """Trainable part of the image encoder: "linear", or "mlp" with one hidden layer."""
    head_dim: int = 512
    """Width of the hidden layer of the "mlp" head."""
    contrastive_weight: float = 1.0
    regression_weight: float = 0.0
    """Weight of a second loss: the image features, read off the embedding; see `target_space`."""
    regression_power: float = 0.5
    """As `component_power`, for the features that are predicted."""
    position_weight: float = 0.0
    """Weight of a third loss: features of the position, read off the embedding."""
    position_eigenfunctions: int = 110
    """How many features say where a place is among far ones; see `position_features`."""
    position_length_km: float = 4000.0
    """Length of the exponential kernel whose leading eigenfunctions they are."""
    position_zonal_share: float = 0.5
    """Share of that kernel that falls with the distance in latitude alone, 0 to 1."""
    position_zonal_km: float = 2000.0
    """Length of this part."""
    position_near_features: int = 50
    """How many random features say where a place is among near ones."""
    position_near_km: float = 500.0
    """Length of the Gaussian kernel that they stand for, eastward."""
    position_anisotropy: float = 1.6
    """How many times shorter it is northward: imagery changes so much faster that way."""
    position_near_share: float = 0.15
    """Their share of the variance of the position."""
    image_share: float = 0.35
    """Share of the image features in the variance of an embedding; the position has the rest."""
    initial_scale: float = 14.3
    """Inverse temperature at the start (CLIP's 1/0.07); its log is learned."""
    maximum_scale: float = 100.0
    gradient_clip: float = 0.0
    """Largest norm of the gradient; 0 does not clip."""
    loss_chunk: int = 512
    """Rows of the similarity matrix held at once."""
    precision: str = "auto"
    """"float32", "bfloat16", or "auto": bfloat16 where the processor multiplies it natively."""
    device: str = "auto"
    seed: int = 0
    tensorboard: bool = False
    probes: tuple[str, ...] = ("biome", "elevation")
    """Tasks that the encoder of every epoch is scored on; see `epoch_probes`. Nothing is chosen."""
