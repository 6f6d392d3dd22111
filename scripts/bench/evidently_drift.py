"""What Evidently takes for drift over numeric columns, on data of the shape of `cargo bench -- features`.

usage: evidently_drift.py [ROWS] [COLUMNS]; needs evidently 0.7.23
"""

import resource
import sys
import time
import warnings

import numpy as np
import pandas as pd
from evidently import Report
from evidently.presets import DataDriftPreset

warnings.filterwarnings("ignore")
rows, columns = (int(text) for text in (sys.argv[1:] + ["100000", "200"][len(sys.argv) - 1 :]))
rng = np.random.default_rng(3)
names = [f"f{i:03}" for i in range(columns)]
reference = pd.DataFrame(rng.random((rows, columns)), columns=names)
current = pd.DataFrame(rng.random((rows, columns)) + np.where(np.arange(columns) % 4 == 0, 0.1, 0.0), columns=names)
began = time.perf_counter()
Report([DataDriftPreset()]).run(current, reference).dict()
spent = time.perf_counter() - began
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
print(f"Evidently: {spent:.1f} s for {columns} columns x 2 x {rows} rows, peak memory {peak} MB")
