# What the scripts share: messages, Debian packages, the virtual environment and the places of files.
# To be sourced; sets -euo pipefail.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VENV=$ROOT/.venv
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/hypercall
GUESTS=${HYPERCALL_GUESTS:-$CACHE/guests}

if [ -t 2 ]; then BOLD=$'\033[1m' PLAIN=$'\033[0m'; else BOLD='' PLAIN=''; fi
say() { printf '%s==> %s%s\n' "$BOLD" "$*" "$PLAIN" >&2; }
die() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    exit 1
}

# Runs a command as root, or says in one line that somebody has to.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
        sudo "$@"
    else
        die "this needs root, and there is neither root nor a usable sudo; run as root: $*"
    fi
}

apt_install() {
    say "Installing $*"
    local install=(env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends)
    as_root "${install[@]}" "$@" </dev/null >&2 && return
    as_root apt-get update -q </dev/null >&2
    as_root "${install[@]}" "$@" </dev/null >&2 ||
        die "apt-get cannot install $*; install them by hand and run this again"
}

# The first Python on the path that is new enough.
find_python() {
    local candidate
    for candidate in python3 python3.13 python3.12 python3.11 python3.14; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

python_is_complete() {
    "$1" -c '
import ensurepip, os, sys, sysconfig, venv
sys.exit(not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")))
' 2>/dev/null
}

# Python with venv and headers, and a C compiler: installed only if one is missing.
need_build_tools() {
    local python missing=()
    if ! python=$(find_python); then
        # Ubuntu 22.04 has one beside its own.
        apt_install python3.11
        python=python3.11
    fi
    if ! python_is_complete "$python"; then
        local name=python3
        [ "$("$python" -c 'import sys; print(sys.prefix)')" = /usr ] ||
            die "$python lacks venv or its headers (Python.h) and is not the system's: mend it, or" \
                "put /usr/bin first in PATH"
        [ "$python" = python3 ] || name=$python
        missing+=("$name-venv" "$name-dev")
    fi
    command -v gcc >/dev/null && echo '#include <stdio.h>' | gcc -E - >/dev/null 2>&1 ||
        missing+=(gcc libc6-dev)
    [ ${#missing[@]} -eq 0 ] || apt_install "${missing[@]}"
    python_is_complete "$python" || die "$python still has no venv or headers after the installation"
    PYTHON=$python
}

# What the installation in .venv was made from, to know when it is out of date.
installation_state() {
    {
        echo "$ROOT $1"
        cat "$ROOT"/{pyproject.toml,setup.py} "$ROOT"/src/hypercall/cpu/unicorn/*.{pyx,pxd,pxi} \
            "$ROOT"/src/hypercall/trace/{,kvm/}*.pyx "$ROOT"/src/hypercall/trace/kvm/*.pxi
    } | sha256sum
}

# Installs the package into .venv, for editing. $1: the extra wanted beside it ("" or "dev").
setup_venv() {
    local stamp=$VENV/.installed state extra=$1 lock
    # The dev installation is the larger one, and serves both.
    if [ -f "$stamp" ] && grep -qx dev "$stamp"; then extra=dev; fi
    state=$(installation_state "$extra")
    exec {lock}<"$ROOT"
    flock "$lock"
    if [ "$(head -n 1 "$stamp" 2>/dev/null)" != "$state" ] ||
        ! "$VENV/bin/python" -c 'import hypercall.cpu.unicorn.engine, hypercall.trace.kvm.scan, hypercall.trace.jsonl_scan' 2>/dev/null; then
        need_build_tools
        if ! "$VENV/bin/python" -m pip --version >/dev/null 2>&1; then
            say "Creating .venv"
            "$PYTHON" -m venv --clear "$VENV"
        fi
        rm -f "$stamp"
        say "Installing hypercall into .venv"
        local requires
        mapfile -t requires < <("$VENV/bin/python" -c '
import sys, tomllib
print(*tomllib.load(open(sys.argv[1], "rb"))["build-system"]["requires"], sep="\n")
' "$ROOT/pyproject.toml")
        # Building without isolation needs no network once what it needs is in .venv.
        "$VENV/bin/python" -m pip install -q --disable-pip-version-check "${requires[@]}" >&2
        "$VENV/bin/python" -m pip install -q --disable-pip-version-check --no-build-isolation \
            -e "$ROOT${extra:+[$extra]}" >&2
        # Also where Python is told to write no compiled files: each start would compile anew.
        "$VENV/bin/python" -m compileall -q "$ROOT/src" "$VENV/lib" >/dev/null 2>&1 || true
        printf '%s\n' "$state" "$extra" >"$stamp"
    fi
    exec {lock}<&-
}

# gdb, with which the tests debug guests.
need_gdb() {
    command -v gdb >/dev/null || apt_install gdb
}

# The kernel that the scripts boot by default.
default_kernel() {
    local kernel
    for kernel in "$GUESTS"/vmlinuz-{6.1,distribution}; do
        if [ -f "$kernel" ]; then
            echo "$kernel"
            return
        fi
    done
    die "no kernel in $GUESTS; run script/fetch-guests"
}
