#!/usr/bin/env bash
# Runs the tests of some packages under AddressSanitizer, which looks for leaks as well.
#
# usage: scripts/sanitizers.sh [address|leak] [package...]
#        (default: address ringbolt-buffers ringbolt-runtime ringbolt)
#        scripts/sanitizers.sh address|leak OPTION...     as after `cargo test`
#
# Uses the nightly toolchain as it comes, so std itself is not instrumented. Documentation examples
# are left out. ThreadSanitizer is not offered: without an instrumented std it reports what is not
# there.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

sanitizer=address
case ${1:-} in
    -h | --help) print_help "$0" && exit 0 ;;
    address | leak) sanitizer=$1 && shift ;;
esac
[ $# -gt 0 ] || set -- ringbolt-buffers ringbolt-runtime ringbolt
if [[ $1 == -* ]]; then
    what=("$@")
else
    what=(--lib --tests)
    for package in "$@"; do what+=(--package "$package"); done
fi

cd "$repo"
cargo +nightly --version >/dev/null 2>&1 || die "a nightly toolchain is needed"
host=$(rustc +nightly -vV | sed -n 's/^host: //p')
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$repo/target}/sanitizer-$sanitizer
export RUSTFLAGS="-Zsanitizer=$sanitizer ${RUSTFLAGS:-}"
exec cargo +nightly test --target "$host" "${what[@]}"
