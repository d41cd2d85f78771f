"""What `rfm advise` prints: the advice in a sentence, why in three numbers, what would change it; then the table."""

from collections.abc import Mapping
from math import isfinite
from statistics import median
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from experiments.report import BELOW_ROUNDING, LARGEST_PLAIN, empty_table, with_error
from experiments.store import Result, configuration_of
from rfm.decide.actions import SAME
from rfm.decide.estimates import CALLED, HELD, SIGNIFICANT
from rfm.decide.which_law import rounded
from theory.views import counted

ACTIONS = {"plain": "no Mixup, stop", "stop": "Mixup, stop", "switch": "Mixup, then none"}


def print_advise(console: Console, result: Result) -> None:
    """The page of `rfm advise`."""
    configuration, classes = configuration_of(result), int(result["num_classes"])
    goal = f"{classes} classes" if classes else "numbers"
    console.print(
        f"{configuration['dataset']}: {int(result['num_rows'])} rows, {int(result['num_inputs'])} inputs, {goal} to "
        f"predict; {int(result['num_held_out'])} rows held out in {_parts(result)}",
        highlight=False,
    )
    console.print(f"\nAdvice: {result['advice'].item()}.\n", style="bold", highlight=False)
    reasons = Table.grid(padding=(0, 2, 0, 0))
    for name, line in [*_why(result), *_what_would_change_it(result)]:
        reasons.add_row(f"  {name}", line)
    console.print(reasons)
    console.print()
    console.print(_table(result))
    if "law" in result:
        console.print(_laws(result))
        console.print(f"Laws: {result['laws_in_words'].item()}.", highlight=False)
    if "size" in result:
        console.print(_sizes(result))
        console.print(f"More data: {result['sizes_in_words'].item()}.", highlight=False)
    for note in [*_notes(result, configuration), *_checked(result)]:
        console.print(note, highlight=False)


def _parts(result: Result) -> str:
    parts, units = int(result["num_parts"]), int(result["num_units"])
    grouped = f", {units} groups" if units < int(result["num_held_out"]) else ""
    return f"{parts} {'part' if parts == 1 else 'parts'}{grouped}"


Reason = tuple[str, str]
"""What it is of, and the sentence."""


def _why(result: Result) -> list[Reason]:
    """Three numbers: what is learnt, what Mixup does, what going on would cost."""
    lowest = str(_choices(result).isel(action=_lowest(result))["action"].values)
    gain, error = float(result["gain_over_mean"]), float(result["gain_over_mean_error"])
    if gain > 0:
        learnt = f"{with_error(gain, error)} of the risk of {_null(result)}, by '{ACTIONS[lowest]}'"
    elif error > 0:
        above = with_error(-gain, error)
        learnt = f"nothing: the lowest risk, of '{ACTIONS[lowest]}', is {above} above that of {_null(result)}"
    else:
        learnt = "nothing: the risk is lowest before the first step"
    lines = [("learnt", learnt)]
    slowdown = float(result["slowdown"])
    if isfinite(slowdown):
        lines.append(
            (
                "Mixup",
                "makes no difference to the mean here: these features mix as their inputs do, so that training with it "
                f"is plain training {1 / slowdown:.3g} times slower",
            )
        )
    else:
        gain, error = float(result["mixup_gain"]), float(result["mixup_gain_error"])
        side = "below" if gain >= 0 else "above"
        lines.append(("Mixup", f"{with_error(abs(gain), error)} {side} no Mixup, each stopped at its best"))
    return [*lines, ("going on", _cost(result))]


def _cost(result: Result) -> str:
    cost, error = (100 * float(result[name]) for name in ("overtraining_cost", "overtraining_cost_error"))
    end = f"with Mixup to {result['budget_length'].item()}"
    slowdown = isfinite(float(result["slowdown"]))
    if not int(result["is_choice"].sel(action="stop")) and not slowdown:
        return "with Mixup only raises the risk, which is lowest before the first step"
    if float(result["action_time"].sel(action="stop")) == float(result["time"][-1]):
        return f"{end} lowers the risk still: over-training is not seen"
    if _is_zero(float(result["mixup_risk"][-1])):
        return f"{end}: the risk is {BELOW_ROUNDING}, over-training is not seen"
    told = "" if cost > SIGNIFICANT * error else "; over-training is not seen"
    return f"{end} has {with_error(abs(cost), error)} % {'more' if cost >= 0 else 'less'} risk than stopping{told}"


