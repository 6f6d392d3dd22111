"""Golden numbers for the agreement of readers. Writes tests/golden/agreement.json."""

import json
import sys
from importlib.metadata import version

import krippendorff
import numpy as np
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats import inter_rater

LETTERS = "-?+"


def draw(rng, cases, readers, kinds, missing):
    rows = []
    for _ in range(cases):
        truth = rng.random() < 0.3
        row = ""
        for _ in range(readers):
            sure = rng.random() < 0.85
            said = truth if rng.random() < 0.9 else not truth
            letter = "+" if said else "-"
            if kinds == 3 and not sure:
                letter = "?"
            row += " " if rng.random() < missing else letter
        rows.append(row)
    return rows


def table(rows):
    return np.array([[row.count(letter) for letter in LETTERS] for row in rows])


def gwet(rows):
    counts = table(rows)
    m = counts.sum(1, keepdims=True)
    keep = m[:, 0] > 1
    counts, m = counts[keep], m[keep]
    agreeing = ((counts * (counts - 1)).sum(1) / (m[:, 0] * (m[:, 0] - 1))).mean()
    shares = (counts / m).mean(0)
    kinds = 3 if shares[1] > 0 else 2
    chance = (shares * (1 - shares)).sum() / (kinds - 1)
    return agreeing, (agreeing - chance) / (1 - chance)


def main(path):
    rng = np.random.default_rng(7)
    named = [("two readers", draw(rng, 60, 2, 2, 0)), ("three readers", draw(rng, 50, 3, 3, 0)),
             ("some missing", draw(rng, 80, 4, 3, 0.4)), ("paper", ["---", "--+", "-++", "+++"])]
    cases = []
    for name, rows in named:
        read = [row for row in rows if len(row.replace(" ", "")) > 1]
        data = [[np.nan if c == " " else LETTERS.index(c) for c in reader] for reader in zip(*read)]
        agreeing, ac1 = gwet(read)
        values = {"reader_agreement": agreeing, "gwet_ac1": ac1, "read_twice": len(read),
                  "krippendorff_alpha": krippendorff.alpha(reliability_data=data, level_of_measurement="nominal", value_domain=[0, 1, 2])}
        error = None
        if all(" " not in row for row in rows):
            values["fleiss_kappa"] = inter_rater.fleiss_kappa(table(rows), method="fleiss")
        if len(rows[0]) == 2:
            pair = np.array([[sum(row == a + b for row in rows) for b in LETTERS] for a in LETTERS])
            pair = pair[np.ix_([0, 2], [0, 2])]
            fit = inter_rater.cohens_kappa(pair)
            values["cohen_kappa"] = cohen_kappa_score([r[0] for r in rows], [r[1] for r in rows])
            error = float(fit.std_kappa)
        cases.append({"name": name, "readings": rows, "values": {k: float(v) for k, v in values.items()}, "cohen_standard_error": error})
    programs = {name: version(name) for name in ["numpy", "scikit-learn", "statsmodels", "krippendorff"]}
    with open(path, "w") as file:
        json.dump({"made_by": "scripts/parity/agreement.py", "python": sys.version.split()[0], "programs": programs, "cases": cases}, file, indent=1)
        file.write("\n")


main(sys.argv[1] if len(sys.argv) > 1 else "tests/golden/agreement.json")
