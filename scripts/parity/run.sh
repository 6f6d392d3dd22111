#!/bin/sh
# Make the golden numbers of the tests anew, by the field's own programs: Python's in an environment of their own below target/, R's where
# R and its packages are installed.
set -eu
cd "$(dirname "$0")/../.."
python=target/parity/bin/python
[ -x $python ] || python3 -m venv target/parity
$python -m pip install --quiet -r scripts/parity/requirements.txt
$python -m pip install --quiet --no-deps -r scripts/parity/requirements-bare.txt
for script in scripts/parity/*.py; do
    echo "$script"
    $python -W ignore "$script"
done
if Rscript -e 'stopifnot(sapply(c("jsonlite", "pROC", "rms", "psych", "epiR", "spc"), requireNamespace, quietly = TRUE))' >/dev/null 2>&1; then
    echo scripts/parity/reference.R
    Rscript scripts/parity/reference.R
else
    echo "R or one of its packages is missing: tests/golden/r.json stays as it is. On Debian, as root:"
    echo "  apt-get install r-base-core r-cran-jsonlite r-cran-proc r-cran-rms r-cran-psych r-cran-epir r-cran-spc"
fi
git diff --stat -- tests/golden
