"""Golden numbers for binary outputs, by the field's own programs. Writes tests/golden/binary.json.

Names are those of src/metric/catalogue.rs; a metric at a threshold is NAME@THRESHOLD. Data are drawn here with a fixed seed and
written beside the numbers, so that the tests need neither Python nor these packages.
"""

import json
import sys
from importlib.metadata import version

import dcurves
import numpy as np
import pandas as pd
import relplot
import scipy.stats
import statsmodels.api as sm
from scipy.spatial.distance import jensenshannon
from sklearn import metrics as skm
from sklearn.isotonic import IsotonicRegression
from statsmodels.stats.proportion import proportion_confint

THRESHOLDS = [0.1, 0.3, 0.5]
REFERENCE_PREVALENCE = 0.25
COSTS = {"true_positive": 1.0, "false_positive": 2.0, "true_negative": 0.0, "false_negative": 12.0}


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def datasets():
    rng = np.random.default_rng(20250101)
    y = [0, 0, 1, 1, 0, 1, 0, 1, 1, 0, 0, 1]
    yield "vector", np.array(y), np.array([0.1, 0.4, 0.35, 0.8, 0.2, 0.7, 0.5, 0.5, 0.9, 0.3, 0.4, 0.6])
    x = rng.normal(-1.5, 1.3, 400)
    yield "overconfident", (rng.random(400) < sigmoid(0.6 * x - 0.4)).astype(int), np.round(sigmoid(x), 6)
    x = rng.normal(-1, 1.2, 300)
    yield "tied", (rng.random(300) < sigmoid(x)).astype(int), np.round(sigmoid(x), 1)
    x = rng.normal(-4, 1.0, 500)
    yield "rare", (rng.random(500) < sigmoid(x + 0.5)).astype(int), sigmoid(x)
    x = rng.normal(0, 9, 250)
    yield "saturated", (rng.random(250) < sigmoid(0.5 * x)).astype(int), np.clip(sigmoid(x), 0, 1)


def delong(y, p):
    pos, neg = p[y == 1], p[y == 0]
    psi = (pos[:, None] > neg[None, :]) + 0.5 * (pos[:, None] == neg[None, :])
    return np.sqrt(np.var(psi.mean(1), ddof=1) / len(pos) + np.var(psi.mean(0), ddof=1) / len(neg))


def bins(p):
    # Ten of equal width, closed on the right; zero belongs to the first.
    return np.clip(np.searchsorted(np.arange(1, 10) / 10, p, side="left"), 0, 9)


