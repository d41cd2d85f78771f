"""What is asked of data of one's own: where they are read, how rows are held out, what is compared, how one trains.

Plain values, as all configurations are; nothing that computes is imported here.
"""

import dataclasses
from typing import Annotated, Any, Literal

from experiments.constraints import (
    MOST_SEEDS,
    NOT_NEGATIVE,
    Activation,
    Alpha,
    AtLeast,
    AtMost,
    Below,
    BiasStd,
    Count,
    FeatureWeightStd,
    Several,
    Time,
)
from experiments.fields import MixingConfig


@dataclasses.dataclass(frozen=True)
class DataConfig(MixingConfig):
    """A table or arrays of one's own, and a law of mixing."""

    dataset: str = "diabetes"
    """diabetes, digits, or the path of a .csv, .tsv (perhaps .gz) or .npz file; the name after the command says the
    same."""
    target: str | None = None
    """The column of a table to predict; several with commas between them. A column of text holds classes."""
    inputs: str | None = None
    """The columns of a table to predict from, with commas between them, a name that holds one between quotes; None for
    all others."""
    exclude: str | None = None
    """Columns of a table that are no inputs, with commas between them."""
    separator: str | None = None
    """The mark between the cells of a table, or tab; None for what parts its first two lines best."""
    decimal: Literal["auto", ".", ","] = "auto"
    """The mark before decimals in a table. auto: a point, or a comma where columns hold no numbers without."""
    missing: Literal["refuse", "mean"] = "refuse"
    """Inputs that are missing: refuse them, or take the column's mean over the rows to train on."""
    alpha: Alpha = 1.0
    """Beta parameter of the mixing ratio, from 1e-4 to 1e3."""

    def reading(self) -> dict[str, Any]:
        """What `rfm.data.read_data` is to be told of the data."""
        decimal = None if self.decimal == "auto" else self.decimal
        columns = {"target": self.target, "inputs": self.inputs, "exclude": self.exclude or ()}
        return columns | {"separator": self.separator, "decimal": decimal, "missing": self.missing}


@dataclasses.dataclass(frozen=True)
class PairsConfig(DataConfig):
    """Pairs of rows to encode elsewhere, by a frozen network."""

    pairs_per_row: Count = 20
    """Mixtures that are drawn for each row."""


@dataclasses.dataclass(frozen=True)
class AdviseConfig(DataConfig):
    """When to stop training with Mixup, or to switch it off, for data of one's own."""

    num_seeds: Annotated[int, AtLeast(0), AtMost(MOST_SEEDS)] = 0
    """Random splits on which the advice is checked by real training, in minutes; 0 for no check."""
    num_rows: Annotated[int, AtLeast(2)] | None = None
    """So many random rows of the data; None for all. In the check, of each split, whose other rows test; None for three
    quarters."""
    target_kind: Literal["auto", "numbers", "classes"] = "auto"
    """What the targets are. auto: classes if they are at most 20 different whole numbers, or text."""
    metric: Literal["squared-error", "accuracy"] = "squared-error"
    """What is compared; of classes both are shown."""
    num_folds: Several = 5
    """K: each of K random parts is held out once, every class in each."""
    num_held_out: Several | None = None
    """Hold out that many random rows once, instead of folds."""
    groups: str | None = None
    """A column that says what rows belong together, such as a patient: whole groups are held out."""
    time_order: str | None = None
    """A column that says when rows were taken: each of K blocks is held out from all rows of earlier times."""
    split: str | None = None
    """A column that says where rows belong: the word train, and one other for rows that are held out; or the number of
    a fold, with -1 for rows that never are."""
    validation: str | None = None
    """A file like the data, whose rows are held out, all of them and no others."""
    num_components: Count | None = None
    """Principal components of the rows to train on, in the place of the inputs; None for these themselves."""
    features: str = "random"
    """random: random features of the scaled inputs. raw: these themselves. Of a frozen network, the path of an
    .npz file with its features of rows and their mixtures; see `rfm pairs`."""
    num_features: Count = 200
    """p, the random features."""
    feature_activation: Activation = "relu"
    """Of the random features: tanh, relu, erf, sin, or another that the message about an unknown name lists."""
    feature_weight_std: FeatureWeightStd = 1.0
    """Standard deviation of the features' weights."""
    feature_bias_std: BiasStd = 0.5
    """Standard deviation of the features' biases."""
    num_pairs: Count | None = None
    """Mixup draws so many random pairs once; None for fresh pairs at every step."""
    compare_laws: bool = False
    """Compare laws of mixing too: three alphas, never a row with itself, RegMixup, and C-Mixup at two bandwidths or
    pairs of one class, each with no Mixup. Pairs of all laws are drawn, 20 a row unless num_pairs says otherwise."""
    learning_curve: bool = False
    """Would more data help? Train on a quarter of the rows and more too, and foretell what twice as many would do."""
    budget: Time | None = None
    """When training ends, in units of 1/eigenvalue; None for 10 000 steps of the default step size."""
    step_size: Time | None = None
    """That turns times into steps; None for half of the largest stable one."""
    learning_rate: Time | None = None
    """That of your own training by sgd: then steps and epochs are yours."""
    batch_size: Count | None = None
    """Rows of a step of your training; None for 512. The check by real training takes as many."""
    momentum: Annotated[float, NOT_NEGATIVE, Below(1, "at 1 it never forgets")] = 0.0
    """That of your own training, in [0, 1)."""
    loss: Literal["mse", "sum", "half"] = "mse"
    """What your own training minimises. mse: the mean of squares over rows and targets. sum: over targets the sum.
    half: half of that."""
    optimizer: str = "sgd"
    """That of your own training."""
    num_epochs: Time | None = None
    """How many your own training lasts: the budget in its words."""
    num_times: Annotated[int, AtLeast(4)] = 61
    """Times at which the curves are evaluated, evenly in log t."""

    def apart(self) -> tuple[str, ...]:
        """Columns of a table that say which rows are held out."""
        return tuple(name for name in (self.groups, self.time_order, self.split) if name is not None)

    @property
    def apart_flag(self) -> str:
        """The field that names one."""
        return next((name for name in ("groups", "time_order", "split") if getattr(self, name) is not None), "apart")

    def ignored(self) -> dict[str, str]:
        ignored = super().ignored()
        if self.features != "random":
            ignored |= dict.fromkeys(_RANDOM, f"beside --features {self.features}, which takes none at random")
        if self.features not in ("random", "raw"):
            ignored |= dict.fromkeys(_MIXING, f"beside --features {self.features}, whose rows are mixed already")
        for name in ("split", "validation"):
            if getattr(self, name) is not None:
                ignored["num_rows"] = f"beside --{name}, which says of all rows whether they are held out"
        for name in ("num_held_out", "split", "validation"):
            if getattr(self, name) is not None:
                ignored["num_folds"] = f"beside --{name.replace('_', '-')}, which takes the place of folds"
        if self.learning_rate is None and self.num_seeds == 0:
            ignored["batch_size"] = "without --learning-rate or a check (--num-seeds)"
        if self.learning_rate is None:
            ignored |= dict.fromkeys(("momentum", "loss", "optimizer", "num_epochs"), "without --learning-rate")
        return ignored


_RANDOM = ("num_features", "feature_activation", "feature_weight_std", "feature_bias_std")
_MIXING = ("alpha", "num_pairs", "partners", "share", "label_lam", "label_alpha", "space", "compare_laws",
           "learning_curve", "num_components",
           "num_rows")  # fmt: skip
