"""Two periods of rows with numeric columns, of the shape of `cargo bench -- features`: a quarter of the columns moves."""

import sys

import numpy as np
import pandas as pd


def two_periods():
    """The reference and the current period; ROWS and COLUMNS are the command's arguments, 100000 and 200 by default."""
    given = [int(text) for text in sys.argv[1:3]]
    rows, columns = given + [100_000, 200][len(given) :]
    rng = np.random.default_rng(3)
    names = [f"f{i:03}" for i in range(columns)]
    reference = pd.DataFrame(rng.random((rows, columns)), columns=names)
    moved = np.where(np.arange(columns) % 4 == 0, 0.1, 0.0)
    return reference, pd.DataFrame(rng.random((rows, columns)) + moved, columns=names)
