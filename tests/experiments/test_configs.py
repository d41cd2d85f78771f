"""A configuration is what it says, wherever it is read from."""

import dataclasses

import pytest

from experiments.configs import SampleSizeConfig, UCurveConfig


@pytest.mark.parametrize("kind", [UCurveConfig, SampleSizeConfig])
def test_a_configuration_survives_the_way_to_plain_values_and_back(kind):
    config = kind()
    assert kind.from_mapping(dataclasses.asdict(config), "here") == config


def test_an_unknown_key_is_named_beside_the_known_ones():
    with pytest.raises(ValueError, match=r"a\.toml: does not know lamda; known are .*\blam\b"):
        UCurveConfig.from_mapping({"lamda": 0.5}, "a.toml")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"lam": "half"}, "a.toml: lam: is 'half'; pass a value of type float"),
        ({"num_samples": 3.5}, "a.toml: num_samples: is 3.5; pass a value of type int"),
        ({"num_samples": True}, "a.toml: num_samples: is True; pass a value of type int"),
        ({"truth": "oracle"}, "a.toml: truth: 'oracle' is not known; pass one of kernel, labels"),
        ({"num_pairs": "all"}, "a.toml: num_pairs: is 'all'; pass a value of type int | None"),
    ],
)
def test_a_value_of_another_type_is_refused(values, message):
    with pytest.raises(ValueError) as refusal:  # noqa: PT011 (the whole message is compared)
        UCurveConfig.from_mapping(values, "a.toml")
    assert str(refusal.value) == message


def test_whole_numbers_pass_for_floats_and_lists_for_tuples():
    assert UCurveConfig.from_mapping({"lam": 1}, "").lam == 1.0
    assert SampleSizeConfig.from_mapping({"sample_sizes": [4, 6]}, "").sample_sizes == (4, 6)
