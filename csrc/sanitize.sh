#!/usr/bin/env bash
# Runs the tests of engine and ops with the native module built under each sanitizer.
#   csrc/sanitize.sh PYTHON [SANITIZER…] [-- PYTEST ARGUMENTS]
# Python itself is not instrumented, so the sanitizer's runtime is preloaded, and leaks are not looked for.
set -euo pipefail
python=$(cd "$(dirname "$1")" && pwd)/$(basename "$1"); shift
sanitizers=()
while [[ $# -gt 0 && $1 != -- ]]; do sanitizers+=("$1"); shift; done
[[ ${1:-} == -- ]] && shift
[[ ${#sanitizers[@]} -eq 0 ]] && sanitizers=(address undefined thread)
root=$(cd "$(dirname "$0")/.." && pwd)
cxx=${CXX:-c++}

for sanitizer in "${sanitizers[@]}"; do
  case $sanitizer in
    address) library=libasan.so ;;
    undefined) library=libubsan.so ;;
    thread) library=libtsan.so ;;
    *) echo "unknown sanitizer $sanitizer: address, undefined or thread" >&2; exit 2 ;;
  esac
  echo "== $sanitizer"
  build=$root/build/sanitize-$sanitizer
  cmake -S "$root" -B "$build" -G Ninja -DPython_EXECUTABLE="$python" -DVAJRA_SANITIZE=$sanitizer \
    -DCMAKE_BUILD_TYPE=Debug > /dev/null
  cmake --build "$build" > "$build/build.log" || { cat "$build/build.log"; exit 1; }
  # A package tree of its own, so that the instrumented module never replaces the real one.
  rm -rf "$build/root" && mkdir -p "$build/root"
  cp -r "$root/replica/vajra" "$build/root/vajra"
  rm -f "$build"/root/vajra/engine/_native*.so
  cp "$build"/_native*.so "$build/root/vajra/engine/"
  # An editable install's import hook would come before PYTHONPATH.
  echo 'import sys; sys.meta_path[:] = [f for f in sys.meta_path if type(f).__name__ != "ScikitBuildRedirectingFinder"]' \
    > "$build/root/sitecustomize.py"
  (
    cd "$root"
    export LD_PRELOAD="$($cxx -print-file-name=$library) $($cxx -print-file-name=libstdc++.so.6)"
    # Reports go to files: pytest keeps what a test writes, and a report is the last thing a process does.
    log=log_path=$build/report:halt_on_error=1
    rm -f "$build"/report.*
    export ASAN_OPTIONS=$log:detect_leaks=0:abort_on_error=1 UBSAN_OPTIONS=$log:print_stacktrace=1
    export TSAN_OPTIONS=$log:report_signal_unsafe=0
    export OMP_NUM_THREADS=1  # the oracle's: the thread sanitizer does not see libgomp's barriers
    export PYTHONPATH=$build/root:$root/proto
    "$python" -c 'import sys; from vajra.engine import _native as n; sys.exit(not n.__file__.startswith(sys.argv[1]))' \
      "$build/" || { echo "the instrumented module is not the one that is imported" >&2; exit 1; }
    "$python" -m pytest -q -p no:cacheprovider -m 'not slow' \
      tests/engine tests/ops "$@" || { status=$?; cat "$build"/report.* 2> /dev/null; exit $status; }
  )
done
