"""What NannyML takes for univariate drift of numeric columns, on data of the shape of `cargo bench -- features`.

usage: nannyml_drift.py [ROWS] [COLUMNS]; needs nannyml 0.13.1
"""

import os
import resource
import time
import warnings

os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"

import nannyml as nml
from frames import two_periods

warnings.filterwarnings("ignore")
reference, current = two_periods()
began = time.perf_counter()
calculator = nml.UnivariateDriftCalculator(
    column_names=list(reference.columns),
    chunk_number=1,
    continuous_methods=["kolmogorov_smirnov", "jensen_shannon", "wasserstein", "hellinger"],
)
calculator.fit(reference)
calculator.calculate(current).to_df()
spent = time.perf_counter() - began
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
print(f"NannyML: {spent:.1f} s for {reference.shape[1]} columns x 2 x {reference.shape[0]} rows, peak memory {peak} MB")
