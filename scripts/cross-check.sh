#!/usr/bin/env bash
# Type-checks the workspace, its tests and its examples for other operating systems. Warnings fail.
#
# usage: scripts/cross-check.sh [cargo check arguments]   (default: --workspace --tests --examples)
#
# Prints one line per target; a failure is followed by what the compiler said.
# Needs scripts/cross-setup.sh to have run.
#
# environment:
#   RINGBOLT_CROSS_DIR, RINGBOLT_CROSS_TARGETS   as in scripts/cross-setup.sh
#   RINGBOLT_CROSS_BUILD                         build directory (default: in RINGBOLT_CROSS_DIR)
set -euo pipefail
. "$(dirname "$0")/lib.sh"

case ${1:-} in -h | --help) print_help "$0" && exit 0 ;; esac
[ $# -gt 0 ] || set -- --workspace --tests --examples
[ -e "$cross_toolchain/.ready" ] || die "run scripts/cross-setup.sh first"

export RUSTC=$cross_toolchain/bin/rustc RUSTDOC=$cross_toolchain/bin/rustdoc
export CARGO_TARGET_DIR=${RINGBOLT_CROSS_BUILD:-$cross_dir/build}
export CARGO_TERM_COLOR=never RUSTFLAGS="-D warnings ${RUSTFLAGS:-}"
logs=$cross_dir/logs
mkdir -p "$logs"
cd "$repo"

# Some development dependencies compile C, for which there may be no compiler here. A check links
# nothing, so that an empty object file serves as well.
no_cc=$cross_dir/no-cc
cat >"$no_cc" <<'SH'
#!/bin/sh
# The first two are how the crate `cc` asks what kind of compiler this is: it is like gcc.
case $1 in
    -E) echo '"gcc"' && exit 0 ;;
    '-?') exit 1 ;;
esac
while [ $# -gt 0 ]; do
    [ "$1" != -o ] || : >"$2"
    shift
done
SH
chmod +x "$no_cc"
for target in $cross_targets; do export "CC_${target//-/_}=$no_cc" "AR_${target//-/_}=ar"; done

failed=0
for target in $cross_targets; do
    start=$SECONDS state=ok
    cargo check --target "$target" "$@" >"$logs/$target.log" 2>&1 </dev/null || state=FAIL
    printf '%-4s  %-28s %4d s\n' $state "$target" $((SECONDS - start))
    [ $state = ok ] && continue
    failed=1
    # From the first complaint on, without what build scripts chat about.
    sed -n '/^\(error\|warning\)/,$p' "$logs/$target.log" | grep -v '^  cargo:rerun' | head -n 60
done
exit $failed
