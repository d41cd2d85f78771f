"""What the terminal shows: progress while an experiment runs, and its result as a table."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import floor, isfinite, log10, nan
from pkgutil import resolve_name
from statistics import median

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from experiments.exits import drop_output
from experiments.registry import known
from experiments.store import Result, Variable, over_parts, over_seeds, provenance_of, turns_of_means
from experiments.variables import Advance, Stage
from rfm.decide.advice import MEASURED_COVERAGE, MEASURED_ERROR_COVERAGE, SAME, SIGNIFICANT
from rfm.progress import bars


class _Console(Console):
    """Prints text as it is: names and paths that users bring are no markup. Where nobody reads on, work goes on."""

    def on_broken_pipe(self) -> None:
        drop_output(self.file)


def console(*, stderr: bool = False) -> Console:
    """Where everything is printed."""
    return _Console(stderr=stderr, markup=False, emoji=False)


@contextmanager
def progress_bars(console: Console) -> Iterator[Stage]:
    """One bar a stage, with the time left; a plain line a minute where the console is no terminal."""
    with bars(console) as progress:

        def stage(name: str, total: int) -> Advance:
            task = progress.add_task(name, total=total)
            return lambda amount: progress.advance(task, amount)

        yield stage


def print_result(console: Console, result: Result) -> None:
    """The table of a result of any kind."""
    kind, kinds = result.attrs["kind"], known()
    if kind not in kinds:
        raise ValueError(f"kind: {kind!r} is not known; this version prints results of {', '.join(sorted(kinds))}")
    print_table = resolve_name(kinds[kind].table)
    try:
        print_table(console, result)
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"{kind}: the result lacks what its table shows ({error}); run its experiment again"
        ) from error


def print_origin(console: Console, result: Result) -> None:
    """The configuration and the provenance of a result."""
    provenance = provenance_of(result)
    missing = sorted({"configuration", *_ORIGIN} - set(provenance))
    if missing:
        raise ValueError(f"provenance: the result lacks {', '.join(missing)}; run its experiment again")
    commit = provenance["commit"]
    console.print("\nconfiguration", style="bold")
    for name, value in provenance["configuration"].items():
        console.print(f"  {name} = {json.dumps(value)}", highlight=False)
    console.print("\nprovenance", style="bold")
    versions = ", ".join(f"{name} {version}" for name, version in provenance["versions"].items())
    lines = {
        "command": provenance["command"],
        "created": provenance["created"],
        "commit": "not in a checkout"
        if commit is None
        else commit["id"] + (" with changes" if commit["dirty"] else ""),
        "python": f"{provenance['python']} on {provenance['platform']}",
        "versions": versions,
        "layout": provenance["layout"],
    }
    for name, value in lines.items():
        console.print(f"  {name}: {value}", highlight=False, markup=False)


_ORIGIN = ("command", "commit", "created", "layout", "platform", "python", "versions")


def _table(title: str, *headers: str) -> Table:
    """A table that leaves its 80 columns to the numbers: the first column to the left, the others to the right."""
    table = Table(
        title=title, title_justify="left", min_width=len(title),
        box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False, pad_edge=False,
    )  # fmt: skip
    for index, header in enumerate(headers):
        table.add_column(header, justify="right" if index else "left")
    return table


def _folded(console: Console, title: str, headers: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table whose errors stand below their means where they do not fit beside them."""
    widths = [max(map(len, column)) for column in zip(headers, *rows, strict=True)]
    fits = sum(widths) + len(widths) - 1 <= console.width
    table = _table(title, *headers)
    for row in rows:
        table.add_row(*(cell if fits else cell.replace(" ± ", "\n± ") for cell in row))
    return table


def _of(number: int, what: str = "seed") -> str:
    """What the numbers of a table are: a mean and its error, or the numbers of the only one that there is."""
    return f"mean ± standard error of {number} {what}s" if number > 1 else f"one {what}"


