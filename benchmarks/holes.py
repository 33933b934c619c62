"""What holes cost, and what is done about them: ``python benchmarks/holes.py``.

Cells of 1,615 × 35 real Chandra rows are taken away at random.  Each way to deal with the holes is
judged by how well its memberships agree with those of the complete rows (adjusted Rand index, ARI),
(a) with all fits started from the complete fit, so that holes are compared and not the luck of
starts, and (b) with starts of their own.  Written are ``docs/_static/figures/holes.png`` and
``benchmarks/holes.md``.

The rows are not part of the project: ``ASTRO_CLUSTER_TEST_DATA`` names their folder.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shlex
import statistics
import sys
import time
import warnings
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from measure import machine
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401 - it lets the next line be
from sklearn.impute import IterativeImputer
from sklearn.metrics import adjusted_rand_score
from threadpoolctl import threadpool_limits

import astro_cluster as ac
from astro_cluster.mixture import DegenerateComponentWarning

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("ASTRO_CLUSTER_TEST_DATA", ROOT.parent / "shared" / "data"))
ROWS = DATA / "chandra" / "csc2_gmm6_simbad_1615.csv"
FIGURE = ROOT / "docs" / "_static" / "figures" / "holes.png"

N_COMPONENTS = 6
FRACTIONS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5)
REFERENCE_SEED = 42
MAX_ITER = 500

# In the order of the legend.  Colours: Okabe & Ito's, which colour-blind readers tell apart.
LOOKS = {
    "integrated out (ours)": {"color": "#0072B2", "marker": "o"},
    "IterativeImputer": {"color": "#D55E00", "marker": "s"},
    "median": {"color": "#009E73", "marker": "^"},
    "rows dropped": {"color": "#666666", "marker": "D"},
    "rows dropped, kept ones only": {"color": "#666666", "marker": "D", "markerfacecolor": "white"},
    "complete mixture, not refitted": {"color": "black", "linestyle": ":"},
}
OURS, IMPUTED, MEDIAN, DROPPED, KEPT, ASSIGNED = LOOKS


@dataclass
class Study:
    """What was found.

    Parameters
    ----------
    agreement : dict
        Panel, method and fraction to the ARI of each pattern.
    seconds : dict
        Method and fraction to the seconds of a whole fit from its own starts, each pattern.
    likelihood : dict
        Panel and fraction to the mean log-likelihood of a row of our mixture, each pattern.
    complete : list of int
        Rows without a hole, by fraction, in the first pattern.
    with_reference, among_themselves : list of float
        ARI of complete fits of other seeds with the reference, and of any two of them.
    """

    agreement: dict = field(default_factory=lambda: defaultdict(list))
    seconds: dict = field(default_factory=lambda: defaultdict(list))
    likelihood: dict = field(default_factory=lambda: defaultdict(list))
    complete: list[int] = field(default_factory=list)
    with_reference: list[float] = field(default_factory=list)
    among_themselves: list[float] = field(default_factory=list)


def median_filled(X: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(X), np.nanmedian(X, axis=0), X)


def imputed(X: np.ndarray) -> np.ndarray:
    with threadpool_limits(1, user_api="blas"):  # faster for matrices of this size
        return IterativeImputer(random_state=0).fit_transform(X)


def run(X: np.ndarray, *, patterns: int, imputer_patterns: int, n_complete: int, n_init: int = 1) -> Study:
    """Make the study."""
    found = Study()
    reference = ac.GaussianMixture(N_COMPONENTS, n_init=10, max_iter=MAX_ITER, random_state=REFERENCE_SEED)
    labels = reference.fit_predict(X)
    begin = {
        "weights_init": reference.weights_,
        "means_init": reference.means_,
        "precisions_init": reference.precisions_,
    }

    def fit(rows: np.ndarray, panel: str, seed: int) -> tuple[np.ndarray, float]:
        own = begin if panel == "a" else {"random_state": seed, "n_init": n_init}
        mixture = ac.GaussianMixture(N_COMPONENTS, max_iter=MAX_ITER, **own)
        return mixture.fit_predict(rows), mixture.lower_bound_

    others = [fit(X, "b", seed)[0] for seed in range(n_complete)]
    found.with_reference = [adjusted_rand_score(labels, other) for other in others]
    found.among_themselves = [adjusted_rand_score(a, b) for a, b in itertools.combinations(others, 2)]

    for pattern, fraction in itertools.product(range(patterns), FRACTIONS):
        # The same numbers for each fraction: what is missing of 5 % is missing of 10 % too.
        holes = np.random.default_rng(pattern).random(X.shape) < fraction
        holed = np.where(holes, np.nan, X)
        kept = ~holes.any(axis=1)
        if pattern == 0:
            found.complete.append(int(kept.sum()))
        found.agreement["a", ASSIGNED, fraction].append(adjusted_rand_score(labels, reference.predict(holed)))
        ways = {OURS: None, MEDIAN: median_filled}
        if pattern < imputer_patterns:
            ways[IMPUTED] = imputed
        for method, fill in ways.items():
            began = time.perf_counter()
            rows = holed if fill is None else fill(holed)
            filling = time.perf_counter() - began
            for panel in "ab":
                began = time.perf_counter()
                got, bound = fit(rows, panel, pattern)
                if panel == "b":
                    found.seconds[method, fraction].append(filling + time.perf_counter() - began)
                if method == OURS:
                    found.likelihood[panel, fraction].append(bound)
                found.agreement[panel, method, fraction].append(adjusted_rand_score(labels, got))
        for panel in "ab":
            all_rows = np.full(len(X), N_COMPONENTS)  # those left out are a class of their own
            if kept.sum() > N_COMPONENTS:
                all_rows[kept], _ = fit(X[kept], panel, pattern)
                own = adjusted_rand_score(labels[kept], all_rows[kept])
                found.agreement[panel, KEPT, fraction].append(own)
            found.agreement[panel, DROPPED, fraction].append(adjusted_rand_score(labels, all_rows))
        print(f"pattern {pattern}, {fraction:.0%} missing: " + ", ".join(
            f"{method} {found.agreement['a', method, fraction][-1]:.2f} / "
            f"{found.agreement['b', method, fraction][-1]:.2f}" for method in ways
        ), flush=True)  # fmt: skip
    return found


# ---------------------------------------------------------------- figure


def draw(found: Study, path: Path) -> None:
    """Draw ARI against the fraction of missing cells."""
    style = {"font.size": 9, "axes.labelsize": 9, "xtick.direction": "in", "ytick.direction": "in"}
    with mpl.rc_context(style):
        figure = Figure(figsize=(7.2, 3.9), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        panel(left, found, "a", "(a) started from the complete fit")
        panel(right, found, "b", "(b) starts of their own")
        ceiling(right, found)
        left.set_ylabel("adjusted Rand index with the complete fit")
        handles, names = left.get_legend_handles_labels()
        figure.legend(
            [handles[names.index(m)] for m in LOOKS if m in names],
            [m for m in LOOKS if m in names],
            loc="outside lower center",
            ncols=3,
            frameon=False,
            fontsize=8,
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=200)


def panel(ax: Axes, found: Study, name: str, title: str) -> None:
    """Draw the median over the patterns of each method; bars from the least to the greatest."""
    shown = [m for m in LOOKS if any(key[:2] == (name, m) for key in found.agreement)]
    for place, method in enumerate(shown):
        fractions = [f for f in FRACTIONS if found.agreement.get((name, method, f))]
        values = [found.agreement[name, method, f] for f in fractions]
        middle = np.array([statistics.median(v) for v in values])
        spread = [middle - [min(v) for v in values], [max(v) for v in values] - middle]
        x = 100 * np.array(fractions)
        if method == ASSIGNED:
            ax.plot(x, middle, label=method, lw=1, **LOOKS[method])
            continue
        ax.errorbar(
            x + 0.5 * (place - 2), middle, spread, label=method, lw=1.3, ms=4.5, capsize=2, elinewidth=0.8,
            ls="" if method == KEPT else "-", **LOOKS[method],
        )  # fmt: skip
    ax.set_title(title, loc="left", fontsize=9)
    ax.set(xlabel="cells missing, at random (%)", xlim=(0, 53.5), ylim=(-0.03, 1.03))
    ax.set_xticks([100 * f for f in FRACTIONS])
    ax.tick_params(top=True, right=True)


def ceiling(ax: Axes, found: Study) -> None:
    """Show how well complete fits from other seeds agree with the reference."""
    ax.axhspan(min(found.with_reference), max(found.with_reference), color="0.9", lw=0, zorder=0)
    ax.axhline(statistics.median(found.with_reference), color="0.6", lw=0.8, ls="--", zorder=0)
    ax.text(
        52.5, max(found.with_reference) + 0.015, "no holes, other seeds", ha="right", va="bottom",
        fontsize=8, color="0.35",
    )  # fmt: skip


# ---------------------------------------------------------------- table


def shown(values: Iterable[float]) -> str:
    values = list(values)
    if not values:
        return "–"
    middle, low, high = (round(v, 2) + 0.0 for v in (statistics.median(values), min(values), max(values)))
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"  # + 0.0: no minus before a zero


def table(found: Study, name: str) -> str:
    methods = [m for m in LOOKS if any(key[:2] == (name, m) for key in found.agreement)]
    lines = ["| cells missing | " + " | ".join(methods) + " |", "|---" * (len(methods) + 1) + "|"]
    for fraction in FRACTIONS:
        cells = [shown(found.agreement.get((name, m, fraction), [])) for m in methods]
        lines.append(f"| {fraction:.0%} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def report(found: Study, arguments: argparse.Namespace, took: float) -> str:
    """Return the tables as Markdown."""
    complete = ", ".join(f"{n} at {f:.0%}" for n, f in zip(found.complete, FRACTIONS, strict=True))
    bounds = ", ".join(
        " and ".join(f"{statistics.median(found.likelihood[panel, f]):.2f}" for panel in "ab")
        + f" at {f:.0%}"
        for f in FRACTIONS
    )
    methods = [m for m in LOOKS if any(key[0] == m for key in found.seconds)]
    times = ["| cells missing | " + " | ".join(methods) + " |", "|---" * (len(methods) + 1) + "|"]
    for f in FRACTIONS:
        middle = (f"{statistics.median(found.seconds[m, f]):.1f}" for m in methods)
        times.append(f"| {f:.0%} | " + " | ".join(middle) + " |")
    command = shlex.join(["python", *arguments.command])
    return f"""# What holes cost

