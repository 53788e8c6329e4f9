#!/bin/sh
# Installs the package, editable, with the named extras into .venv:
#
#     scripts/setup.sh test check
#
# A stamp for each extra holds a checksum of what it was installed from, so that a call
# with nothing to do ends at once. PYTHON names the Python to prefer when .venv is made.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd -P)
cd "$root"
venv=$root/.venv
log=$venv/setup.log
# Holds the process at work in .venv; what an interrupted one left is not trusted.
unfinished=$venv/.unfinished
needed_mb=${SETUP_NEEDS_MB:-1500}

stop() {
    echo "setup: $*" >&2
    exit 1
}

version_of() {
    "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null
}

find_python() {
    found="" bare=""
    for python in ${PYTHON:+"$PYTHON"} \
        python3.14 python3.13 python3.12 python3.11 python3; do
        version=$(version_of "$python") || continue
        found="$found${found:+, }$python is $version"
        [ "${version%%.*}" -eq 3 ] && [ "${version#*.}" -ge 11 ] || continue
        # Some Linux distributions ship Python without the parts that venv needs.
        if "$python" -c 'import ensurepip, venv' 2>/dev/null; then return; fi
        bare=$version
    done
    [ -z "$bare" ] || stop "Python $bare cannot make environments here." \
        "Install its venv module (on Debian and Ubuntu: apt install python$bare-venv)."
    stop "Python 3.11 or newer is needed (found: ${found:-none})." \
        "Install one, or name it: make PYTHON=/path/to/python3.12 ..."
}

# Prints the version of a .venv that can be used as it is.
usable() {
    [ ! -e "$unfinished" ] || return 1
    # Its scripts name their folder: a .venv that was moved or copied does not run.
    grep -qF "$venv" "$venv/bin/activate" 2>/dev/null || return 1
    "$venv/bin/python" -c 'import pip, sys
assert sys.version_info >= (3, 11)
print("%d.%d" % sys.version_info[:2])' 2>/dev/null
}

create() {
    find_python
    free_mb=$(df -Pk "$root" | awk 'NR == 2 { print int($4 / 1024) }')
    [ "${free_mb:-$needed_mb}" -ge "$needed_mb" ] ||
        stop "only $free_mb MB are free on the disk of $root, and a first" \
            "installation takes about $needed_mb MB. Make room and try again."
    if [ -e "$venv" ]; then
        echo "Making .venv anew with Python $version (the old one was incomplete) ..."
        rm -rf "$venv"
    else
        echo "Making .venv with Python $version ..."
    fi
    mkdir "$venv"
    echo $$ >"$unfinished"
    "$python" -m venv "$venv" >"$log" 2>&1 || explain
}

# Turns the log of a failed step into one line that says what to do.
explain() {
    if grep -qE 'No space left on device|Disk quota exceeded' "$log"; then
        stop "the disk is full. Make room (about $needed_mb MB here, and some for" \
            "temporary files) and try again. Full log: .venv/setup.log"
    fi
    unreachable='from versions: none|NewConnectionError|NameResolutionError'
    unreachable="$unreachable|ConnectTimeout|ReadTimeout|timed out|ProxyError|SSLError"
    unreachable="$unreachable|Connection (refused|reset|aborted|broken)"
    if grep -qE "$unreachable" "$log"; then
        # pip downloads everything before it installs anything: .venv is still good.
        rm -f "$unfinished"
        stop "the package registry cannot be reached, or lacks a package for Python" \
            "$version. Check the network and try again. Full log: .venv/setup.log"
    fi
    reason=$(grep -E '^ *(ERROR|error):' "$log" | tail -n 1)
    stop "the installation failed (${reason:-no reason given})." \
        "Full log: .venv/setup.log"
}

[ $# -gt 0 ] || stop "name the extras to install, as in: scripts/setup.sh test"
for extra; do
    grep -q "^$extra = \[" pyproject.toml ||
        stop "pyproject.toml has no extra called $extra."
done

worker=$(cat "$unfinished" 2>/dev/null || true)
if [ -n "$worker" ] && ps -o args= -p "$worker" 2>/dev/null | grep -q setup.sh; then
    stop "another set-up (process $worker) is at work in .venv. Wait until it ends."
fi

version=$(usable) || create

constraints=constraints/py$(echo "$version" | tr -d .).txt
[ -e "$constraints" ] || constraints=/dev/null
state=$(cat pyproject.toml "$constraints" | cksum)
missing=""
for extra; do
    [ "$(cat "$venv/.stamp-$extra" 2>/dev/null)" = "$state" ] ||
        missing="$missing${missing:+,}$extra"
done
[ -n "$missing" ] || exit 0

echo "Installing lagrangian[$missing] into .venv (first time: a minute or two) ..."
[ "$constraints" != /dev/null ] ||
    echo "No tested versions are recorded for Python $version: taking the newest ones."
echo $$ >"$unfinished"
"$venv/bin/python" -m pip install --disable-pip-version-check --no-input \
    --constraint "$constraints" --editable ".[$missing]" >"$log" 2>&1 || explain
for extra; do
    echo "$state" >"$venv/.stamp-$extra"
done
rm "$unfinished"
