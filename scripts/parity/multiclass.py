"""Golden numbers for classes of more than two. Writes tests/golden/multiclass.json.

The class said is that of the greatest score, the lowest index of those that tie. A metric of one class is NAME[CLASS]. A metric that
is not defined, such as the precision of a class that is never said and any mean over it, is left out.
"""

import json
import sys
from importlib.metadata import version

import numpy as np
from sklearn import metrics as skm

BINS = 15


def softmax(x):
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def millionths(p):
    # What rounding down leaves goes to the greatest.
    whole = np.floor(p * 1e6).astype(int)
    whole[np.arange(len(p)), p.argmax(1)] += 1_000_000 - whole.sum(1)
    return whole / 1e6


def draw(rng, shares):
    return np.array([rng.choice(shares.shape[1], p=row / row.sum()) for row in shares])


def datasets():
    rng = np.random.default_rng(20250102)
    x = rng.normal(0, 1.6, (200, 3)) + [0.8, 0, -0.6]
    yield "overconfident", ["normal", "benign", "malignant"], draw(rng, softmax(0.6 * x)), millionths(softmax(x))
    x = rng.normal(0, 1.2, (150, 4))
    p = np.array([rng.multinomial(10, row) for row in softmax(x)]) / 10
    yield "tenths", ["0", "1", "2", "3"], draw(rng, p), p
    x = rng.normal(0, 1.0, (300, 4)) + [0.5, 0.2, 0, 0]
    x[:, 3] = x.min(1) - 0.5
    yield "never said", ["none", "mild", "severe", "other"], draw(rng, softmax(0.8 * x)), millionths(softmax(x))
    x = rng.normal(0, 1.8, (90, 5)) + [1.2, 0.6, 0, 0, -0.8]
    yield "five", ["A", "B", "C", "D", "E"], draw(rng, softmax(1.3 * x)), softmax(x)


def ece(p, y):
    # Of equal width, closed on the right; zero belongs to the first.
    b = np.searchsorted(np.arange(1, BINS) / BINS, p, side="left")
    return sum(abs(y[b == k].sum() - p[b == k].sum()) for k in range(BINS)) / len(p)


def main(path):
    cases = []
    for name, classes, y, p in datasets():
        n, kinds = p.shape
        every = list(range(kinds))
        said = p.argmax(1)
        hot = (y[:, None] == every).astype(float)
        assert hot.sum(0).min() > 1
        values = {
            "accuracy": skm.accuracy_score(y, said),
            "balanced_accuracy": skm.balanced_accuracy_score(y, said),
            "multiclass_mcc": skm.matthews_corrcoef(y, said),
            "cohen_kappa": skm.cohen_kappa_score(y, said, labels=every),
            "quadratic_kappa": skm.cohen_kappa_score(y, said, labels=every, weights="quadratic"),
        }
        scores = {"precision": skm.precision_score, "recall": skm.recall_score, "f1": skm.f1_score}
        for key, score in scores.items():
            each = score(y, said, labels=every, average=None, zero_division=np.nan)
            if not np.isnan(each).any():
                for average in ["macro", "weighted"]:
                    values[f"{key}_{average}"] = score(y, said, labels=every, average=average)
            values |= {f"class_{key}[{c}]": v for c, v in zip(classes, each) if not np.isnan(v)}
        ovr = lambda average: skm.roc_auc_score(y, p, multi_class="ovr", average=average, labels=every)
        values |= {
            "auroc_ovr_macro": ovr("macro"),
            "auroc_ovr_weighted": ovr("weighted"),
            "auroc_hand_till": skm.roc_auc_score(y, p, multi_class="ovo", average="macro", labels=every),
        }
        values |= {f"class_auroc[{c}]": skm.roc_auc_score(hot[:, k], p[:, k]) for k, c in enumerate(classes)}
        # Before the true class come those of a greater score, and of those that tie the ones of a lower index.
        own = p[np.arange(n), y][:, None]
        rank = (p > own).sum(1) + ((p == own) & (np.array(every) < y[:, None])).sum(1)
        values |= {f"top_{k}_accuracy": (rank < k).mean() for k in [2, 3] if kinds > k}
        values |= {
            "multiclass_brier": ((p - hot) ** 2).sum(1).mean(),
            "multiclass_log_loss": skm.log_loss(y, p, labels=every),
            "top_label_ece": ece(p.max(1), (said == y).astype(float)),
            "classwise_ece": np.mean([ece(p[:, k], hot[:, k]) for k in every]),
        }
        cases.append({"name": name, "classes": classes, "truth": y.tolist(), "scores": p.tolist(),
                      "metrics": {k: float(v) for k, v in values.items()}})
    programs = {name: version(name) for name in ["numpy", "scikit-learn"]}
    with open(path, "w") as file:
        json.dump({"made_by": "scripts/parity/multiclass.py", "python": sys.version.split()[0], "programs": programs, "bins": BINS, "cases": cases}, file, indent=1)
        file.write("\n")


main(sys.argv[1] if len(sys.argv) > 1 else "tests/golden/multiclass.json")
