"""A configuration is what it says, wherever it is read from."""

import dataclasses
import math
from typing import Annotated, Literal

import pytest

from experiments.configs import NAMED, SampleSizeConfig, UCurveConfig
from experiments.constraints import POSITIVE, Ascending, Below, Count, NotEmpty, Ratio, Several, check_fields
from experiments.registry import EXPERIMENTS


@pytest.mark.parametrize("kind", EXPERIMENTS)
def test_a_configuration_survives_the_way_to_plain_values_and_back(kind):
    config = EXPERIMENTS[kind].config()
    assert type(config).from_mapping(dataclasses.asdict(config), "here") == config


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


@pytest.mark.parametrize("kind", EXPERIMENTS)
def test_the_defaults_and_the_settings_with_a_name_are_allowed(kind):
    for config in (EXPERIMENTS[kind].config(), *NAMED.get(kind, {}).values()):
        check_fields(config)


@dataclasses.dataclass(frozen=True)
class Made:
    """One field of every form that an annotation may have."""

    count: Count = 1
    optional: Count | None = None
    choice: Literal["a", "b"] = "a"
    counts: Annotated[tuple[Several, ...], Ascending(), NotEmpty("count")] = (2, 3)
    bounded: Annotated[float, POSITIVE, Below(2, "two is a crowd")] = 1.0
    share: Ratio = 0.5
    free: str = ""


def test_what_a_constraint_allows_passes():
    check_fields(Made())
    check_fields(Made(optional=3, choice="b", counts=[2], bounded=1, share=1))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("count", 0, "must be a whole number of at least 1, got 0"),
        ("count", 1.5, "must be a whole number of at least 1, got 1.5"),
        ("optional", 0, "must be a whole number of at least 1, got 0"),
        ("choice", "c", "'c' is not known; pass one of a, b"),
        ("counts", (1, 2), "must be a whole number of at least 2, got 1"),
        ("counts", (3, 2), "must be a list that strictly ascends, got [3, 2]"),
        ("counts", (), "must be a list that strictly ascends, got []"),
        ("bounded", math.nan, "must be a positive number, got nan"),
        ("bounded", 2.0, "must lie below 2, got 2; two is a crowd"),
        ("share", math.nan, "must lie in [0, 1], got nan"),
        ("share", None, "must lie in [0, 1], got None"),
        ("share", "half", "must lie in [0, 1], got 'half'"),
    ],
)
def test_what_a_constraint_does_not_allow_is_named(field, value, message):
    with pytest.raises(ValueError) as refusal:  # noqa: PT011 (the whole message is compared)
        check_fields(dataclasses.replace(Made(), **{field: value}))
    assert str(refusal.value) == f"{field}: {message}"


@pytest.mark.parametrize("kind", EXPERIMENTS)
def test_every_number_of_a_configuration_has_a_constraint(kind):
    """None of them takes a number that nobody could mean."""
    for field in dataclasses.fields(EXPERIMENTS[kind].config):
        default = field.default[0] if isinstance(field.default, tuple) else field.default
        if type(default) in (int, float):
            value = (math.nan,) if isinstance(field.default, tuple) else math.nan
            with pytest.raises(ValueError, match=f"^{field.name}: "):
                check_fields(dataclasses.replace(EXPERIMENTS[kind].config(), **{field.name: value}))
