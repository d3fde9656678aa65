"""Facts about every registered encoder: who made it, from what, under which license, where it is.

Sizes and hashes are those of the published files where they are known; a file without a known
hash is trusted when it is first downloaded and checked against that from then on.
"""

from __future__ import annotations

from urllib.parse import quote

from satclip_explore.encoders.card import EncoderCard
from satclip_explore.encoders.torchspatial_files import FILES, REPOSITORY


def _satclip(backbone: str, legendre_polys: int) -> EncoderCard:
    repo_id = f"microsoft/SatCLIP-{backbone}-L{legendre_polys}"
    name = f"satclip-{backbone.lower()}-l{legendre_polys}"
    return EncoderCard(
        name=name,
        family="satclip",
        dim=256,
        authors="Klemmer, Rolf, Robinson, Mackey, Rußwurm",
        year=2023,
        license="MIT",
        training_data=f"S2-100K: 100,000 Sentinel-2 images, frozen {backbone} (MoCo)",
        source=f"https://huggingface.co/{repo_id}",
        repo_id=repo_id,
        filename=f"{name}.ckpt",
        good_for="climate, people, elevation and ecology at once: the tasks of its paper",
    )


def _mini(name: str) -> EncoderCard:
    return EncoderCard(
        name=name,
        family="satclip",
        dim=256,
        authors="satclip-explore",
        year=2026,
        license="MIT",
        training_data=(
            "Blue Marble Next Generation, twelve months of 2004, and Black Marble 2016 "
            "(NASA, public domain)"
        ),
        source="embedded in this package",
        embedded=True,
        good_for="a first look and teaching, without a download",
    )


def _baseline(name: str, dim: int, description: str) -> EncoderCard:
    return EncoderCard(
        name=name,
        family="baseline",
        dim=dim,
        authors="none",
        year=2026,
        license="MIT",
        training_data=f"none: {description}",
        source="computed",
        good_for="a baseline to hold others against",
        factory="satclip_explore.encoders.baselines:load_baseline",
    )


def _torchspatial(key: str) -> EncoderCard:
    commit, path, sha256 = FILES[key]
    world = key.startswith("fmow")
    return EncoderCard(
        name=f"torchspatial-{key}",
        family="torchspatial",
        dim=256,
        authors="Wu, Cao, Wang, Liu, Qi, Mai and others",
        year=2024,
        license="MIT",
        training_data=(
            "fMoW labels: 62 land uses" if world else "YFCC labels: 100 photo subjects, USA"
        ),
        coverage="global" if world else "global, trained in the USA only",
        source=f"https://github.com/{REPOSITORY}",
        filename=path.rpartition("/")[2],
        url=f"https://raw.githubusercontent.com/{REPOSITORY}/{commit}/pre_trained_models/"
        + quote(path),
        sha256=sha256,
    )


def _csp(dataset: str, data: str, filename: str) -> EncoderCard:
    return EncoderCard(
        name=f"csp-{dataset}",
        family="csp",
        dim=256,
        authors="Mai, Lao, He, Song, Ermon",
        year=2023,
        license="not stated",
        training_data=data,
        source="https://github.com/gengchenmai/csp",
        filename=filename,
        manual="download model_dir.zip from https://www.dropbox.com/s/qxr644rj1qxekn2/"
        f"model_dir.zip?dl=0 and take {filename} out of it",
    )


def _gps2vec(kind: str, dim: int, data: str, key: str) -> EncoderCard:
    return EncoderCard(
        name=f"gps2vec-{kind}",
        family="gps2vec",
        dim=dim,
        authors="Yin, Liu, Zhang, Wang, Shah, Zimmermann",
        year=2021 if kind == "visual" else 2019,
        license="not stated",
        training_data=data,
        coverage="UTM zones with enough photos, 80° S to 84° N",
        source="https://github.com/yifangyin/GPS2Vec",
        filename=f"models_{kind}",
        manual=f"download models_{kind}.zip from https://www.dropbox.com/s/{key}/models_{kind}.zip"
        "?dl=0 and unzip it",
    )


_OTHERS = [
    _csp(
        "fmow",
        "fMoW: 363,000 satellite images, contrastive",
        "model_fmow_gridcell_0.0010_32_0.1000000_1_512_gelu_UNSUPER-contsoftmax_0.000050_1.000_1_"
        "0.100_TMP1.0000_1.0000_1.0000.pth.tar",
    ),
    _csp(
        "inat",
        "iNaturalist 2018: 437,000 photos of species, contrastive",
        "model_inat_2018_gridcell_0.0010_32_0.1000000_1_512_leakyrelu_UNSUPER-contsoftmax_"
        "0.000500_1.000_1_1.000_TMP20.0000_1.0000_1.0000.pth.tar",
    ),
    _gps2vec("tag", 2000, "Flickr: tags of a million geotagged photos", "j8b4h3ynkv42gj4"),
    _gps2vec("visual", 1365, "YLI-GEO: contents of geotagged photos", "kcsadz2fl6ynymh"),
    EncoderCard(
        name="mosaiks",
        family="mosaiks",
        dim=4000,
        authors="Rolf, Proctor, Carleton, Bolliger, Shankar, Ishihara, Recht, Hsiang",
        year=2021,
        license="terms of api.mosaiks.org",
        training_data="none: random convolutional features of Planet imagery, 2019",
        coverage="the land cells of your table, 0.01°",
        source="https://api.mosaiks.org",
        filename="mosaiks.parquet",
        manual="register at https://api.mosaiks.org, download features of your area as CSV or "
        "Parquet and pass the file as path=",
    ),
    EncoderCard(
        name="geoclip",
        family="geoclip",
        dim=512,
        authors="Vivanco Cepeda, Nayak, Shah",
        year=2023,
        license="MIT",
        training_data="MP-16: 4.7 million geotagged Flickr photos, contrastive with CLIP",
        source="https://github.com/VicenteVivan/geo-clip",
        size_mb=37.8,
        filename="location_encoder_weights.pth",
        sha256="94b80ae3af89fca78539e129dd2929d321247f5ceeeb0a31bc2c31041a253394",
        manual="run pip download --no-deps geoclip and pass the wheel as path=, or take "
        "geoclip/model/weights/location_encoder_weights.pth out of it",
        good_for="where photos are taken: towns, streets, landmarks",
    ),
]

