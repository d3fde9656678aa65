"""Configurations: files, overrides, and what is refused."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields

import pytest

from training.pretraining.config import (
    CONFIG_FOLDER,
    SECTIONS,
    PretrainConfig,
    from_dict,
    load_config,
)


@pytest.mark.parametrize("path", sorted(CONFIG_FOLDER.glob("*.toml")), ids=lambda p: p.stem)
def test_every_file_loads_and_takes_its_name(path):
    config = load_config(path.stem)
    assert config.name == path.stem
    assert config == load_config(path)


def test_names_of_settings_are_unique_over_the_sections():
    names = [f.name for kind in SECTIONS.values() for f in fields(kind)]
    names += [f.name for f in fields(PretrainConfig)]
    assert len(names) == len(set(names))


def test_a_configuration_is_frozen_and_passes_through():
    config = PretrainConfig()
    assert load_config(config) is config
    with pytest.raises(FrozenInstanceError):
        config.name = "other"


def test_a_configuration_comes_back_from_its_dict():
    config = load_config("satclip-l40")
    assert from_dict(config.to_dict()) == config


def test_names_of_earlier_versions_still_open(tmp_path):
    path = tmp_path / "old.toml"
    path.write_text(
        "[imagery]\nelsewhere = 0.25\nantarctica = 0.125\n[features]\ncopies = 3\n",
        encoding="utf-8",
    )
    config = load_config(path)
    assert config.imagery.ocean_fraction == 0.25
    assert config.imagery.antarctica_fraction == 0.125
    assert config.features.augmentations == 3
    assert config.replace(copies=4) == config.replace(**{"features.augmentations": 4})
    assert "copies" not in config.to_dict()["features"]


def test_a_setting_under_both_names_is_refused(tmp_path):
    path = tmp_path / "both.toml"
    path.write_text("[features]\ncopies = 3\naugmentations = 2\n", encoding="utf-8")
    with pytest.raises(
        ValueError, match="'copies' is the former name of 'augmentations'; got both"
    ):
        load_config(path)


def test_overrides_find_their_section_and_type():
    config = load_config("laptop").replace(
        epochs="2", legendre_polys=7, learning_rate=1, scales_km="[5, 50]", tensorboard="true"
    )
    assert config.training.epochs == 2
    assert config.location.legendre_polys == 7
    assert config.training.learning_rate == 1.0
    assert isinstance(config.training.learning_rate, float)
    assert config.features.scales_km == (5.0, 50.0)
    assert config.training.tensorboard is True
    assert config.replace(name="mine").name == "mine"
    assert config.replace(**{"training.epochs": 3}).training.epochs == 3
    assert config.replace(epochs=4.0).training.epochs == 4


@pytest.mark.parametrize(
    ("key", "close"),
    [("epoch", "'epochs' in [training]"), ("legendre", "'legendre_polys' in [location]")],
)
def test_unknown_overrides_name_the_close_match(key, close):
    with pytest.raises(TypeError) as caught:
        load_config("laptop").replace(**{key: 2})
    assert f"unknown setting {key!r}" in str(caught.value)
    assert close in str(caught.value)


def test_an_override_in_the_wrong_section_is_unknown():
    with pytest.raises(TypeError, match=r"'location\.epochs'"):
        load_config("laptop").replace(**{"location.epochs": 2})


def test_a_name_that_resembles_nothing_lists_what_is_known():
    with pytest.raises(TypeError, match="Known: .*batch_size"):
        load_config("laptop").replace(zzzz=1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[training]\nepoch = 2",
            r"unknown setting 'epoch' in \[training\]. Did you mean 'epochs'",
        ),
        ("epochs = 2", r"unknown setting 'epochs'. Did you mean 'epochs' in \[training\]"),
        ("[trainings]\nepochs = 2", "unknown setting 'trainings'"),
        ("training = 3", r"\[training\] must be a table"),
        ("[training]\nepochs = 2.5", "epochs must be a whole number; got 2.5"),
        ("[training]\nepochs = true", "epochs must be a whole number; got True"),
        ("[training]\nlearning_rate = 'fast'", "learning_rate must be a number"),
        ("[training]\ntensorboard = 1", "tensorboard must be true or false"),
        ("[training]\nlearning_rate = nan", "learning_rate must be finite; got nan"),
        ("[training]\nlearning_rate = inf", "learning_rate must be finite; got inf"),
        ("[features]\nscales_km = [10, nan]", "scales_km must be finite"),
        ("name = '../../outside'", "name must be a plain name of a folder; got '../../outside'"),
        ("name = '/tmp/outside'", "name must be a plain name"),
        ("name = '..'", "name must be a plain name"),
        ("[imagery]\nscale = 10000", "bands and scale are known for 'blue-marble'"),
        ("[imagery]\nsource = 'geotiffs'\nscale = 0", "scale must be above 0"),
        (
            "[features]\nimage_encoder = 'vit16'\nscale_weights = [1, 1, 1, 1, 1, 1]",
            "scale_weights must be 1 positive numbers",
        ),
        ("[features]\nscales_km = ['a']", "scales_km must be a list of numbers"),
        ("[features]\nscales_km = []", "scales_km must be positive and increasing"),
        ("[features]\nscales_km = [10, 10]", "scales_km must be positive and increasing"),
        ("[features]\nscales_km = [0, 10]", "scales_km must be positive and increasing"),
        ("[features]\nscale_weights = [1, 2]", "scale_weights must be 6 positive numbers"),
        (
            "[imagery]\nnight_lights = true\n[features]\nscale_weights = [1, 2]",
            "scale_weights must be 7 positive numbers",
        ),
        (
            "[imagery]\nnight_lights = true\n"
            "[training]\nregression_weight = 1\nposition_weight = 1",
            "256 numbers cannot hold 160 position features and 102 image components; lower",
        ),
        ("[training]\nprobes = 'biome'", r"probes must be a list of words, as in \[\"biome\"\]"),
        (
            "[imagery]\nnight_lights = true\n[features]\nimage_encoder = 'vit16'",
            "night_lights enter patch-statistics of 'blue-marble' only",
        ),
        ("name = 3", "name must be text"),
        ("[location]\nlegendre_polys = 201", "legendre_polys must be .* from 1 to 200; got 201"),
        ("[location]\nw0 = 0", "w0 must be a number above 0"),
        ("[training]\nposition_anisotropy = 0.5", "position_anisotropy must be at least 1"),
        ("[imagery]\nsource = 'landsat'", "source must be one of .*'blue-marble'.*got 'landsat'"),
        ("[training]\nwarmup = 1.0", "warmup is a fraction"),
        ("[imagery]\nantarctica = 1.5", "antarctica_fraction is a fraction"),
        ("[training]\nbatch_size = 1", "batch_size must be at least 2; got 1"),
        ("[training]\nmaximum_scale = 2.0", "maximum_scale must not be below initial_scale"),
        ("[training]\ncontrastive_weight = 0", "nothing to learn"),
        ("[training", "is not a TOML file"),
    ],
)
def test_files_that_cannot_work_are_refused_with_the_reason(tmp_path, text, message):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        load_config(path)


def test_a_list_that_was_emptied_can_be_filled_again():
    emptied = PretrainConfig().replace(probes=())
    assert emptied.replace(probes=("country",)).training.probes == ("country",)


def test_a_missing_file_lists_the_known_names():
    with pytest.raises(
        FileNotFoundError,
        match="known: laptop, mini-l10, mini-l40, mini-satclip-l10, satclip-l10, ",
    ):
        load_config("laptp")


def test_binary_files_are_refused(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="is not a TOML file"):
        load_config(path)