Made on {datetime.now(UTC):%Y-%m-%d} by `{command}` in {took:.0f} s on a shared machine:
{machine()}, astro_cluster {ac.__version__}.

1,615 real rows of the Chandra Source Catalog 2 (Pérez-Díaz et al. 2024, MNRAS 528, 4852), complete in the 35
features of `ac.recipes.CSC2`, on the scales of the complete rows; full mixtures of {N_COMPONENTS} components.
Cells are taken away completely at random: patterns of the seeds 0 to {arguments.patterns - 1}, for
IterativeImputer (scikit-learn's defaults: BayesianRidge, 10 rounds) the first {arguments.imputer_patterns}.

Numbers are the adjusted Rand index (ARI) with the memberships of the complete fit (seed {REFERENCE_SEED},
`n_init=10`): median over the patterns, least and greatest in brackets.  Rows that are dropped count as one
class of their own; "kept ones only" leaves them out of the index.  Rows without a hole, in the first pattern:
{complete}; where there are no more than {N_COMPONENTS}, nothing is fitted.

## (a) All started from the complete fit

{table(found, "a")}

The last column is the complete mixture itself, which assigns the rows with holes: what these rows lose.

## (b) Starts of their own

`init_params="short-runs"`, `n_init={arguments.n_init}`, the seed of the pattern.

{table(found, "b")}

Without any hole, {len(found.with_reference)} fits of other seeds (0, 1, …) agree with the complete fit to
{shown(found.with_reference)}, any two of them to {shown(found.among_themselves)}.

Mean log-likelihood of a row of our mixture, (a) and (b), median over the patterns:
{bounds}.

Seconds, from the rows with holes to the memberships, with starts of their own (median):

{chr(10).join(times)}
"""


def main() -> None:
    """Run the study and write what it found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--patterns", type=int, default=5, help="patterns of holes (default 5)")
    parser.add_argument("--imputer-patterns", type=int, default=3, help="of these, for IterativeImputer")
    parser.add_argument("--complete", type=int, default=10, help="complete fits of other seeds (default 10)")
    parser.add_argument("--n-init", type=int, default=1, help="starts followed to the end in (b)")
    parser.add_argument("--figure", type=Path, default=FIGURE)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".md"))
    arguments = parser.parse_args()
    arguments.command = ["benchmarks/holes.py", *sys.argv[1:]]
    if not ROWS.is_file():
        sys.exit(f"the real rows are not at {ROWS}; set ASTRO_CLUSTER_TEST_DATA to the folder of chandra/")
    for category in (ConvergenceWarning, DegenerateComponentWarning):
        warnings.simplefilter("ignore", category)
    began = time.perf_counter()
    catalogue = ac.read(ROWS)
    X = ac.recipes.CSC2.fit(catalogue).transform(catalogue).values
    found = run(
        X,
        patterns=arguments.patterns,
        imputer_patterns=arguments.imputer_patterns,
        n_complete=arguments.complete,
        n_init=arguments.n_init,
    )
    arguments.output.write_text(report(found, arguments, time.perf_counter() - began), encoding="utf-8")
    draw(found, arguments.figure)
    print(arguments.output.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
