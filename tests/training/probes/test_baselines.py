import numpy as np
import pytest

from satclip_explore.encoders.custom import from_callable
from satclip_explore.encoders.registry import load_encoder
from training.probes.baselines import line_up


def named(name):
    return from_callable(np.cos, name=name)


def test_two_encoders_of_one_name_are_refused_even_when_one_is_the_main_one():
    main = named("mine")
    with pytest.raises(ValueError, match="two encoders are called 'mine'"):
        line_up(main, [named("mine")], (), "cpu")
    with pytest.raises(ValueError, match="two encoders are called 'other'"):
        line_up(main, [named("other"), named("other")], (), "cpu")


@pytest.mark.parametrize("name", ["nearest", "lonlat", "random-l10"])
def test_a_stranger_does_not_stand_in_for_a_baseline(name):
    with pytest.raises(ValueError, match=f"two encoders are called '{name}'"):
        line_up(named(name), (), (name,), "cpu")


def test_an_encoder_that_is_named_twice_is_compared_once():
    main = load_encoder("harmonics-l10")
    line = line_up(main, [main, load_encoder("mini-l10")], ("lonlat", "harmonics-l10"), "cpu")
    assert list(line) == ["lonlat", "harmonics-l10", "mini-l10"]
    assert line["harmonics-l10"] is main