def print_ucurve(console: Console, result: Result) -> None:
    """The table of `rfm ucurve`."""
    laws, seeds, far = result["law"].values, result.sizes["seed"], float(result["time"][-1])
    end = f"t = {float(result['step_time'][-1]):.3g} ({int(result['step'][-1])} steps)"
    table = _table(f"Gradient descent to {end}, {_of(seeds)}", "", *map(str, laws))
    turns = result["time"].values[turns_of_means(result["flow_risk"], result["flow_error"])]
    table.add_row("turn of the mean" if seeds > 1 else "turn of the flow", *(f"{turn:.3g}" for turn in turns))
    for label, name in _UCURVE_ROWS.items():
        table.add_row(label, *_cells([(result.sel(law=law), name) for law in laws]))
    table.add_section()
    for label, name in _UCURVE_RATIOS.items():
        base = result.isel(law=0, drop=True)
        table.add_row(label, "", *_written([_ratio(result.sel(law=law), base, name) for law in laws[1:]]))
    table.add_section()
    for label, values in {
        "agreement": [f"{value:.1e}" for value in result["agreement"].max("seed").values],
        "trusted until": [f"{value:.1e}" for value in result["trusted_until"].min("seed").values],
        "factorisation": ["/".join(sorted(set(row))) for row in result["method"].values],
    }.items():
        table.add_row(label, *values)
    console.print(table)
    notes = [
        f"{_turns(seeds)} risk: mean square error. penalty: final over turning risk. Unit of time: 1/eigenvalue.",
        f"late risk: of gradient flow at t = {far:.3g}. / ERM's: risk over ERM's of the same seed. agreement:"
        " largest relative deviation of simulation and closed form.",
    ]
    earliest = float(result["trusted_until"].min())
    if earliest < far:
        notes.append(f"Rounding: do not rely on gradient flow after t = {earliest:.3g}.")
    if "flow_clean" not in result:
        notes.append(
            "No decomposition: nobody knows the truth behind a data set's own labels (--truth kernel fits one)."
        )
    for note in notes:
        console.print(note, highlight=False)


def _turns(num_seeds: int) -> str:
    """What the two turns of the table are, which differ for one seed as well."""
    descent = "of gradient descent, within its steps"
    if num_seeds == 1:
        return f"turn of the flow: time at which gradient flow is lowest, as in the figure; turning time: {descent}."
    return (
        "turn of the mean: time at which the mean gradient flow over seeds is lowest, as in the figure; turning time: "
        f"{descent}, of each seed by itself."
    )


_UCURVE_ROWS = {
    "turning time": "turning_time",
    "turning risk": "turning_risk",
    "final risk": "final_risk",
    "penalty": "overtraining_penalty",
    "late risk": "flow_final_risk",
}
_UCURVE_RATIOS = {
    "turning / ERM's": "turning_risk",
    "final / ERM's": "final_risk",
    "late / ERM's": "flow_final_risk",
}


def print_sample_size(console: Console, result: Result) -> None:
    """The table of `rfm sample-size`."""
    title = f"Gradient flow to t = {float(result['final_time']):.3g}, {_of(result.sizes['seed'])}"
    table = _table(title, "regime", "n", "p", "turning risk", "final risk", "penalty")
    for regime in result["regime"].values:
        rows = [result.sel(regime=regime, num_samples=n) for n in result["num_samples"].values]
        names = ("turning_risk", "final_risk", "overtraining_penalty")
        columns = [_cells([(row, name) for row in rows]) for name in names]
        for row, *estimates in zip(rows, *columns, strict=True):
            table.add_row(str(regime), str(int(row["num_samples"])), str(int(row["num_features"])), *estimates)
        table.add_section()
    console.print(table)
    for regime in result["regime"].values:
        row = result.sel(regime=regime)
        change = row["overtraining_penalty"].isel(num_samples=-1) - row["overtraining_penalty"].isel(num_samples=0)
        sizes = result["num_samples"].values
        by = _with_error(*_estimated(change), sign="+")
        console.print(f"{regime}: from n = {sizes[0]} to {sizes[-1]} the penalty changes by {by}.", highlight=False)
    if float(result["trusted_until"].min()) < float(result["final_time"]):
        console.print(f"Rounding: some curves can be trusted only until {float(result['trusted_until'].min()):.3g}.")


