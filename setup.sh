#!/usr/bin/env bash
# Installs what is missing, then does what it is asked. Safe to repeat.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

usage() {
    cat <<'TXT'
usage: ./setup.sh [--gpu|--cpu] [install|demo|serve|test]
       ./setup.sh doctor [--json] [GROUP ...]
  install  only install (the default)
  demo     turn every picture in examples/ into a GLB through a service of its own, then stop it
  serve    start the service and keep it running; Ctrl-C stops it
  test     lint, types, import rules and all tests
  doctor   what this machine can run, what is missing, and the remedy; installs nothing. Exit status 1: a problem
  --gpu    also install torchvision, spconv and xformers (done by itself where an NVIDIA card is found)
  --cpu    do not, even if a card is found
environment:
  PYTHON               the Python to make .venv with (3.11 or newer; default python3)
  MAQUETTE_CHROMIUM    the browser for the tests of the page, where it has another name than usual
  MAQUETTE_TORCH_INDEX a package index to take torch from, such as one with builds for your CUDA version
TXT
}

say() { printf '\033[1m==>\033[0m %s\n' "$*"; }
fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

verb=install
gpu=auto
doctor_words=()
for argument in "$@"; do
    if [ "$verb" = doctor ]; then
        doctor_words+=("$argument")
        continue
    fi
    case "$argument" in
        install | demo | serve | test | doctor) verb=$argument ;;
        --gpu) gpu=yes ;;
        --cpu) gpu=no ;;
        -h | --help) usage; exit 0 ;;
        *) usage >&2; fail "unknown argument '$argument'" ;;
    esac
done

if [ "$verb" = doctor ]; then
    python=.venv/bin/python
    [ -x "$python" ] || python=${PYTHON:-python3}
    command -v "$python" >/dev/null || fail "there is no '$python'; install Python 3.11 or newer"
    exec "$python" -m doctor "${doctor_words[@]}"
fi

if [ "$gpu" = auto ]; then
    if command -v nvidia-smi >/dev/null && nvidia-smi -L 2>/dev/null | grep -q GPU; then gpu=yes; else gpu=no; fi
fi

apt_install() {
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
    say "installing $* with apt"
    DEBIAN_FRONTEND=noninteractive apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$@" >/dev/null
}

make_venv() {
    local python=${PYTHON:-python3}
    command -v "$python" >/dev/null || fail "there is no '$python'; install Python 3.11 or newer, or name one: PYTHON=/path ./setup.sh"
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
        fail "'$python' is $("$python" -V 2>&1), and 3.11 or newer is needed; name one: PYTHON=/path ./setup.sh"
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        apt_install "python3-venv" || fail "'$python' cannot make virtual environments; install python3-venv"
    fi
    say "making .venv with $("$python" -V 2>&1)"
    "$python" -m venv .venv
}

# A stamp holds what was installed, so that a second run has nothing to do.
stamp() { cat requirements.txt constraints.txt pyproject.toml "$@" .venv/pyvenv.cfg | cksum; }

install_python() {
    local kind=$1
    shift
    local wanted
    [ -x .venv/bin/python ] || make_venv
    wanted=$(stamp "$@")
    [ "$(cat ".venv/installed-$kind" 2>/dev/null)" != "$wanted" ] || return 0
    say "installing Python packages ($kind; the first time takes minutes, torch is large)"
    if [ -n "${MAQUETTE_TORCH_INDEX:-}" ]; then
        .venv/bin/python -m pip install --disable-pip-version-check -q --index-url "$MAQUETTE_TORCH_INDEX" torch==2.13.0
    fi
    local files=()
    for file in requirements.txt "$@"; do files+=(-r "$file"); done
    .venv/bin/python -m pip install --disable-pip-version-check -q "${files[@]}" -c constraints.txt ||
        fail "pip could not install the packages; its message stands above"
    .venv/bin/python -m pip install --disable-pip-version-check -q --no-deps -e . ||
        fail "pip could not install the maquette command; its message stands above"
    echo "$wanted" >".venv/installed-$kind"
}

install_gpu() {
    install_python gpu requirements-gpu.txt
    for module in spconv.pytorch xformers nvdiffrast.torch kaolin; do
        if .venv/bin/python -c "import $module" 2>/dev/null; then
            say "$module: found"
        else
            say "$module: not found (optional: plain torch does its work)"
        fi
    done
}

install_redis() {
    [ -z "${MAQUETTE_REDIS_URL:-}" ] || return 0
    .venv/bin/python -c 'from jobs.server import find_server; find_server()' 2>/dev/null && return 0
    apt_install redis-server ||
        fail "there is no redis-server; install redis or valkey, or set MAQUETTE_REDIS_URL to one you have"
}

# The tests of the page look at it in a real browser.
install_chromium() {
    if [ -n "${MAQUETTE_CHROMIUM:-}" ]; then
        command -v "$MAQUETTE_CHROMIUM" >/dev/null || fail "MAQUETTE_CHROMIUM is '$MAQUETTE_CHROMIUM', which is no program"
        return 0
    fi
    for name in chromium chromium-browser google-chrome google-chrome-stable chrome; do
        command -v "$name" >/dev/null && return 0
    done
    apt_install chromium ||
        fail "the tests of the page need a browser; install chromium, or name one: MAQUETTE_CHROMIUM=/path ./setup.sh test"
}

# numba keeps what it compiled beside the sources; a job should never have to wait for it.
compile_kernels() {
    local wanted
    wanted=$(cat geometry/*.py pipelines/relief/*.py pipelines/trellis/*.py | cksum)
    [ "$(cat .venv/compiled 2>/dev/null)" != "$wanted" ] || return 0
    say "compiling kernels (once)"
    .venv/bin/python -c 'import pipelines; pipelines.load("relief", pipelines.Machine("cpu"))'
    .venv/bin/python -c 'from pipelines.slat.kernels import compile_kernels; compile_kernels()'
    echo "$wanted" >.venv/compiled
}

if [ "$verb" = test ]; then install_python dev requirements-dev.txt; else install_python base; fi
if [ "$gpu" = yes ]; then install_gpu; fi
install_redis
if [ "$verb" = test ]; then install_chromium; fi
compile_kernels

case "$verb" in
    install) say "ready: ./setup.sh demo, serve, test or doctor; .venv/bin/maquette is the command line" ;;
    demo) exec .venv/bin/python -m examples.demo ;;
    serve) exec .venv/bin/python api.py --production ;;
    test)
        say "lint"
        .venv/bin/ruff check . && .venv/bin/ruff format --check .
        .venv/bin/shellcheck setup.sh .ci/run
        say "types"
        .venv/bin/mypy
        say "import rules"
        .venv/bin/lint-imports
        say "tests"
        exec .venv/bin/python -m pytest -n 2 --dist loadfile --max-worker-restart 0
        ;;
esac
