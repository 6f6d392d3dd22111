"""What scikit-learn takes for AUROC, average precision, Brier score and a 10-bin reliability curve over outputs x slices x windows.

The data have the shape of `cargo bench -- large`: CASES cases over 90 days, 14 outputs, 12 slices (all, and the values of four
dimensions), four windows (90 days, and each 30 of them). usage: sklearn_groups.py [CASES]
"""

import sys
import time
import warnings

import numpy as np
from sklearn.calibration import calibration_curve
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

warnings.filterwarnings("ignore")
cases = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
rng = np.random.default_rng(1)
day = rng.integers(0, 90, cases)
dimensions = {"site": 4, "sex": 2, "view": 2, "age": 3}
codes = {name: rng.integers(0, n, cases) for name, n in dimensions.items()}
slices = [np.ones(cases, bool)] + [codes[name] == value for name, n in dimensions.items() for value in range(n)]
windows = [np.ones(cases, bool)] + [(day >= 30 * k) & (day < 30 * k + 30) for k in range(3)]
spent = 0.0
groups = 0
for _ in range(14):
    score = rng.random(cases) ** 3
    truth = (rng.random(cases) < score).astype(int)
    known = rng.random(cases) < 0.9
    began = time.perf_counter()
    for inside in slices:
        for window in windows:
            at = inside & window & known
            y, p = truth[at], score[at]
            roc_auc_score(y, p), average_precision_score(y, p), brier_score_loss(y, p), calibration_curve(y, p, n_bins=10)
            groups += 1
    spent += time.perf_counter() - began
print(f"scikit-learn: {spent:.1f} s for {groups} groups of {cases} cases x 14 outputs")
