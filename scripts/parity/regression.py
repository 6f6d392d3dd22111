"""Golden numbers for outputs that are quantities. Writes tests/golden/regression.json.

An error is the prediction minus the truth. The line of calibration is that of the truth on the prediction, by least squares.
"""

import json
import sys
from importlib.metadata import version

import numpy as np
import scipy.stats
import statsmodels.api as sm
from sklearn import metrics as skm


def datasets():
    rng = np.random.default_rng(20250103)
    t = rng.normal(50, 12, 120)
    yield "ordinary", 5.0, np.round(t, 3), np.round(t + rng.normal(0, 5, 120), 3)
    t = rng.gamma(3, 4, 200)
    yield "heteroscedastic and biased", 2.0, np.round(t, 3), np.round(1.1 * t + 1 + rng.normal(0, 0.2, 200) * t, 3)
    t = np.where(rng.random(80) < 0.3, 0, rng.exponential(8, 80))
    yield "zeros", 1.0, np.round(t, 2), np.round(np.maximum(t + rng.normal(0, 1.5, 80), 0), 2)
    t = np.round(rng.normal(20, 6, 60) * 4) / 4
    yield "constant offset", 2.5, t, t + 2.5
    t = 1e6 + rng.normal(0, 10, 150)
    yield "large", 3.0, np.round(t, 3), np.round(t + 1 + rng.normal(0, 3, 150), 3)


def agreement(t, p):
    n = len(t)
    x, y = t - t.mean(), p - p.mean()
    ccc = 2 * (x * y).mean() / ((x * x).mean() + (y * y).mean() + (t.mean() - p.mean()) ** 2)
    # Two-way analysis of variance: rows are cases, columns the truth and the prediction.
    rated = np.column_stack([t, p]) - t.mean()
    grand, rows, columns = rated.mean(), rated.mean(1), rated.mean(0)
    msr = 2 * ((rows - grand) ** 2).sum() / (n - 1)
    msc = n * ((columns - grand) ** 2).sum()
    mse = ((rated - rows[:, None] - columns[None, :] + grand) ** 2).sum() / (n - 1)
    return ccc, (msr - mse) / (msr + mse + 2 * (msc - mse) / n)


def line(t, p):
    # About the means, where the fit is well conditioned; the intercept is the answer at zero.
    fit = sm.OLS(t - t.mean(), sm.add_constant(p - p.mean())).fit()
    zero = fit.t_test([1, -p.mean()])
    return {"calibration_slope": fit.params[1], "calibration_slope_se": fit.bse[1],
            "calibration_intercept": t.mean() + zero.effect.item(), "calibration_intercept_se": zero.sd.item()}


def main(path):
    cases = []
    for name, tolerance, t, p in datasets():
        e = p - t
        n, sd, z = len(e), e.std(ddof=1), scipy.stats.norm.ppf(0.975)
        ccc, icc = agreement(t, p)
        values = {
            "mae": skm.mean_absolute_error(t, p),
            "mae_se": np.abs(e).std(ddof=1) / np.sqrt(n),
            "rmse": skm.root_mean_squared_error(t, p),
            "bias": e.mean(),
            "bias_se": sd / np.sqrt(n),
            "loa_lower": e.mean() - z * sd,
            "loa_upper": e.mean() + z * sd,
            "r2": skm.r2_score(t, p),
            "mape": skm.mean_absolute_percentage_error(t[t != 0], p[t != 0]),
            "median_absolute_error": np.median(np.abs(e)),
            "pearson_r": scipy.stats.pearsonr(t, p).statistic,
            **line(t, p),
            "ccc": ccc,
            "icc": icc,
            "within_tolerance": (np.abs(e) <= tolerance).mean(),
        }
        cases.append({"name": name, "tolerance": tolerance, "truth": t.tolist(), "predictions": p.tolist(),
                      "metrics": {k: float(v) for k, v in values.items()}})
    programs = {name: version(name) for name in ["numpy", "scipy", "scikit-learn", "statsmodels"]}
    with open(path, "w") as file:
        json.dump({"made_by": "scripts/parity/regression.py", "python": sys.version.split()[0], "programs": programs, "cases": cases}, file, indent=1)
        file.write("\n")


main(sys.argv[1] if len(sys.argv) > 1 else "tests/golden/regression.json")
