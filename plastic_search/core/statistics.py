"""Means, medians, differences and maxima, each with an interval.

Every function takes plain numbers and returns plain numbers. Where there is too little data for an interval, the
interval is None and `note` gives the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from plastic_search.core.errors import PlasticSearchError

if TYPE_CHECKING:
    from numpy import ndarray

__all__ = ["BestOf", "Estimate", "best_of", "bounded", "difference", "improvement", "iqm", "mean", "median"]
__all__ += ["median_difference", "quartiles", "rank_sum", "share"]

_SLACK = 1e-5  # by which a mean of scores may leave 0 to 1, since sums are rounded


class Estimate(NamedTuple):
    """A number with its confidence interval, and how many values it rests on."""

    value: float
    low: float | None  # None where there is no interval
    high: float | None
    n: int  # how many values it rests on; the smaller of two groups
    method: str
    note: str = ""  # a caveat of the interval, or why there is none

    @property
    def known(self) -> bool:
        """Whether there is an interval."""
        return self.low is not None and self.high is not None

    @property
    def sign(self) -> int:
        """1 or -1 where the whole interval lies on that side of zero, else 0; 0 where there is none."""
        if self.low is None or self.high is None:
            return 0
        return int(self.low > 0) - int(self.high < 0)


class BestOf(NamedTuple):
    """The best score among k trials, for k = 1, 2, ...; None where no trial may have had a score."""

    trials: list[int]  # k
    mean: list[float | None]
    low: list[float | None]
    high: list[float | None]


def mean(values: Sequence[float], confidence: float = 0.95) -> Estimate:
    """The mean of a few seeds, with Student's interval: mean +- t s / sqrt(n) (Student 1908).

    Values that belong together (the same seed, before and after) are compared by the mean of their differences.
    """
    from scipy.special import stdtrit

    x = _checked(values, 1)
    n = len(x)
    if n == 1:
        return Estimate(float(x[0]), None, None, 1, "one value", "one seed: no interval")
    reach = float(stdtrit(n - 1, 0.5 + confidence / 2)) * float(x.std(ddof=1)) / n**0.5
    middle = float(x.mean())
    return Estimate(middle, middle - reach, middle + reach, n, f"mean, {_percent(confidence)} Student t")


def difference(ours: Sequence[float], theirs: Sequence[float], confidence: float = 0.95) -> Estimate:
    """mean(ours) - mean(theirs) of two independent groups, with Welch's interval (Welch 1947)."""
    from scipy.special import stdtrit  # ttest_ind warns where the values of a group are nearly equal

    x, y = _checked(ours, 1), _checked(theirs, 1)
    n = min(len(x), len(y))
    value = float(x.mean() - y.mean())
    if n == 1:
        return Estimate(value, None, None, 1, "difference of means", "one seed on a side: no interval")
    a, b = float(x.var(ddof=1)) / len(x), float(y.var(ddof=1)) / len(y)
    method = f"difference of means, {_percent(confidence)} Welch t"
    if a + b == 0:
        return Estimate(value, value, value, n, method, "no spread within either group")
    freedom = (a + b) ** 2 / (a**2 / (len(x) - 1) + b**2 / (len(y) - 1))
    reach = float(stdtrit(freedom, 0.5 + confidence / 2)) * (a + b) ** 0.5
    return Estimate(value, value - reach, value + reach, n, method)


def bounded(result: Estimate, *groups: Iterable[float]) -> Estimate:
    """The mean of scores, or the difference of two groups of scores, its interval cut to what that can be.

    A score lies between 0 and 1, a difference between -1 and 1. The true value does too, so the cut interval covers it
    as often as the whole one (Mandelkern 2002). Where a value lies outside, it is no such score, and nothing is cut.

    Args:
        groups: the scores that it rests on: one group for a mean, two for a difference.
    """
    if result.low is None or result.high is None or any(abs(v - 0.5) > 0.5 + _SLACK for each in groups for v in each):
        return result
    least = 0.0 if len(groups) == 1 else -1.0
    low, high = min(least, result.value), max(1.0, result.value)  # a mean may leave them by a rounding error
    return result._replace(low=max(result.low, low), high=min(result.high, high))


def iqm(values: Sequence[float], confidence: float = 0.95, draws: int = 5000, seed: int = 0) -> Estimate:
    """The interquartile mean: the mean of the middle half, with a percentile bootstrap (Agarwal et al. 2021).

    It ignores the best and the worst quarter, so that no single value decides what is typical.
    """
    from scipy.stats import trim_mean

    return _bootstrapped(
        "interquartile mean", [values], lambda x, axis: trim_mean(x, 0.25, axis=axis), confidence, draws, seed
    )  # fmt: skip


def improvement(ours: Sequence[float], theirs: Sequence[float], confidence: float = 0.95) -> Estimate:
    """P(one of ours > one of theirs), ties counting half: the Mann-Whitney U / (m n) (Agarwal et al. 2021).

    The interval is Newcombe's fifth (2006), a score interval around Hanley and McNeil's variance. It stays inside
    0 to 1 and, unlike the bootstrap, does not shrink to nothing where a few seeds happen not to overlap.
    """
    from scipy.special import ndtri

    x, y = _checked(ours, 1), _checked(theirs, 1)
    m, n = len(x), len(y)
    value = float((x[:, None] > y).mean() + 0.5 * (x[:, None] == y).mean())
    method = f"Mann-Whitney, {_percent(confidence)} Newcombe"
    if min(m, n) == 1:
        return Estimate(value, None, None, 1, "Mann-Whitney", "one seed on a side: no interval")
    z, half = float(ndtri(0.5 + confidence / 2)), (m + n) / 2 - 1

    def over(p: float) -> float:
        """Below zero where a true probability of `p` would make `value` no surprise."""
        variance = p * (1 - p) * (1 + half * (1 - p) / (2 - p) + half * p / (1 + p)) / (m * n)
        return (p - value) ** 2 - z**2 * variance

    tiny = 1e-12
    low = 0.0 if value <= tiny else _root(over, tiny, value - tiny)
    high = 1.0 if value >= 1 - tiny else _root(over, value + tiny, 1 - tiny)
    return Estimate(value, low, high, min(m, n), method)


