"""What tools that are not ours make of the same counts: slo-generator and scipy.

Reads {"counts": [[good, bad, objective, window seconds]], "shares": [[bad, n, e]], "lines": [[[y],
x]]} from stdin, and prints what it makes of each. A line goes through y at 0, 1, 2, …
"""

import json
import logging
import sys

from scipy import stats
from slo_generator.compute import compute

logging.disable(logging.CRITICAL)


class Counts:
    """A back end that knows the counts already."""

    def __init__(self, client=None, **config):
        pass

    def good_bad_ratio(self, timestamp, window, slo_config):
        sli = slo_config["spec"]["service_level_indicator"]
        return sli["good"], sli["bad"]


def consumed(good, bad, objective, window):
    labels = {"service_name": "s", "feature_name": "f", "slo_name": "o"}
    slo = {
        "apiVersion": "sre.google.com/v2",
        "kind": "ServiceLevelObjective",
        "metadata": {"name": "s-f-o", "labels": labels},
        "spec": {
            "description": "d",
            "backend": "oracles.Counts",
            "method": "good_bad_ratio",
            "exporters": [],
            "service_level_indicator": {"good": good, "bad": bad},
            "goal": objective,
        },
    }
    step = {
        "name": "w",
        "burn_rate_threshold": 1,
        "alert": False,
        "window": window,
        "message_alert": "",
        "message_ok": "",
    }
    config = {
        "backends": {"oracles.Counts": {}},
        "exporters": {},
        "error_budget_policies": {"default": {"steps": [step]}},
    }
    [report] = compute(slo, config, do_export=False)
    return report["error_budget_consumed_ratio"] / 100


def intervals(bad, n, e):
    wilson = stats.binomtest(bad, n).proportion_ci(0.95, method="wilson")
    exact = stats.binomtest(bad, n).proportion_ci(0.95, method="exact")
    low = stats.chi2.ppf(0.025, 2 * bad) / 2 if bad else 0.0
    jeffreys = stats.beta.ppf([0.025, 0.975], bad + 0.5, n - bad + 0.5)
    garwood = [low, stats.chi2.ppf(0.975, 2 * bad + 2) / 2]
    return {
        "wilson": [wilson.low, wilson.high],
        "exact": [exact.low, exact.high],
        "jeffreys": [float(bound) for bound in jeffreys],
        "poisson": garwood,
        "at_least": float(stats.binom.sf(bad - 1, n, e)),
        "at_most": float(stats.binom.cdf(bad, n, e)),
    }


def prediction(values, x):
    """Between what a further point at x lies, 95 %."""
    n = len(values)
    fit = stats.linregress(range(n), values)
    middle = (n - 1) / 2
    xx = sum((at - middle) ** 2 for at in range(n))
    off = sum((y - fit.intercept - fit.slope * at) ** 2 for at, y in enumerate(values))
    half = stats.t.ppf(0.975, n - 2) * (off / (n - 2) * (1 + 1 / n + (x - middle) ** 2 / xx)) ** 0.5
    y = fit.intercept + fit.slope * x
    return [y - half, y + half]


if __name__ == "__main__":
    sys.modules["oracles"] = sys.modules["__main__"]
    asked = json.load(sys.stdin)
    print(json.dumps({
        "counts": [consumed(*row) for row in asked["counts"]],
        "shares": [intervals(*row) for row in asked["shares"]],
        "lines": [prediction(*row) for row in asked["lines"]],
    }))
