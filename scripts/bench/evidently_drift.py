"""What Evidently takes for drift over numeric columns, on data of the shape of `cargo bench -- features`.

usage: evidently_drift.py [ROWS] [COLUMNS]; needs evidently 0.7.23
"""

import resource
import time
import warnings

from evidently import Report
from evidently.presets import DataDriftPreset
from frames import two_periods

warnings.filterwarnings("ignore")
reference, current = two_periods()
began = time.perf_counter()
Report([DataDriftPreset()]).run(current, reference).dict()
spent = time.perf_counter() - began
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
print(f"Evidently: {spent:.1f} s for {reference.shape[1]} columns x 2 x {reference.shape[0]} rows, peak memory {peak} MB")