_LOCATION_ENCODERS = [
    EncoderCard(
        name="mind",
        family="mind",
        dim=3072,
        authors="Corley, Rao, Rolf, Klemmer, Shelhamer, Lehmann, Rußwurm, Mai, Jacobs, Kerner",
        year=2026,
        license="MIT",
        training_data="distilled from AlphaEarth, Climplicit, GeoCLIP and SINR",
        source="https://huggingface.co/taylor-geospatial/MIND",
        repo_id="taylor-geospatial/MIND",
        filename="mind.safetensors",
        good_for="many tasks at once; prefixes from 64 numbers trade accuracy for size",
    ),
    EncoderCard(
        name="tte",
        family="tte",
        dim=512,
        authors="Cher, Iqbal, Xing, Wei, Jacobs",
        year=2026,
        license="MIT",
        training_data="S2-100K: 100,000 Sentinel-2 images, contrastive with a ViT-L (MAE)",
        source="https://huggingface.co/MVRL/TTE",
        size_mb=14.0,
        repo_id="MVRL/TTE",
        filename="model.safetensors",
        good_for="what satellites see, with detail where training images are dense",
    ),
    EncoderCard(
        name="climplicit",
        family="climplicit",
        dim=1024,
        authors="Dollinger, Robert, Plekhanova, Drees, Wegner",
        year=2025,
        license="not stated",
        training_data="CHELSA: monthly climate of 1981 to 2010, 11 variables, 1 km",
        source="https://huggingface.co/Jobedo/climplicit",
        repo_id="Jobedo/climplicit",
        filename="model.safetensors",
        good_for="climate, its seasons, and where species can live",
    ),
    EncoderCard(
        name="sinr",
        family="sinr",
        dim=256,
        authors="Cole, Van Horn, Lange, Shepard, Leary, Perona, Loarie, Mac Aodha",
        year=2023,
        license="MIT",
        training_data="iNaturalist: 35.5 million sightings of 47,375 species, at most 1,000 each",
        source="https://huggingface.co/MVRL/sinr-location-encoder-1000-cls",
        repo_id="MVRL/sinr-location-encoder-1000-cls",
        filename="model.safetensors",
        good_for="ranges of species and other ecology on land",
    ),
    *(
        EncoderCard(
            name=name,
            family="range",
            dim=1280,
            authors="Dhakal, Sastry, Khanal, Ahmad, Xing, Jacobs",
            year=2025,
            license="not stated",
            training_data="a database of Sentinel-2 images of S2-100K, SatMAE features, found by "
            + how,
            source="https://huggingface.co/datasets/MVRL/RANGE-database",
            filename="range_db_large.npz",
            manual="take range_db_large.npz from the dataset MVRL/RANGE-database on "
            "huggingface.co, and get satclip-vit16-l40, which it needs",
            good_for="what images show, at several scales",
        )
        for name, how in (
            ("range", "their SatCLIP embedding"),
            ("range-plus", "their SatCLIP embedding and their nearness"),
        )
    ),
    EncoderCard(
        name="taxabind-location",
        family="geoclip",
        dim=512,
        authors="Sastry, Khanal, Dhakal, Ahmad, Jacobs",
        year=2025,
        license="Apache-2.0",
        training_data="iNaturalist photos with place, bound to images, text, sound and satellites",
        source="https://huggingface.co/MVRL/ecogeo",
        repo_id="MVRL/ecogeo",
        filename="model.safetensors",
        good_for="species in photos, sound and text, and where they are",
    ),
]

_MOSAIKS_MINI = EncoderCard(
    name="mosaiks-mini",
    family="rcf",
    dim=256,
    authors="satclip-explore, after Rolf et al. 2021",
    year=2026,
    license="MIT",
    training_data="none: random convolutional features of the Blue Marble of July 2004 (NASA, "
    "public domain)",
    coverage="land",
    source="computed from the picture in this package, or from the one at path=",
    filename="basemap.jpg",
    embedded=True,
)

_ALL = [
    _mini("mini-l40"),
    _mini("mini-l10"),
    _mini("mini-satclip-l10"),
    _MOSAIKS_MINI,
    *(_satclip(backbone, L) for backbone in ("ResNet18", "ResNet50", "ViT16") for L in (10, 40)),
    *_OTHERS,
    *_LOCATION_ENCODERS,
    *(_torchspatial(key) for key in FILES),
    _baseline("lonlat", 2, "longitude and latitude"),
    _baseline("xyz", 3, "unit vector"),
    _baseline("wrap", 4, "sines and cosines of the coordinates"),
    *(_baseline(f"harmonics-l{L}", L * L, f"spherical harmonics, L = {L}") for L in (10, 40)),
    *(_baseline(f"random-l{L}", 256, f"an untrained SatCLIP, L = {L}") for L in (10, 40)),
]

CARDS = {card.name: card for card in _ALL}
"""Every registered encoder by name, the embedded ones first."""
