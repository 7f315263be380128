#!/usr/bin/env bash
# Runs tests as Windows programs (x86_64-pc-windows-gnu) under Wine and prints how many ran.
#
# usage: scripts/windows-tests.sh [cargo test arguments]      (default: --test suite)
#
# Wine is a stand-in for Windows: good for finding wrong behaviour, useless for measuring speed.
# Needs scripts/cross-setup.sh to have run. Having run no test at all counts as a failure.
#
# environment:
#   RINGBOLT_CROSS_DIR      as in scripts/cross-setup.sh
#   RINGBOLT_CROSS_BUILD    build directory (default: in RINGBOLT_CROSS_DIR)
#   RINGBOLT_TEST_LIMIT_S   seconds allowed to one test program (default: 600)
set -euo pipefail
. "$(dirname "$0")/lib.sh"

case ${1:-} in -h | --help) print_help "$0" && exit 0 ;; esac
[ $# -gt 0 ] || set -- --test suite
[ -e "$cross_dir/wine/.ready" ] || die "run scripts/cross-setup.sh first"

export WINEPREFIX=$cross_dir/wine WINEDEBUG=${WINEDEBUG:--all} WINEDLLOVERRIDES='mscoree=;mshtml='
unset DISPLAY WAYLAND_DISPLAY
export RUSTC=$cross_toolchain/bin/rustc RUSTDOC=$cross_toolchain/bin/rustdoc
export CARGO_TARGET_DIR=${RINGBOLT_CROSS_BUILD:-$cross_dir/build} CARGO_TERM_COLOR=never
export CARGO_TARGET_X86_64_PC_WINDOWS_GNU_LINKER=x86_64-w64-mingw32-gcc
export CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER="timeout -k 5 ${RINGBOLT_TEST_LIMIT_S:-600} wine"
mkdir -p "$cross_dir/logs"
log=$cross_dir/logs/windows-tests.log
cd "$repo"

# Arguments after "--" belong to the test programs and mean nothing while building.
building=()
for argument in "$@"; do
    [ "$argument" != -- ] || break
    building+=("$argument")
done
cargo test --target "$windows_target" --no-run "${building[@]}" </dev/null
# The suite starts the examples.
cargo build --target "$windows_target" --examples </dev/null

# One Wine server serves all test programs and ends after five idle minutes. It is started here, cut
# off from our output: one started inside the pipeline below would hold the pipe open.
wineserver -p300 >/dev/null 2>&1 </dev/null || true
wine wineboot >/dev/null 2>&1 </dev/null || true

state=0
cargo test --target "$windows_target" "$@" </dev/null 2>&1 | tee "$log" || state=$?
ran=$(awk '/^test result:/ { n += $4 + $6 } END { print n + 0 }' "$log")
printf '%d tests ran under %s\n' "$ran" "$(wine --version 2>/dev/null)"
[ "$ran" -gt 0 ] || exit 1
exit $state
