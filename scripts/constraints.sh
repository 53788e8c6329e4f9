#!/bin/sh
# Writes constraints/pyXY.txt: what a free installation of all extras resolves to, for
# every Python that is named (by default 3.11 to 3.13, as far as they are installed).
set -eu

cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- python3.11 python3.12 python3.13
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

for python; do
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' \
        2>/dev/null) || {
        echo "$python is not installed: its file stays as it is."
        continue
    }
    file=constraints/py$(echo "$version" | tr -d .).txt
    echo "Resolving for Python $version into $file (a minute or two) ..."
    "$python" -m venv --clear "$folder/venv"
    "$folder/venv/bin/python" -m pip install --disable-pip-version-check \
        --editable '.[test,bench,check,notebooks]' >"$folder/log" 2>&1 || {
        cat "$folder/log" >&2
        exit 1
    }
    {
        echo "# Versions that the tests pass with on Python $version."
        echo "# Written by \`make constraints\`; do not edit."
        "$folder/venv/bin/python" -m pip list --disable-pip-version-check \
            --format freeze --exclude-editable \
            --exclude pip --exclude setuptools --exclude wheel 2>"$folder/log"
    } >"$folder/list"
    mv "$folder/list" "$file"
done
