"""From a configuration to laws of Mixup: the one place that reads its fields of mixing."""

import math
from typing import Any, Literal

import rfm
from experiments.constraints import check_fields
from experiments.fields import MixingConfig, TaskConfig


def mixup(
    config: MixingConfig,
    pairs: int | Literal["all", "expected"],
    *,
    lam: float | None = None,
    alpha: float | None = None,
) -> rfm.Mixup:
    """The law of so many pairs, at a ratio or over a law of ratios.

    Raises:
        ValueError: partners that need a field which was not passed; two ratios of the labels.

    >>> print(mixup(MixingConfig(partners="similar-labels", bandwidth=0.5), "expected", alpha=1.0))
    Mixup(alpha=1, pairs=expected, partners=similar labels (h=0.5))
    """
    return rfm.Mixup(
        lam,
        alpha=alpha,
        pairs=pairs,
        partners=_partners(config),
        share=config.share,
        label_lam=config.label_lam,
        label_alpha=config.label_alpha,
        space=config.space,
    )


def all_pairs(config: MixingConfig, num_samples: int, *, lam: float) -> rfm.Mixup:
    """That of all ordered pairs at one ratio, each once; or, where some are likelier than others, n^2 drawn ones.

    >>> print(all_pairs(MixingConfig(), 5, lam=0.5))
    Mixup(lam=0.5, pairs=all)
    >>> print(all_pairs(MixingConfig(share=0.5), 5, lam=0.5))
    Mixup(lam=0.5, pairs=25, share=0.5)
    """
    are_even = config.share == 0 or (config.share == 1 and config.partners in _EVEN)
    return mixup(config, "all" if are_even else num_samples**2, lam=lam)


_EVEN = ("any", "others", "nearest-inputs")
"""Partners under which all pairs that there are have the same weight."""


def check_mixing(config: MixingConfig) -> None:
    """Raises ValueError for a field out of range, or for fields that make no law, before there is anything to mix."""
    check_fields(config)
    mixup(config, "all", lam=0.5)
    if config.partners in ("same-class", "other-class") and isinstance(config, TaskConfig):
        _check_classes(config)
    if config.partners == "nearest-inputs":
        sizes = getattr(config, "sample_sizes", None) or (getattr(config, "num_samples", math.inf),)
        wanted, others = config.num_neighbors, min(sizes) - 1
        if wanted is not None and wanted > others:
            raise ValueError(f"num_neighbors: {wanted} asked for, but a sample has {others} others; pass fewer")


def _check_classes(config: TaskConfig) -> None:
    if config.dataset is None or config.truth != "labels" or config.label_noise_std != 0:
        raise ValueError(
            f"partners: {config.partners} asks for labels that are classes; pass a --dataset of classes with --truth "
            "labels and no label_noise_std"
        )


def _partners(config: MixingConfig) -> rfm.mixup.Partners | None:
    chosen: dict[str, Any] = {
        "any": lambda: None,
        "others": rfm.mixup.OtherSamples,
        "similar-labels": lambda: rfm.SimilarLabels(_needed(config, "bandwidth", config.bandwidth, "0.5")),
        "nearest-inputs": lambda: rfm.mixup.NearestInputs(_needed(config, "num_neighbors", config.num_neighbors, "5")),
        "same-class": rfm.mixup.SameClass,
        "other-class": rfm.mixup.OtherClass,
    }
    return chosen[config.partners]()


def _needed(config: MixingConfig, name: str, value: Any, example: str) -> Any:
    if value is None:
        flag = name.replace("_", "-")
        raise ValueError(f"{name}: partners {config.partners} need it; pass one, such as --{flag} {example}")
    return value
