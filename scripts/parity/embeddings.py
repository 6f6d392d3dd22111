"""Golden numbers for drift of embeddings. Writes tests/golden/embeddings.json.

Values are multiples of 1/1024, so that single precision holds them exactly. Components are kept as NannyML keeps them: the fewest
that explain 0.65 of the variance of the standardised reference.
"""

import json
import sys
from importlib.metadata import version

import numpy as np
from scipy.spatial.distance import pdist
from sklearn.covariance import LedoitWolf
from sklearn.decomposition import PCA
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.preprocessing import StandardScaler

EXPLAINED = 0.65


def datasets():
    rng = np.random.default_rng(20250104)
    mix = rng.normal(0, 1, (8, 8)) * np.array([2.0, 1.5, 1.0, 0.8, 0.6, 0.4, 0.3, 0.2])[:, None]
    centre = rng.normal(0, 2, 8)
    reference = centre + rng.normal(0, 1, (400, 8)) @ mix + rng.normal(0, 0.3, (400, 8))
    current = centre + rng.normal(0, 1.1, (150, 8)) @ mix + rng.normal(0, 0.5, (150, 8)) + [0.5, 0, -0.7, 0, 0, 0.3, 0, 0]
    for x in [reference, current]:
        x = np.round(x * 1024) / 1024
        assert (x == x.astype(np.float32)).all()
        yield x


def mmd(x, y, s):
    within = lambda k: ((k.sum() - len(k)) / (len(k) * (len(k) - 1)), k.mean())
    gamma = 1 / (2 * s * s)
    (ux, bx), (uy, by) = within(rbf_kernel(x, gamma=gamma)), within(rbf_kernel(y, gamma=gamma))
    across = rbf_kernel(x, y, gamma=gamma).mean()
    return ux + uy - 2 * across, bx + by - 2 * across


def main(path):
    reference, current = datasets()
    fit = LedoitWolf().fit(reference)
    scale = StandardScaler().fit(reference)
    pca = PCA(n_components=EXPLAINED).fit(scale.transform(reference))
    x = scale.transform(current)
    rebuilt = pca.inverse_transform(pca.transform(x))
    s = float(np.median(pdist(reference)))
    unbiased, biased = mmd(reference, current, s)
    values = {
        "mean": fit.location_.tolist(),
        "ledoit_wolf_covariance": fit.covariance_.tolist(),
        "ledoit_wolf_shrinkage": float(fit.shrinkage_),
        "squared_mahalanobis": fit.mahalanobis(current).tolist(),
        "standard_deviation": scale.scale_.tolist(),
        "explained_variance_ratio": PCA().fit(scale.transform(reference)).explained_variance_ratio_.tolist(),
        "components": int(pca.n_components_),
        "reconstruction_error": np.linalg.norm(x - rebuilt, axis=1).tolist(),
        "bandwidth": s,
        "mmd2_unbiased": float(unbiased),
        "mmd2_biased": float(biased),
    }
    programs = {name: version(name) for name in ["numpy", "scipy", "scikit-learn"]}
    with open(path, "w") as file:
        json.dump({"made_by": "scripts/parity/embeddings.py", "python": sys.version.split()[0], "programs": programs, "explained": EXPLAINED,
                   "reference": reference.tolist(), "current": current.tolist(), "values": values}, file, indent=1)
        file.write("\n")


main(sys.argv[1] if len(sys.argv) > 1 else "tests/golden/embeddings.json")
