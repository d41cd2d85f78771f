"""How well curves keep what they say of their error: `python -m benchmarks.accuracy [--problems N] [--markdown]`.

Random ill-conditioned problems, those of `tests.theory.ill_conditioned`, are solved by every route, in both precisions
and under every rule, and held against exact arithmetic. A claim is broken where the true error exceeds the claimed
one; then the command ends with status 1. Careful is how many times too large the claim is, in the median over the
times at which there is an error to be measured.
"""

import argparse
import sys

import jax
import numpy as np
from rich.console import Console
from rich.table import Table

jax.config.update("jax_enable_x64", True)

from experiments.progress import bars  # noqa: E402
from tests.theory import ill_conditioned  # noqa: E402
from tests.theory.ill_conditioned import Claim  # noqa: E402

HEADINGS = ("claim", "route", "precision", "problems", "values", "broken", "worst error / claim", "careful, median")
FEWER = 20
"""Under the other rules, one problem in so many: their exact values cost more."""


def main() -> None:
    """Parses the flags, tries all problems, prints the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description=__doc__)
    parser.add_argument("--problems", type=int, default=1000, help="how many to try under gradient flow")
    parser.add_argument("--markdown", action="store_true", help="the table as in docs/accuracy.md")
    arguments = parser.parse_args()
    found: dict[tuple[str, str, str], list[Claim]] = {}
    numbers = {rule: range(0, arguments.problems, 1 if rule == "flow" else FEWER) for rule in ill_conditioned.RULES}
    groups = [(rule, single) for rule in numbers for single in ((False, True) if rule == "flow" else (False,))]
    with bars(Console(stderr=True)) as bar:
        task = bar.add_task("problems", total=sum(len(numbers[rule]) for rule, _ in groups))
        for rule, single in groups:
            for number in numbers[rule]:
                curves, limits = ill_conditioned.claims_of(number, rule, single)
                for name, claims in ((f"curve, {rule}", curves), ("limit, where resolved", limits)):
                    for method, claim in claims.items():
                        found.setdefault((name, method, "float32" if single else "float64"), []).append(claim)
                bar.advance(task)
            jax.clear_caches()  # the programs of all rules together need more memory maps than a process may have
    rows = [(*name, str(len(claims)), *_row(Claim(*map(np.concatenate, zip(*claims, strict=True))), name[2]))
            for name, claims in sorted(found.items())]  # fmt: skip
    _print(rows, arguments.markdown)
    sys.exit(1 if any(row[BROKEN] != "0" for row in rows) else 0)


BROKEN = HEADINGS.index("broken")


def _row(found: Claim, precision: str) -> tuple[str, str, str, str]:
    worst = np.max(found.error / np.maximum(found.claimed, np.finfo(float).tiny))
    measured = (found.error > 4 * np.finfo(precision).eps * found.exact) & np.isfinite(found.claimed)
    careful = f"{np.median(found.claimed[measured] / found.error[measured]):.2g}" if measured.any() else "-"
    broken = int(np.sum(~(found.error <= found.claimed)))
    return str(len(found.exact)), str(broken), f"{worst:.2g}", careful


def _print(rows: list[tuple[str, ...]], markdown: bool) -> None:
    if markdown:
        for row in (HEADINGS, ("---",) * len(HEADINGS), *rows):
            print(f"| {' | '.join(row)} |")
        return
    table = Table(*HEADINGS)
    for row in rows:
        table.add_row(*row)
    Console().print(table)


if __name__ == "__main__":
    main()