def _what_would_change_it(result: Result) -> list[Reason]:
    """What would have to be otherwise for another advice."""
    if not int(result["beats_mean"]):
        gain, error = float(result["gain_over_mean"]), float(result["gain_over_mean_error"])
        if gain <= 0:
            return [("changed by", "features that can learn this, or more data")]
        rows = int(result["num_units"]) * (SIGNIFICANT * error / gain) ** 2
        return [("changed by", f"more rows: about {rounded(rows)} would show that this much is learnt")]
    choices = _choices(result)
    advised, lowest = (choices.isel(action=index) for index in (_advised(result), _lowest(result)))
    lines = []
    if float(advised["action_time"]) == float(result["time"][-1]):
        lines.append("a longer budget: the risk still falls at its end")
    if advised["action"] != lowest["action"] and float(advised["gain"]) > 0:
        gain, error = float(advised["gain"]), float(advised["gain_error"])
        rows = int(result["num_units"]) * (SIGNIFICANT * error / gain) ** 2
        lines.append(
            f"more rows: '{ACTIONS[str(lowest['action'].values)]}' has a risk lower by {with_error(gain, error)}; some "
            f"{rounded(rows)} rows would show whether that is so, and the simpler way is advised until then"
        )
    for name in choices["action"].values:
        row = choices.sel(action=name)
        if name not in (str(advised["action"].values), str(lowest["action"].values)):
            gap = with_error(float(row["gain"]), float(row["gain_error"]))
            lines.append(f"'{ACTIONS[str(name)]}' gaining more than the {gap} by which it is behind")
    return [("" if index else "changed by", line) for index, line in enumerate(lines)]


def _null(result: Result) -> str:
    return "the most frequent class" if result["metric"].item() == "accuracy" else "the mean"


def _table(result: Result) -> Table:
    classes, unit = int(result["num_classes"]), float(result["length_unit"])
    counted = result["length_unit_name"].item()
    wrong = ["wrong"] if classes else []
    table = empty_table("", "", "time", counted, f"range ({100 * CALLED:.0f} %)", "relative risk", *wrong)
    choices = _choices(result)
    for name in choices["action"].values:
        row = choices.sel(action=name)
        time, low, high = (float(row[what]) for what in ("action_time", "earliest", "latest"))
        cells = [_share(float(row["action_wrong"]))] if classes else []
        risk = _relative(float(row["action_risk"]), float(row["action_error"]))
        range_ = f"{_count(low / unit)} to {_count(high / unit)}"
        table.add_row(ACTIONS[str(name)], f"{time:.3g}", _count(time / unit), range_, risk, *cells)
    table.add_section()
    end = float(result["time"][-1])
    for label, curve in list(_TO_THE_END.items())[isfinite(float(result["slowdown"])) :]:
        risk = _relative(float(result[f"{curve}_risk"][-1]), float(result[f"{curve}_end_error"]))
        cells = (
            [_share(float(result[f"{curve}_wrong"][-1]) if f"{curve}_wrong" in result else np.nan)] if classes else []
        )
        table.add_row(label, f"{end:.3g}", _count(end / unit), "", risk, *cells)
    baseline = [_share(float(result["null_wrong"]))] if classes else []
    table.add_row(_null(result), "", "", "", "1", *baseline)
    return table


_TO_THE_END = {"Mixup to the end": "mixup", "no Mixup to the end": "plain"}


def _share(wrong: float) -> str:
    return f"{100 * wrong:.3g} %" if isfinite(wrong) else ""


def _laws(result: Result) -> Table:
    unit = float(result["length_unit"])
    table = empty_table("", "law of mixing", result["length_unit_name"].item(), "relative risk", "gain", "rows to tell")
    for name in result["law"].values:
        row = result.sel(law=name)
        risk, gain = (with_error(float(row[f"law_{what}"]), float(row[f"law_{error}"])) for what, error in
                      (("risk", "error"), ("gain", "gain_error")))  # fmt: skip
        is_first = name == result["law"].values[0]
        told = float(row["law_gain"]) > float(result["errors_to_tell"]) * float(row["law_gain_error"])
        needed = float(row["rows_to_tell"])
        rows = "shows" if told else rounded(needed) if isfinite(needed) else "no gain"
        table.add_row(str(name), _count(float(row["law_time"]) / unit), risk, *(("", "") if is_first else (gain, rows)))
    return table


