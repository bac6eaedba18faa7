#!/usr/bin/env bash
# Makes .venv and installs Earmark into it: tools/setup.sh EXTRAS STAMP... Called by make, which skips it while a STAMP
# is newer than pyproject.toml and the lock. PYTHON=/path/to/python3 chooses the interpreter.
set -euo pipefail
cd "$(dirname "$0")/.."
extras=$1 lock=requirements/lock.txt venv=.venv
shift
stamps=("$@")

say() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }
fail() { printf '\033[31msetup:\033[0m %s\n' "$*" >&2; exit 1; }

usable() { # a Python we are tested on that can make virtual environments; pyenv's shims exist without working
    "$1" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1
}

choose_python() {
    local candidate
    for candidate in ${PYTHON:-python3.11 python3.12 python3.13 python3 python}; do
        if command -v "$candidate" >/dev/null && usable "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    fail "no Python 3.11, 3.12 or 3.13 that can make a virtual environment was found${PYTHON:+ at PYTHON=$PYTHON}.
       Install one (Debian, Ubuntu: apt install python3 python3-venv; macOS: brew install python@3.12; anywhere:
       uv python install 3.12, which prints where it put it),
       or name one: make setup PYTHON=/path/to/python3.12"
}

if ! usable $venv/bin/python || ! $venv/bin/python -m pip --version >/dev/null 2>&1; then
    # Also after an interrupted first try, or when the Python it was made with is gone.
    if [ -e $venv ] && [ ! -e $venv/pyvenv.cfg ]; then
        fail "$venv is there and is no virtual environment; move it away"
    fi
    python=$(choose_python)
    say "making $venv with $("$python" --version) ($python)"
    "$python" -m venv --clear $venv
fi

# What was installed, in short: a change of the lint settings in pyproject.toml need not wait for pip.
signature="$(sed -n '/^\[project/,/^\[tool/p' pyproject.toml | cat - $lock "$0" | cksum)"
case "$(cat "${stamps[0]}" 2>/dev/null)" in
    "$extras"*" $signature") touch "${stamps[@]}" && exit ;;
esac

pip() { $venv/bin/python -m pip --disable-pip-version-check --no-input "$@"; }

if ! $venv/bin/python -c 'import importlib.util as u, sys; sys.exit(not u.find_spec("torch"))'; then
    say "installing PyTorch (the largest part; the whole takes minutes the first time)"
    # First and alone: whatever build of the pinned version the machine's pip settings offer (CPU or CUDA) is kept.
    pip install -qq --constraint $lock "torch==$(sed -n 's/^torch==//p' $lock)"
fi
say "installing earmark[$extras] as pinned in $lock"
pip install -qq --constraint $lock --editable ".[$extras]"
pip check --quiet >/dev/null 2>&1 || say "note: 'pip check' sees a conflict; see .venv/bin/pip check"
printf '%s\n' "$extras $signature" | tee "${stamps[@]}" >/dev/null
say "ready: $venv"