def print_noise(console: Console, result: Result) -> None:
    """The table of `rfm noise`."""
    alpha = provenance_of(result)["configuration"]["alpha"]
    stds = result["weight_std"].values
    title = f"Mixup's label noise, {_of(result.sizes['seed'], 'teacher')}"
    table = _table(title, "teacher's weights", *(f"{std:g}" for std in stds))
    middle = result.isel(lam=result.sizes["lam"] // 2)
    rows = {
        "E z², lam = 1/2": "noise_power",
        "  of drawn pairs": "sampled_noise_power",
        f"E z², lam ~ Beta({alpha:g})": "beta_noise_power",
        "correlation": "noise_correlation",
    }
    for label, name in rows.items():
        estimates = [_estimated(middle[name].sel(weight_std=std)) for std in stds]
        table.add_row(label, *_written([None if abs(one[0]) < NOISE_ROUNDING else one for one in estimates]))
    console.print(table)
    error, floor = float(middle["label_error"].mean()), float(middle["total_variation"].mean())
    console.print(
        f"Hard labels at lam = {float(middle['lam']):g}: wrong with probability {error:.3f}; no way to draw them does "
        f"better than {floor:.3f}. correlation: of the noise with the truth at the mixed input."
        + ("" if np.all(np.isfinite(result["smoothness_bound"])) else f" {_NO_CURVATURE}"),
        highlight=False,
    )


NOISE_ROUNDING = 1e-14
"""What closed forms of the noise, of labels of order one, leave of it by rounding."""
_NO_CURVATURE = "The upper bound by curvature does not exist for a teacher's activation with a kink."


def print_bound(console: Console, result: Result) -> None:
    """The table of `rfm bound`."""
    seeds = result.sizes["seed"]
    title = f"Bounds beside the exact curve, {f'median of {seeds} seeds' if seeds > 1 else 'one seed'}"
    table = _table(title, "time", "excess risk", "its upper bound", "noise risk", "its upper bound")
    for index in range(0, result.sizes["time"], max(1, result.sizes["time"] // 6)):
        row = result.isel(time=index).median("seed")
        names = ("excess", "paper_bound", "noise_risk", "variance_bound")
        table.add_row(f"{float(result['time'][index]):.3g}", *(_with_error(float(row[name]), nan) for name in names))
    console.print(table)
    console.print("excess risk: over that of the clean minimum-norm fit; it may be negative.", highlight=False)


def print_minibatch(console: Console, result: Result) -> None:
    """The table of `rfm minibatch`."""
    steps, runs = int(result["step"][-1]), result.sizes["seed"]
    title = f"Fresh batches, {steps} steps of {float(result['step_size']):.3g}, {_of(runs, 'run')}"
    headers: list[str] = []
    columns: list[list[tuple[float, float]]] = []
    for law in result["law"].values:
        for size in result["batch_size"].values:
            headers.append(f"{str(law).partition('(')[0]}, B = {size}")
            row = result.sel(law=law, batch_size=size)
            end, drawn = row.sel(long_step=steps), row.isel(step=-1)
            norm = float(drawn["simulated_gradient_power"].mean()) ** 0.5
            columns.append(
                [
                    (float(end["risk"]), nan),
                    _estimated(drawn["simulated_risk"]),
                    (float(end["spread"]), nan),
                    (float(end["gradient_norm"]), nan),
                    (norm, nan),
                    (float(row["gradient_floor"]), nan),
                    (float(row["largest_stable_step"]), nan),
                ]
            )
    rounding = SPREADLESS * float(result["gradient_norm"].max())
    rows = [_written([None if one[0] < rounding else one for one in row]) for row in zip(*columns, strict=True)]
    console.print(
        _folded(console, title, ["", *headers], [[n, *row] for n, row in zip(_MINIBATCH_ROWS, rows, strict=True)])
    )
    expected = result["risk"].sel(long_step=result["step"].values).rename(long_step="step")
    mean, error = over_seeds(result["simulated_risk"])
    largest = float((abs(mean - expected.values) / error.where(error > SPREADLESS * mean)).max())
    console.print(
        f"spread: what batches add to the risk of the mean weights. stable below: this step size, in mean square. "
        "Over all steps, the runs' mean risk is at most "
        f"{largest:.1f} standard errors off."
        + (" Second moments are the diagonal approximation." if bool(result["is_diagonal"]) else ""),
        highlight=False,
    )


_MINIBATCH_ROWS = (
    "expected risk",
    "  of the runs",
    "spread",
    "gradient norm",
    "  of the runs",
    "  at infinity",
    "stable below",
)


def print_switch(console: Console, result: Result) -> None:
    """The table of `rfm switch`."""
    seeds, steps = result.sizes["seed"], int(result["num_steps"])
    table = _table(f"{steps} steps in all, {_of(seeds)}", "", "test error")
    for label, cell in zip(_SWITCH_ROWS, _cells([(result, name) for name in _SWITCH_ROWS.values()]), strict=True):
        table.add_row(label, cell)
    console.print(table)
    console.print(
        f"{_switching(result)} Real training of the first seed lies within {float(result['agreement']):.1e} of its "
        "closed form.",
        highlight=False,
    )


def _switching(result: Result) -> str:
    """When to switch, and what that is worth beside stopping Mixup at its best."""
    plain = int(result["num_steps"]) - result["best_step"].values
    best = f"Best: the last {np.median(plain):.0f} steps plain (median; {plain.min():.0f} to {plain.max():.0f})"
    no_help = "Switching does not help here: the error is no lower than that of Mixup stopped at its best"
    if np.median(plain) == 0 or _is_below_rounding(result, "mixup_turning_risk"):
        return f"{no_help}."
    if _is_below_rounding(result, "best_risk"):
        return f"{best}; the error is then {BELOW_ROUNDING}."
    gain, its_error = _estimated(100 * (1 - result["best_risk"] / result["mixup_turning_risk"]))
    if gain <= 0:
        return f"{no_help}."
    lower = f"{_with_error(gain, its_error)} %"
    if gain <= SIGNIFICANT * its_error:
        return f"{no_help} by two standard errors ({lower})."
    return f"{best}, which lowers the error of Mixup stopped at its best by {lower}."


_SWITCH_ROWS = {
    "Mixup to the end": "mixup_final_risk",
    "Mixup, stopped at its best": "mixup_turning_risk",
    "Mixup, then plain, switched at the best time": "best_risk",
    "plain to the end": "plain_final_risk",
    "plain, stopped at its best": "plain_turning_risk",
}


def print_rules(console: Console, result: Result) -> None:
    """The table of `rfm rules`."""
    title = f"The U-curve by rule, {_of(result.sizes['seed'])}"
    table = _table(title, "rule", "turning\nstep", "turning risk", "final risk", "penalty")
    rows = [result.sel(rule=rule) for rule in result["rule"].values]
    names = ("turning_step", "turning_risk", "final_risk", "overtraining_penalty")
    for row, *cells in zip(rows, *(_cells([(row, name) for row in rows]) for name in names), strict=True):
        table.add_row(str(row["rule"].values), *cells)
    console.print(table)
    steps = ", ".join(f"{row['rule'].values} {int(row['num_steps'])}" for row in rows)
    console.print(
        f"All end at the effective time {float(result['time'].max()):.3g}, with steps of "
        f"{float(result['step_size']):.3g}: {steps}.",
        highlight=False,
    )


def print_penalty_map(console: Console, result: Result) -> None:
    """The table of `rfm penalty-map`."""
    final = float(result["time"][-1])
    sizes = result["num_samples"].values
    title = f"Penalty of training to t = {final:.3g}, p = {int(result['num_features'])}, {_of(result.sizes['seed'])}"
    rows = []
    for alpha in result["alpha"].values:
        row = result.sel(alpha=alpha)
        cells = _cells([(row.sel(num_samples=n), "overtraining_penalty") for n in sizes])
        rows.append([f"{alpha:g}", *cells])
    console.print(_folded(console, title, ["alpha", *(f"n = {n}" for n in sizes)], rows))


def print_advise(console: Console, result: Result) -> None:
    """The table of `rfm advise`."""
    configuration = provenance_of(result)["configuration"]
    parts = f"{result.sizes['part']} folds" if int(result["has_folds"]) else f"{result.sizes['part']} rows held out"
    classes = int(result["num_classes"])
    goal = f"{classes} classes" if classes else "numbers"
    held = f"steps, range ({100 * MEASURED_COVERAGE:.0f} %)"
    table = _table(
        f"Advice for {configuration['dataset']}: {int(result['num_rows'])} rows, "
        f"{int(result['num_inputs'])} inputs, {goal} to predict; {parts}",
        *("", "time", "steps", held, "relative risk"),
    )
    step_size, budget = float(result["step_size"]), float(result["time"][-1])
    choices = _choices(result)
    for name in choices["action"].values:
        row = result.sel(action=name)
        low, high = (_count(float(row[end]) / step_size) for end in ("earliest", "latest"))
        time, risk = float(row["action_time"]), _relative(float(row["action_risk"]), float(row["action_error"]))
        table.add_row(_ACTIONS[str(name)][0], f"{time:.3g}", _count(time / step_size), f"{low} to {high}", risk)
    table.add_section()
    to_the_end = [("Mixup to the end", "mixup_risk"), ("no Mixup to the end", "plain_risk")]
    for label, name in to_the_end[isfinite(float(result["slowdown"])) :]:
        mean, error = over_parts(result[name].isel(time=-1))
        table.add_row(label, f"{budget:.3g}", _count(budget / step_size), "", _relative(mean, error))
    console.print(table)
    if classes and configuration["target_kind"] == "auto":
        console.print(
            f"The targets are {classes} whole numbers, taken for classes; ratings or counts are numbers: "
            "--target-kind numbers.",
            highlight=False,
        )
    for note in [*_advice(result), *_checked(result)]:
        console.print(note, highlight=False)


_ACTIONS = {
    "plain": ("no Mixup, stop", "train without Mixup and stop after {steps} steps (t = {time})"),
    "stop": ("Mixup, stop", "train with Mixup and stop after {steps} steps (t = {time})"),
    "switch": (
        "Mixup, then none",
        "train with Mixup, switch it off after {steps} steps (t = {time}), and train to the end without",
    ),
}


def _relative(risk: float, error: float) -> str:
    return BELOW_ROUNDING if _is_zero(risk) else _with_error(risk, error)


def _is_zero(risk: float) -> bool:
    """Whether a relative risk is the one that all lower ones count as."""
    return risk <= SAME * (1 + SAME)


def _choices(result: Result) -> Result:
    """The actions that differ from one another."""
    return result.isel(action=np.flatnonzero(result["is_choice"].values))


def _advice(result: Result) -> list[str]:
    """Sentences: what to do, how sure that is, what over-training costs."""
    step_size, budget = float(result["step_size"]), float(result["time"][-1])
    relative = (
        f"Relative risk: squared error over that of predicting the mean, ± standard error over "
        f"{'folds' if int(result['has_folds']) else 'held-out rows'}. Steps are of {step_size:.3g}; the largest stable "
        f"step is {float(result['largest_stable_step']):.3g}; steps times step size is time."
    )
    if not int(result["beats_mean"]):
        return [f"Advice: predict the mean of the targets. {_why_the_mean(result)}", relative]
    choices, slowdown = _choices(result), float(result["slowdown"])
    advised = choices.isel(action=int(choices["is_advised"].values.argmax()))
    lowest = choices.isel(action=int(choices["action_risk"].values.argmin()))
    time = float(advised["action_time"])
    words = _ACTIONS[str(advised["action"].values)][1].format(steps=_count(time / step_size), time=f"{time:.3g}")
    sentences = [f"Advice: {words}."]
    if isfinite(slowdown):
        sentences.append(
            "Mixup makes no difference to the mean here: these features mix as their inputs do, so that training with "
            f"it is plain training on a clock slower by the factor {slowdown:.3g} (every curve the same, each time "
            f"{1 / slowdown:.3g} times later)."
        )
    if time == budget:
        sentences.append("That is the end of training: the risk still falls there, and a longer budget may lower it.")
    if advised["action"] != lowest["action"]:
        sentences.append(
            f"'{_ACTIONS[str(lowest['action'].values)][0]}' has a risk lower by "
            f"{_with_error(float(advised['gain']), float(advised['gain_error']))}: less than two standard errors, so "
            "the simpler way is advised."
        )
    elif str(advised["action"].values) == "plain" and not isfinite(slowdown):
        sentences.append("Mixup does not help here: plain training at its best has the lowest risk.")
    cost, error = (100 * float(result[name]) for name in ("overtraining_cost", "overtraining_cost_error"))
    end = f"going on to t = {budget:.3g} ({_count(budget / step_size)} steps) with Mixup"
    if not int(result["is_choice"].sel(action="stop")) and not isfinite(slowdown):
        sentences.append("With Mixup, the risk is lowest before the first step: it only rises.")
    elif float(result["action_time"].sel(action="stop")) == budget:
        sentences.append("Over-training is not seen: with Mixup, the risk is lowest at the end of training.")
    elif _is_zero(over_parts(result["mixup_risk"].isel(time=-1))[0]):
        sentences.append(f"Over-training is not seen: with Mixup, the risk at the end of training is {BELOW_ROUNDING}.")
    elif cost > 2 * error:
        sentences.append(f"Over-training: {end} costs {_with_error(cost, error)} % more risk than stopping.")
    elif cost > 0:
        sentences.append(
            f"Over-training is not seen: {end} costs {_with_error(cost, error)} % more risk than stopping, less than "
            "two standard errors."
        )
    else:
        sentences.append(f"Over-training is not seen: {end} has no higher risk than the stop that other parts choose.")
    sentences.append(
        f"The range of steps is narrower than it should be: on simulated data it held the best one in "
        f"{100 * MEASURED_COVERAGE:.0f} % of the cases, and two standard errors held the true difference in "
        f"{100 * MEASURED_ERROR_COVERAGE:.0f} %."
    )
    return [*sentences, relative]


def _why_the_mean(result: Result) -> str:
    """Why no way to train is advised: nothing is learnt, or it does not show that anything is."""
    gain, error = float(result["gain_over_mean"]), float(result["gain_over_mean_error"])
    if gain == error == 0:
        return "Nothing is learnt here: the risk is lowest before the first step."
    lowest = f"the lowest relative risk of the ways above that stop or switch is {_with_error(1 - gain, error)}"
    if gain <= 0:
        return f"Nothing is learnt here: {lowest}."
    parts = "with more folds" if int(result["has_folds"]) else "with more rows held out"
    return f"That anything is learnt does not show: {lowest}, not below 1 by two standard errors; {parts} it may."


def _checked(result: Result) -> list[str]:
    """What real training on random splits said of the advice, if it was asked."""
    if "lost_at_stop" not in result or not int(result["beats_mean"]):
        return []

    def percent(name: str) -> str:
        lost = 100 * result[name].values
        return f"median {median(lost):.2g} %, mean {lost.mean():.2g} %, worst {lost.max():.2g} %"

    return [
        f"Check by real training on {result.sizes['seed']} random splits, risk lost against the best step of each run:",
        f"  with Mixup, stopped at its best: {percent('lost_at_stop')}",
        f"  with Mixup to the end: {percent('lost_at_budget')}",
        f"  by the advised action, against the best of both runs: {percent('lost_by_advice')}",
    ]


def _count(steps: float) -> str:
    return f"{round(steps)}" if steps < LARGEST_PLAIN else f"{steps:.2e}"


def print_scaling(console: Console, result: Result) -> None:
    """The table of `python -m benchmarks.scaling`."""
    table = _table("Time and extra peak memory", "", "n", "p", "seconds", "MB")
    for work in result["work"].values:
        for axis in result["axis"].values:
            for point in range(result.sizes["point"]):
                row = result.sel(work=work, axis=axis).isel(point=point)
                sizes = (f"{int(row[name])}" for name in ("num_samples", "num_features"))
                table.add_row(
                    str(work), *sizes, f"{float(row['seconds']):.3g}", f"{float(row['extra_bytes']) / 1e6:.0f}"
                )
            table.add_section()
    console.print(table)


def _cells(estimates: Sequence[tuple[Result, str]]) -> list[str]:
    """The estimates of risks and penalties, each a name in a result, unless rounding has swallowed them."""
    return _written([_known(result, name) for result, name in estimates])


def _known(result: Result, name: str) -> tuple[float, float] | None:
    risk = "final_risk" if name == "overtraining_penalty" else name
    return None if _is_below_rounding(result, risk) else _estimated(result[name])


def _ratio(result: Result, base: Result, name: str) -> tuple[float, float] | None:
    """The ratio of two risks of the same seeds, unless rounding has swallowed one of them."""
    if _is_below_rounding(result, name) or _is_below_rounding(base, name):
        return None
    return _estimated(result[name] / base[name])


def _is_below_rounding(result: Result, risk: str) -> bool:
    """Whether the mean over seeds of a risk is no larger than its rounding error, where that is stored beside it."""
    error = f"{risk.removesuffix('risk')}error"
    return risk.endswith("_risk") and float(result[risk].mean()) <= float(result[error].mean())


def _estimated(variable: Variable) -> tuple[float, float]:
    """Mean and standard error over seeds."""
    mean, error = over_seeds(variable)
    return float(mean), float(error)


def _written(estimates: Sequence[tuple[float, float] | None]) -> list[str]:
    """Estimates that are read beside one another: all with an exponent, if one needs it."""
    known = [estimate for estimate in estimates if estimate is not None]
    exponent = any(_needs_exponent(*estimate) for estimate in known)
    return [BELOW_ROUNDING if one is None else _with_error(*one, exponent=exponent) for one in estimates]


def _with_error(mean: float, error: float, *, sign: str = "", exponent: bool | None = None) -> str:
    """mean ± error, with two digits of the error, or three of a mean without one."""
    exponent = _needs_exponent(mean, error) if exponent is None else exponent
    if not _has_error(mean, error):
        return f"{mean:{sign}.2e}" if exponent else f"{mean:{sign}.{_decimals(mean, 3)}f}"
    form = ".2e" if exponent else f".{_decimals(error, 2)}f"
    return f"{mean:{sign}{form}} ± {error:{form}}"


def _has_error(mean: float, error: float) -> bool:
    return isfinite(error) and error > SPREADLESS * abs(mean)


def _decimals(value: float, digits: int) -> int:
    """Places after the point that show so many digits of a value."""
    return max(0, digits - 1 - floor(log10(abs(value)))) if value else 0


def _needs_exponent(mean: float, error: float) -> bool:
    if not _has_error(mean, error):
        return mean != 0 and not 10.0**-MOST_DECIMALS <= abs(mean) < LARGEST_PLAIN
    return abs(mean) >= LARGEST_PLAIN or _decimals(error, 2) > MOST_DECIMALS


BELOW_ROUNDING = "below rounding"
SPREADLESS = 1e-12
"""An error smaller than that share of its mean is rounding."""
LARGEST_PLAIN, MOST_DECIMALS = 1e5, 5
"""Numbers outside these are written with an exponent."""
