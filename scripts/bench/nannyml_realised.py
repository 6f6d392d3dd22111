"""What NannyML takes for realised performance by day, on data of the shape of `cargo bench -- realised`.

usage: nannyml_realised.py [ROWS]; needs nannyml 0.13.1
"""

import os
import resource
import sys
import time
import warnings

os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"

import nannyml as nml
import numpy as np
import pandas as pd

warnings.filterwarnings("ignore")
rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
rng = np.random.default_rng(4)


def period(start):
    score = rng.random(rows) ** 3
    at = pd.Timestamp(start) + pd.to_timedelta(np.sort(rng.integers(0, 30 * 86_400, rows)), unit="s")
    truth = (rng.random(rows) < score).astype(int)
    return pd.DataFrame({"at": at, "score": score, "flag": (score >= 0.5).astype(int), "truth": truth})


reference, current = period("2025-02-01"), period("2025-03-03")
began = time.perf_counter()
calculator = nml.PerformanceCalculator(
    y_pred_proba="score",
    y_pred="flag",
    y_true="truth",
    timestamp_column_name="at",
    problem_type="classification_binary",
    metrics=["roc_auc", "average_precision", "f1", "precision", "recall", "specificity", "accuracy"],
    chunk_period="D",
)
calculator.fit(reference)
calculator.calculate(current).to_df()
spent = time.perf_counter() - began
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
print(f"NannyML: {spent:.1f} s for 7 metrics of 30 days, reference and current of {rows} rows each, peak memory {peak} MB")
