"""What a field of a configuration may be: constraints that stand in its annotation, and the one check that reads them.

    num_samples: Annotated[int, AtLeast(2)] = 18

A constraint says what is wrong with the flag's own name, before any work is done. The ranges are far wider than any
experiment needs; beyond them numbers overflow in the middle of a formula, whose words would name things that nobody
passed. What computes is imported once a value is looked at, since help is printed without it.
"""

import itertools
import types
import typing
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pkgutil import resolve_name
from typing import Annotated, Any, Literal

MOST_STEPS = 2**53
"""Beyond, floating point no longer counts by ones."""
WEAKEST, STRONGEST = 1e-6, 1e6
"""Of what labels are multiplied by, or of noise."""
STEEPEST = 1e3
"""Of weights and biases in front of an activation; the expansions of steeper ones take minutes and gigabytes."""
MOST_SEEDS = 10**6
"""Each is named in the result's provenance."""
SHORTEST, LONGEST = 1e-30, 1e30
"""Of times, which are measured in 1/eigenvalue, whatever the features' scale."""


def check_fields(config: object) -> None:
    """Raises ValueError, naming field, value and remedy, at the first field that its annotation does not allow."""
    for name, annotation in typing.get_type_hints(type(config), include_extras=True).items():
        _check(name, getattr(config, name), annotation)


def _check(name: str, value: Any, annotation: Any) -> None:
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        inner, *constraints = typing.get_args(annotation)
        _check(name, value, inner)
        for constraint in constraints:
            constraint.check(name, value)
    elif origin is tuple:
        for item in value:
            _check(name, item, typing.get_args(annotation)[0])
    elif origin in (typing.Union, types.UnionType) and value is not None:
        _check(name, value, typing.get_args(annotation)[0])
    elif origin is Literal:
        of_type(name, value, annotation)


def of_type(name: str, value: Any, expected: Any) -> Any:
    """The value, with whole numbers taken for floats and lists for tuples; ValueError if it is of another type."""
    if typing.get_origin(expected) is tuple:
        if isinstance(value, list | tuple):
            return tuple(of_type(name, item, typing.get_args(expected)[0]) for item in value)
        wanted = str(expected)
    elif typing.get_origin(expected) is Literal:
        if value in typing.get_args(expected):
            return value
        raise ValueError(f"{name}: {value!r} is not known; pass one of {', '.join(typing.get_args(expected))}")
    else:
        options = typing.get_args(expected) or (expected,)
        if type(value) in options:
            return value
        if float in options and type(value) is int:
            return float(value)
        wanted = " | ".join("None" if option is types.NoneType else option.__name__ for option in options)
    raise ValueError(f"{name}: is {value!r}; pass a value of type {wanted}")


class Constraint(ABC):
    """What values a field may have."""

    @abstractmethod
    def check(self, name: str, value: Any) -> None:
        """Raises ValueError, naming the field, its value and the remedy, unless the value is one of them."""


@dataclass(frozen=True)
class AtLeast(Constraint):
    """A whole number, that or more."""

    least: int

    def check(self, name: str, value: Any) -> None:
        from theory.checks import check_count

        check_count(name, value, least=self.least)


@dataclass(frozen=True)
class AtMost(Constraint):
    """A number, that or less; a whole one is also written as ``power``."""

    most: float
    power: str = ""

    def check(self, name: str, value: Any) -> None:
        if value > self.most:
            range_ = f"{self.power} = {self.most}, got {value}" if self.power else f"{self.most:g}, got {value:g}"
            raise ValueError(f"{name}: must be at most {range_}")


@dataclass(frozen=True)
class Passes(Constraint):
    """What a check of `theory.checks` lets pass."""

    function: str

    def check(self, name: str, value: Any) -> None:
        resolve_name(f"theory.checks:{self.function}")(name, value)


