"""Golden numbers for binned calibration errors, by netcal and uncertainty-calibration. Writes tests/golden/netcal.json.

The data are those of tests/golden/binary.json. netcal closes its bins on the left and uncertainty-calibration on the right, so that the
two differ wherever a score lies on an edge; on_an_edge counts those scores. netcal imports torch, which comes with gigabytes of other
packages, but bins without it: empty modules stand in for torch while netcal is imported. A debiased_l2 is the root of debiased_square,
or zero where that is negative.
"""

import json
import sys
import types
from importlib.metadata import version

import calibration
import numpy as np

BINS = [10, 15]


class StandIn(types.ModuleType):
    __path__ = []

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return sys.modules.get(f"{self.__name__}.{name}") or type(name, (), {})


TORCH = ["torch", "torch.nn", "torch.nn.functional", "torch.nn.modules", "torch.nn.modules.loss", "torch.distributions"]
sys.modules |= {name: StandIn(name) for name in TORCH}
from netcal.metrics import ECE, MCE  # noqa: E402

for name in TORCH:
    del sys.modules[name]


def main(path, data):
    with open(data) as file:
        read = json.load(file)["cases"]
    cases = []
    for case in read:
        y, p = np.array(case["truth"]), np.array(case["scores"])
        left, right, on_an_edge = {}, {}, {}
        for k in BINS:
            left |= {f"ece_{k}": ECE(k).measure(p, y), f"mce_{k}": MCE(k).measure(p, y)}
            of = lambda power, debias, scheme: calibration.lower_bound_scaling_ce(p, y, p=power, debias=debias, num_bins=k, binning_scheme=scheme)
            utils = calibration.utils
            square = lambda scheme: utils.unbiased_square_ce(utils.bin(list(zip(p, y)), scheme(p, k)))
            equal_width, equal_mass = utils.get_equal_prob_bins, utils.get_equal_bins
            right |= {
                f"ece_{k}": of(1, False, equal_width),
                f"debiased_l2_{k}": of(2, True, equal_width),
                f"debiased_square_{k}": square(equal_width),
                f"debiased_l2_equal_mass_{k}": of(2, True, equal_mass),
                f"debiased_square_equal_mass_{k}": square(equal_mass),
            }
            on_an_edge[f"{k}"] = int(np.isclose(p * k, np.round(p * k), rtol=0, atol=1e-12)[(p > 0.5 / k) & (p < 1 - 0.5 / k)].sum())
        plain = lambda d: {k: float(v) for k, v in d.items()}
        cases.append({"name": case["name"], "on_an_edge": on_an_edge, "netcal": plain(left), "uncertainty_calibration": plain(right)})
    programs = {name: version(name) for name in ["numpy", "scipy", "netcal", "uncertainty-calibration"]}
    with open(path, "w") as file:
        json.dump({"made_by": "scripts/parity/netcal_ece.py", "python": sys.version.split()[0], "programs": programs, "data": data, "cases": cases}, file, indent=1)
        file.write("\n")


main(sys.argv[1] if len(sys.argv) > 1 else "tests/golden/netcal.json", "tests/golden/binary.json")