def _sizes(result: Result) -> Table:
    """What was seen at every number of rows; below, what is foretold of twice the largest one."""
    shown = {name: words for name, words in _SIZES.items() if f"size_{name}" in result}
    table = empty_table("rows trained on", *(words for words, _ in shown.values()))
    for size in result["size"].values:
        row = result.sel(size=size)
        cells = [with_error(*(unit * float(row[f"size_{name}{what}"]) for what in ("", "_error")))
                 for name, (_, unit) in shown.items()]  # fmt: skip
        table.add_row(f"{size:.0f}", *cells)
    table.add_section()
    for label, what in ((f"{float(result['size_foretold']):.0f}, foretold", "foretold"),
                        (f"{float(result['size'][-1]):.0f}, foretold from fewer", "tried")):  # fmt: skip
        bands = [[unit * float(result[f"{what}_{name}"].sel(band=end)) for end in ("low", "high")]
                 for name, (_, unit) in shown.items()]  # fmt: skip
        table.add_row(label, *(f"{low:.3g} to {high:.3g}" for low, high in bands))
    return table


_SIZES = {"risk": ("no Mixup, stopped", 1.0), "gain": ("gain of Mixup", 1.0), "cost": ("over-training, %", 100.0)}
"""What a learning curve shows, how the table calls it, and in what unit."""


def _notes(result: Result, configuration: Mapping[str, Any]) -> list[str]:
    classes = int(result["num_classes"])
    notes = list(map(str, result["note"].values)) if "note" in result else []
    if classes and configuration["target_kind"] == "auto" and "class" not in result:
        notes.append(
            f"The targets are {classes} whole numbers, taken for classes; ratings or counts are numbers: "
            "--target-kind numbers."
        )
    error, steps = float(result["trainer_error"]), ""
    if not isfinite(error):
        largest = float(result["largest_stable_step"])
        steps = f" Steps are of {float(result['step_size']):.3g} in time; the largest stable one is {largest:.3g}."
    else:
        notes.append(
            f"Epochs are of your own training; at the stops, time stands for its steps to {100 * error:.2g} % of the "
            "squared error."
        )
    of_accuracy = result["metric"].item() == "accuracy"
    unit = "wrong classes over those of naming" if of_accuracy else "squared error over that of predicting"
    return [
        *notes,
        f"Relative risk: {unit} {_null(result)}. Ranges, and 1.645 errors (±) on either side, held the true value of "
        f"the model fitted to all rows in {100 * HELD[0]:.0f} to {100 * HELD[1]:.0f} % of simulated data sets (squared "
        f"errors, random folds).{steps}",
    ]


def _checked(result: Result) -> list[str]:
    """What real training on random splits said of the advice, if it was asked."""
    if "lost_at_stop" not in result:
        return []

    unit = "points" if result["metric"].item() == "accuracy" else "%"
    learns, told = (int(result[name].sum()) for name in ("learns", "advice_is_told"))
    number, learnt = result.sizes["seed"], result["learns"].values > 0

    def percent(name: str, where: np.ndarray) -> str:
        lost = 100 * result[name].values[where]
        return f"median {median(lost):.2g} {unit}, mean {lost.mean():.2g} {unit}, worst {lost.max():.2g} {unit}"

    what = "share of wrong classes above that of" if unit == "points" else "risk lost against"
    everywhere = np.ones(number, bool)
    lines = [
        f"Check by real training on {counted(number, 'random split')}, {what} the best step of each run:",
        f"  with Mixup, stopped at its best: {percent('lost_at_stop', everywhere)}",
        f"  with Mixup to the end: {percent('lost_at_budget', everywhere)}",
        f"  its range held that best step in {int(result['range_holds_best'].sum())}",
        "and the best step of both runs:",
        f"  as advised: {percent('lost_by_advice', everywhere)}",
    ]
    if learns:
        lines.append(f"  going on in the advised way to the end: {percent('lost_by_going_on', learnt)}")
    return [*lines, f"  said to have learnt something in {learns}, and told its stop from going on in {told}"]


def _choices(result: Result) -> Result:
    """The actions that differ from one another."""
    return result.isel(action=np.flatnonzero(result["is_choice"].values))


def _advised(result: Result) -> int:
    return int(_choices(result)["is_advised"].values.argmax())


def _lowest(result: Result) -> int:
    return int(_choices(result)["action_risk"].values.argmin())


def _relative(risk: float, error: float) -> str:
    return BELOW_ROUNDING if _is_zero(risk) else with_error(risk, error)


def _is_zero(risk: float) -> bool:
    """Whether a relative risk is the one that all lower ones count as."""
    return risk <= SAME * (1 + SAME)


def _count(number: float) -> str:
    """Of steps or epochs."""
    if number >= LARGEST_PLAIN:
        return f"{number:.2e}"
    return f"{number:.0f}" if number >= 10 or number == round(number) else f"{number:.2g}"
