"""What NannyML takes for univariate drift of numeric columns, on data of the shape of `cargo bench -- features`.

usage: nannyml_drift.py [ROWS] [COLUMNS]; needs nannyml 0.13.1
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
rows, columns = (int(text) for text in (sys.argv[1:] + ["100000", "200"][len(sys.argv) - 1 :]))
rng = np.random.default_rng(3)
names = [f"f{i:03}" for i in range(columns)]
reference = pd.DataFrame(rng.random((rows, columns)), columns=names)
current = pd.DataFrame(rng.random((rows, columns)) + np.where(np.arange(columns) % 4 == 0, 0.1, 0.0), columns=names)
began = time.perf_counter()
calculator = nml.UnivariateDriftCalculator(
    column_names=names,
    chunk_number=1,
    continuous_methods=["kolmogorov_smirnov", "jensen_shannon", "wasserstein", "hellinger"],
)
calculator.fit(reference)
calculator.calculate(current).to_df()
spent = time.perf_counter() - began
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
print(f"NannyML: {spent:.1f} s for {columns} columns x 2 x {rows} rows, peak memory {peak} MB")
