#!/bin/sh
# Make the golden numbers of the tests anew, by the field's own programs, in environments of their own below target/.
set -eu
cd "$(dirname "$0")/../.."
python=target/parity/bin/python
if [ ! -x $python ]; then
    python3 -m venv target/parity
    $python -m pip install --quiet -r scripts/parity/requirements.txt
fi
for script in scripts/parity/*.py; do
    echo "$script"
    $python -W ignore "$script"
done
git diff --stat -- tests/golden