@dataclass(frozen=True)
class NoLess(Constraint):
    """That number or more; ``why`` says what would be wrong with a smaller one."""

    least: float
    why: str

    def check(self, name: str, value: Any) -> None:
        if not value >= self.least:
            raise ValueError(f"{name}: must be at least {self.least:g}, got {value:g}; {self.why}")


@dataclass(frozen=True)
class Below(Constraint):
    """Less than that number; ``why`` says what would be wrong with another one."""

    bound: float
    why: str

    def check(self, name: str, value: Any) -> None:
        if not value < self.bound:
            raise ValueError(f"{name}: must lie below {self.bound:.3g}, got {value:g}; {self.why}")


@dataclass(frozen=True)
class Within(Constraint):
    """A number of that range, the ends of which are written out."""

    low: float
    high: float

    def check(self, name: str, value: Any) -> None:
        if not self.low <= value <= self.high:
            raise ValueError(f"{name}: must lie between {self.low:g} and {self.high:g}, got {value:g}")


NOT_NEGATIVE, POSITIVE = Passes("check_not_negative"), Passes("check_positive")


@dataclass(frozen=True)
class Curvature(Constraint):
    """The spread of weights that make something that varies; ``constant`` says what those of zero make."""

    constant: str

    def check(self, name: str, value: Any) -> None:
        NOT_NEGATIVE.check(name, value)
        NoLess(WEAKEST, f"with weights of zero {self.constant}").check(name, value)
        AtMost(STEEPEST).check(name, value)


@dataclass(frozen=True)
class Share(Constraint):
    """A number from 0 to 1, both included."""

    def check(self, name: str, value: Any) -> None:
        from theory.checks import described, is_number

        if not (is_number(value) and 0 <= value <= 1):
            raise ValueError(f"{name}: must lie in [0, 1], got {described(value)}")


@dataclass(frozen=True)
class OneOf(Constraint):
    """A name of a table, which is itself named, such as ``package.module:TABLE``."""

    table: str

    def check(self, name: str, value: Any) -> None:
        from theory.checks import check_choice

        check_choice(name, value, resolve_name(self.table))


@dataclass(frozen=True)
class NotEmpty(Constraint):
    """A list of one or more; ``what`` says of which things."""

    what: str

    def check(self, name: str, value: Any) -> None:
        if not value:
            raise ValueError(f"{name}: must name at least one {self.what}, got {value}")


@dataclass(frozen=True)
class Ascending(Constraint):
    """A list of one or more, each larger than the one before."""

    def check(self, name: str, value: Any) -> None:
        if not value or any(later <= earlier for earlier, later in itertools.pairwise(value)):
            raise ValueError(f"{name}: must be a list that strictly ascends, got {list(value)}")


Count = Annotated[int, AtLeast(1)]
Several = Annotated[int, AtLeast(2)]
Seed = Annotated[int, AtLeast(0), AtMost(2**63 - 1, "2^63 - 1")]
"""What a random key can hold."""
Seeds = Annotated[int, AtLeast(1), AtMost(MOST_SEEDS)]
Steps = Annotated[int, AtLeast(1), AtMost(MOST_STEPS, "2^53")]
Strength = Annotated[float, NOT_NEGATIVE, AtMost(STRONGEST)]
"""Zero or more, and not beyond all measure."""
BiasStd = Annotated[float, NOT_NEGATIVE, AtMost(STEEPEST)]
Fraction = Annotated[float, POSITIVE, NoLess(WEAKEST, "with smaller steps nothing is learnt")]
"""Of the largest step."""
Time = Annotated[float, POSITIVE, Within(SHORTEST, LONGEST)]
Ratio = Annotated[float, Share()]
"""Of mixing."""
Alpha = Annotated[float, Passes("check_alpha")]
"""Of the Beta distribution of mixing ratios."""
Activation = Annotated[str, OneOf("theory.duals:ACTIVATIONS")]
FeatureWeightStd = Annotated[float, Curvature("all features are constant")]
TeacherWeightStd = Annotated[float, Curvature("the teacher is constant and nothing can be learnt")]