def calibration(y, p):
    n = len(y)
    b = bins(p)
    rows = [(np.sum(b == k), p[b == k].mean(), y[b == k].mean()) for k in range(10) if np.any(b == k)]
    gap = [(w, abs(yk - pk), yk) for w, pk, yk in rows]
    out = {
        "ece": sum(w * g for w, g, _ in gap) / n,
        "mce": max(g for _, g, _ in gap),
    }
    many = [(w, g, yk) for w, g, yk in gap if w > 1]
    out["rms_calibration_error"] = np.sqrt(
        max(0, sum(w * (g * g - yk * (1 - yk) / (w - 1)) for w, g, yk in many) / sum(w for w, _, _ in many))
    )
    ybar = y.mean()
    rel = sum(w * g * g for w, g, _ in gap) / n
    res = sum(w * (yk - ybar) ** 2 for w, _, yk in gap) / n
    bias = sum(w / n * yk * (1 - yk) / (w - 1) for w, _, yk in many)
    within = sum(((p[b == k] - p[b == k].mean()) ** 2).sum() for k in range(10) if np.any(b == k)) / n
    across = 2 * sum(((y[b == k] - y[b == k].mean()) * (p[b == k] - p[b == k].mean())).sum() for k in range(10) if np.any(b == k)) / n
    out |= {
        "brier_reliability": rel,
        "brier_reliability_corrected": rel - bias,
        "brier_resolution": res,
        "brier_resolution_corrected": res - bias + ybar * (1 - ybar) / (n - 1),
        "brier_uncertainty": ybar * (1 - ybar),
        "brier_within_bins": within - across,
    }
    variance = ((1 - 2 * p) ** 2 * p * (1 - p)).sum()
    out["spiegelhalter"] = ((y - p) * (1 - 2 * p)).sum() / np.sqrt(variance)
    q = np.clip(p, 1e-6, 1 - 1e-6)
    x = np.log(q / (1 - q))
    large = sm.GLM(y, np.ones((n, 1)), family=sm.families.Binomial(), offset=x).fit(tol=1e-14, maxiter=200)
    line = sm.GLM(y, sm.add_constant(x), family=sm.families.Binomial()).fit(tol=1e-14, maxiter=200)
    ll = (y * x - np.logaddexp(0, x)).sum()
    out |= {
        "calibration_intercept": large.params[0],
        "calibration_slope": line.params[1],
        "calibration_line_intercept": line.params[0],
        "calibration_likelihood_ratio": 2 * (line.llf - ll),
    }
    shifted = sigmoid(x + large.params[0])
    b = bins(shifted)
    out["ece_after_shift"] = sum(abs(y[b == k].sum() - shifted[b == k].sum()) for k in range(10)) / n
    # Equal mass: a score belongs to the bin of the middle of its rows.
    values, counts = np.unique(p, return_counts=True)
    below = np.cumsum(counts) - counts
    at = dict(zip(values, np.minimum((2 * below + counts) * 10 // (2 * n), 9)))
    b = np.array([at[v] for v in p])
    out["ece_equal_mass"] = sum(abs(y[b == k].sum() - p[b == k].sum()) for k in range(10)) / n
    out["smooth_ece"] = smooth_ece(y, p)
    # relplot evaluates at 200 points, the ends in full: near enough to show that the definition is the same.
    assert abs(out["smooth_ece"] - relplot.smECE(p.astype(float), y.astype(float))) < 2e-2
    fit = IsotonicRegression().fit(p, y).predict(p)
    brier = lambda q: ((q - y) ** 2).mean()
    d = np.sort(np.abs(p - fit))
    out |= {
        "corp_miscalibration": brier(p) - brier(fit),
        "corp_discrimination": brier(np.full(n, ybar)) - brier(fit),
        "ici": d.mean(),
        "e50": d[int(np.ceil(0.5 * n)) - 1],
        "e90": d[int(np.ceil(0.9 * n)) - 1],
        "emax": d[-1],
    }
    errors = {"calibration_slope": line.bse[1], "calibration_line_intercept": line.bse[0], "calibration_intercept": large.bse[0]}
    return out, errors


def smooth_ece(y, p):
    """The fixed point by quadrature on a fine grid, the kernel reflected at 0 and 1."""
    t = (np.arange(4000) + 0.5) / 4000

    def error(s):
        around = np.concatenate([p + 2 * k for k in range(-3, 4)] + [-p + 2 * k for k in range(-3, 4)])
        r = np.tile((y - p) / len(y), 14)
        k = np.exp(-0.5 * ((t[:, None] - around[None, :]) / s) ** 2) / (s * np.sqrt(2 * np.pi))
        return np.abs(k @ r).mean()

    low, high = 1e-4, 1.0
    for _ in range(16):
        middle = (low + high) / 2
        low, high = (middle, high) if error(middle) > middle else (low, middle)
    return (low + high) / 2


def at_threshold(y, p, t):
    flag = (p >= t).astype(int)
    tn, fp, fn, tp = (int(v) for v in skm.confusion_matrix(y, flag, labels=[0, 1]).ravel())
    n, m = len(y), int(y.sum())
    se, sp = tp / m, tn / (n - m)
    pi = REFERENCE_PREVALENCE
    out = {
        "true_positives": tp, "false_positives": fp, "true_negatives": tn, "false_negatives": fn,
        "sensitivity": se, "specificity": sp, "accuracy": skm.accuracy_score(y, flag),
        "balanced_accuracy": skm.balanced_accuracy_score(y, flag), "youden": se + sp - 1,
        "alert_rate": flag.mean(),
    }
    out["ppv"] = tp / (tp + fp) if tp + fp else None
    out["npv"] = tn / (tn + fn) if tn + fn else None
    out["f1"] = skm.f1_score(y, flag, zero_division=np.nan)
    out["mcc"] = skm.matthews_corrcoef(y, flag) if 0 < flag.sum() < n else None
    positive, negative = skm.class_likelihood_ratios(y, flag)
    out["lr_positive"] = positive if fp else None
    out["lr_negative"] = negative if tn else None
    out["ppv_adjusted"] = se * pi / (se * pi + (1 - sp) * (1 - pi)) if tp + fp else None
    out["npv_adjusted"] = sp * (1 - pi) / ((1 - se) * pi + sp * (1 - pi)) if tn + fn else None
    frame = pd.DataFrame({"y": y, "p": p})
    curve = dcurves.dca(data=frame, outcome="y", modelnames=["p"], thresholds=[t])
    of = lambda name: float(curve[curve.model == name].net_benefit.iloc[0])
    out |= {"net_benefit": of("p"), "net_benefit_all": of("all"), "net_benefit_standardised": of("p") / y.mean()}
    c = COSTS
    cost = lambda tp, fp, tn, fn: (c["true_positive"] * tp + c["false_positive"] * fp + c["true_negative"] * tn + c["false_negative"] * fn) / n
    expected = cost(tp, fp, tn, fn)
    best = min(cost(((p >= s) & (y == 1)).sum(), ((p >= s) & (y == 0)).sum(), ((p < s) & (y == 0)).sum(), ((p < s) & (y == 1)).sum())
               for s in np.append(np.unique(p), 2))
    out |= {
        "expected_cost": expected,
        "normalised_cost": expected / min(cost(m, n - m, 0, 0), cost(0, 0, n - m, m)),
        "cost_regret": expected - best,
    }
    wilson = {name: list(proportion_confint(k, w, method="wilson")) for name, k, w in
              [("sensitivity", tp, m), ("specificity", tn, n - m), ("ppv", tp, tp + fp), ("npv", tn, tn + fn)] if w}
    return out, wilson


def adjusted_ap(y, p, pi):
    m, n = y.sum(), (1 - y).sum()
    total = 0
    for t in np.unique(p):
        rise = ((p == t) & (y == 1)).sum() / m
        tpr, fpr = ((p >= t) & (y == 1)).sum() / m, ((p >= t) & (y == 0)).sum() / n
        if rise:
            total += rise * pi * tpr / (pi * tpr + (1 - pi) * fpr)
    return total


def drift(reference, current):
    edges = np.quantile(reference, np.arange(1, 16) / 16, method="inverted_cdf")
    edges = np.unique(edges)
    edges = edges[edges < reference.max()]
    cut = lambda v: np.bincount(np.searchsorted(edges, v, side="left"), minlength=len(edges) + 1)
    r, c = cut(reference), cut(current)
    b = len(r)
    q, p = (r + 0.5) / (r.sum() + b / 2), (c + 0.5) / (c.sum() + b / 2)
    return {
        "score_psi": ((p - q) * np.log(p / q)).sum(),
        "score_js": jensenshannon(c / c.sum(), r / r.sum(), base=2),
        "score_hellinger": np.sqrt(1 - np.sqrt(r / r.sum() * c / c.sum()).sum()),
        "score_ks": scipy.stats.ks_2samp(reference, current).statistic,
        "score_wasserstein": scipy.stats.wasserstein_distance(reference, current),
        "score_energy": scipy.stats.energy_distance(reference, current),
    }


def em(p, prevalence):
    pi = prevalence
    for _ in range(100_000):
        post = p * pi / prevalence / (p * pi / prevalence + (1 - p) * (1 - pi) / (1 - prevalence))
        if abs(post.mean() - pi) < 1e-15:
            break
        pi = post.mean()
    return pi


def main(path):
    cases = []
    named = list(datasets())
    for name, y, p in named:
        n, m = len(y), int(y.sum())
        values = {
            "auroc": skm.roc_auc_score(y, p),
            "partial_auroc": skm.roc_auc_score(y, p, max_fpr=0.2),
            "average_precision": skm.average_precision_score(y, p),
            "average_precision_lift": skm.average_precision_score(y, p) / y.mean(),
            "average_precision_adjusted": adjusted_ap(y, p, REFERENCE_PREVALENCE),
            "brier": skm.brier_score_loss(y, p),
            "brier_scaled": 1 - skm.brier_score_loss(y, p) / (y.mean() * (1 - y.mean())),
            "log_loss": skm.log_loss(y, p),
            "observed_expected": m / p.sum(),
            "prevalence": m / n,
            "mean_score": p.mean(),
        }
        more, errors = calibration(y, p)
        values |= more
        errors["auroc"] = delong(y, p)
        intervals = {}
        for t in THRESHOLDS:
            of, wilson = at_threshold(y, p, t)
            values |= {f"{key}@{t}": value for key, value in of.items()}
            intervals |= {f"{key}@{t}": value for key, value in wilson.items()}
        # Drift from the second half's point of view, with the first half as the reference.
        half = n // 2
        values_drift = drift(p[:half], p[half:])
        values_drift["prevalence_em"] = em(p[half:], y[:half].mean())
        for t in THRESHOLDS:
            tpr, fpr = (p[:half] >= t)[y[:half] == 1].mean(), (p[:half] >= t)[y[:half] == 0].mean()
            rate = (p[half:] >= t).mean()
            values_drift[f"prevalence_bbse@{t}"] = float(np.clip((rate - fpr) / (tpr - fpr), 0, 1)) if tpr - fpr >= 0.05 else None
        plain = lambda d: {k: (None if v is None or (isinstance(v, float) and not np.isfinite(v)) else float(v)) for k, v in d.items()}
        cases.append({"name": name, "truth": y.tolist(), "scores": p.tolist(), "values": plain(values),
                      "standard_errors": plain(errors), "intervals": intervals, "drift_of_second_half": plain(values_drift)})
    programs = {name: version(name) for name in ["numpy", "scipy", "scikit-learn", "statsmodels", "dcurves", "relplot"]}
    golden = {"made_by": "scripts/parity/binary.py", "python": sys.version.split()[0], "programs": programs, "thresholds": THRESHOLDS,
              "reference_prevalence": REFERENCE_PREVALENCE, "costs": COSTS, "cases": cases}
    with open(path, "w") as file:
        json.dump(golden, file, indent=1)
        file.write("\n")


main(sys.argv[1] if len(sys.argv) > 1 else "tests/golden/binary.json")