def rank_sum(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """p of the two-sided rank-sum test (Wilcoxon 1945; Mann and Whitney 1947): that both groups have one distribution.

    It is exact for few values without ties, else that of a normal distribution with a correction for ties.
    """
    from scipy.stats import mannwhitneyu

    x, y = _checked(ours, 1), _checked(theirs, 1)
    return float(mannwhitneyu(x, y, alternative="two-sided", method="auto").pvalue)


def median(values: Sequence[float], confidence: float = 0.95, draws: int = 5000, seed: int = 0) -> Estimate:
    """The median, with a percentile bootstrap (Efron 1979)."""
    import numpy as np

    return _bootstrapped("median", [values], np.median, confidence, draws, seed)


def median_difference(
    ours: Sequence[float], theirs: Sequence[float], confidence: float = 0.95, draws: int = 5000, seed: int = 0
) -> Estimate:
    """median(ours) - median(theirs) of two independent groups, each resampled in a percentile bootstrap."""
    import numpy as np

    def change(x: ndarray, y: ndarray, axis: int) -> ndarray:
        return np.median(x, axis=axis) - np.median(y, axis=axis)

    return _bootstrapped("difference of medians", [ours, theirs], change, confidence, draws, seed)


def _bootstrapped(
    what: str, groups: list[Sequence[float]], of: Callable[..., Any], confidence: float, draws: int, seed: int
) -> Estimate:
    """A statistic of groups that are resampled independently, with a percentile bootstrap."""
    import numpy as np
    from scipy.stats import bootstrap

    samples = [_checked(values, 1) for values in groups]
    n, value = min(map(len, samples)), float(of(*samples, axis=-1))
    if n == 1:
        return Estimate(value, None, None, 1, what, "one value: no interval")
    found = bootstrap(
        samples, of, n_resamples=draws, confidence_level=confidence, method="percentile",
        rng=np.random.default_rng(seed),
    )  # fmt: skip
    low, high = found.confidence_interval
    note = f"only {n} values: the bootstrap's interval is too narrow" if n < 8 else ""
    return Estimate(value, float(low), float(high), n, f"{what}, {_percent(confidence)} bootstrap", note)


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """The lower quartile, the median and the upper quartile."""
    import numpy as np

    low, middle, high = np.percentile(_checked(values, 1), (25, 50, 75))
    return float(low), float(middle), float(high)


def share(count: int, n: int, confidence: float = 0.95) -> Estimate:
    """count of n, with a score interval that stays inside 0 to 1 (Wilson 1927)."""
    from scipy.stats import binomtest

    if not 0 <= count <= n or n < 1:
        raise PlasticSearchError(f"a share needs a count from 0 to n of at least 1, but got {count} of {n}")
    low, high = binomtest(count, n).proportion_ci(confidence, method="wilson")
    return Estimate(count / n, float(low), float(high), n, f"share, {_percent(confidence)} Wilson")


def best_of(scores: Sequence[float | None], band: float = 0.9) -> BestOf:
    """What a search of k trials may expect as its best, for k = 1 .. n (Dodge et al. 2019, "Show your work").

    Each of the k trials is drawn, with replacement, from those that were run. That bootstrap is computed
    exactly instead of by drawing: P(best <= x) = F(x)^k, with F the share of trials at or below x.

    Args:
        scores: one for each trial; None for a trial that was stopped before it had one, which counts as a trial
            but is never the best.
        band: the share of outcomes between `low` and `high`.
    """
    import numpy as np

    n = len(scores)
    x = np.sort(_checked([s for s in scores if s is not None], 0))
    if not len(x):
        return BestOf(list(range(1, n + 1)), [None] * n, [None] * n, [None] * n)
    none = n - len(x)
    best = BestOf([], [], [], [])
    for k in range(1, n + 1):
        below = (none / n) ** k  # no trial of the k had a score
        upto = (np.arange(none + 1, n + 1) / n) ** k
        share = np.diff(upto, prepend=below)
        best.trials.append(k)
        best.mean.append(float(share @ x / share.sum()))
        for column, q in ((best.low, 0.5 - band / 2), (best.high, 0.5 + band / 2)):
            column.append(float(x[min(int(np.searchsorted(upto, q - 1e-12)), len(x) - 1)]) if q > below else None)
    return best


def _checked(values: Sequence[float], least: int) -> ndarray:
    import numpy as np

    x = np.asarray(values, dtype=float)
    if len(x) < least or not np.isfinite(x).all():
        raise PlasticSearchError(f"a statistic needs at least {least} finite numbers, but got {list(values)}")
    return x


def _root(function: Callable[[float], float], low: float, high: float) -> float:
    """Where `function` crosses zero between `low` and `high`."""
    from scipy.optimize import brentq

    return float(brentq(function, low, high))  # type: ignore[arg-type]


def _percent(confidence: float) -> str:
    return f"{100 * confidence:g} %"
