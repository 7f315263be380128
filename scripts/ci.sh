#!/usr/bin/env bash
# Every check of this project, by name. What passes here passes in continuous integration.
#
# usage: scripts/ci.sh [all | <step>...]          (default: all)
#        scripts/ci.sh --list
#
# steps:
#   tools            install what the tests use when present: curl wrk redis-tools strace openssl ...
#   fmt              formatting
#   clippy           lints, warnings denied
#   docs             documentation builds without warnings
#   tidy             the rules of CONTRIBUTING.md, machine-checked (tests/tidy)
#   test             every test and documentation example
#   test-readiness   unit tests and documentation examples on the readiness driver
#   test-denied      the conformance suite with io_uring denied by the system
#   test-hardened    the conformance suite on rings that are restricted to what is used
#   models           what threads share, in every order (loom)
#   simulate         millions of random programs on the simulated kernel
#   storm            millions of operations on the real kernel, left at every point; byte ledgers
#   gates            races with the kernel held in mid-copy
#   abuse            ten thousand connections, hostile peers, runtimes that come and go
#   address          the simulated kernel and the unit tests under AddressSanitizer
#   fuzz             every fuzz target for a minute
#   mutants          a sample of changes that some test must notice
#   examples         examples build in release mode
#   benches          benchmarks build
#   versus           the comparison with other runtimes builds (a workspace of its own)
#   cross            type check for Windows, macOS and FreeBSD
#   windows          the conformance suite as a Windows program under Wine
# on request only:
#   sanitizers       all tests under AddressSanitizer (nightly toolchain)
#   old-kernel       the conformance suite on an older kernel in an emulated machine
#
# Each step is announced and timed; a summary ends the run, with the figures that the steps reached. The last line counts tests, and one for
# each step that runs none: "N passed, N failed". The exit code is 0 when nothing failed. A step that
# cannot run here says what is missing and counts as skipped.
#
# environment:
#   RINGBOLT_SCALE              quick, ci or release: how much the long steps do (default: ci)
#   RINGBOLT_SCHEDULES_ASAN     random programs under AddressSanitizer (default: 20000)
#   RINGBOLT_MUTANTS            size of the sample of mutants (default: 20)
#   RINGBOLT_FUZZ_S             seconds for each fuzz target (default: 60)
#   RINGBOLT_CI_STEP_LIMIT_S    seconds allowed to one step (default: none)
#   RINGBOLT_CI_TOTAL_LIMIT_S   seconds allowed to the run; later steps then fail (default: none)
#   RINGBOLT_CROSS_DIR          as in scripts/cross-setup.sh
set -euo pipefail
. "$(dirname "$0")/lib.sh"

everything=(tools fmt clippy docs tidy test test-readiness test-denied test-hardened simulate gates
    storm abuse models address mutants fuzz examples benches versus cross windows)
on_request=(sanitizers old-kernel)
skip_code=77

# skip REASON: ends the step as neither passed nor failed.
skip() {
    note "skipped: $*"
    exit $skip_code
}

# Programs that some tests and benchmarks drive, each with the package that has it.
step_tools() {
    local pair wanted=()
    for pair in curl:curl wrk:wrk redis-benchmark:redis-tools strace:strace openssl:openssl \
        nginx:nginx-light python3:python3; do
        has "${pair%%:*}" || wanted+=("${pair##*:}")
    done
    if [ ${#wanted[@]} = 0 ]; then
        note "all present"
    elif has apt-get; then
        apt_install "${wanted[@]}"
    else
        skip "apt-get is not here; tests that need these say so themselves: ${wanted[*]}"
    fi
}

step_fmt() { cargo fmt --all --check; }

step_clippy() {
    cargo clippy --workspace --all-targets -- -D warnings
    cargo clippy --workspace --all-targets --features sim -- -D warnings
}

step_docs() { RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --features sim; }

step_tidy() { cargo test --test tidy; }

step_test() { cargo test --workspace --features sim; }

# The suite runs on every driver by itself; this is the rest.
step_test_readiness() {
    RINGBOLT_DRIVER=readiness cargo test --workspace --features sim --lib
    RINGBOLT_DRIVER=readiness cargo test --workspace --features sim --doc
}

step_test_denied() {
    has python3 || skip "python3 is not here"
    # Built outside the filter, so that only the tests live without io_uring.
    cargo test --features sim --test suite --no-run
    scripts/deny-io-uring.py -- cargo test --features sim --test suite
}

step_test_hardened() { RINGBOLT_HARDEN=1 cargo test --features sim --test suite; }

# long TEST...: the long form of test programs, built once for all of them.
long() {
    local tests=() name
    for name in sim gates storm stress abuse; do tests+=(--test "$name"); done
    cargo test --release --features sim --no-run "${tests[@]}"
    tests=()
    for name in "$@"; do tests+=(--test "$name"); done
    RINGBOLT_SCALE=${RINGBOLT_SCALE:-ci} cargo test --release --features sim "${tests[@]}"
}

step_simulate() { long sim; }

step_gates() { long gates; }

step_storm() { long storm stress; }

step_abuse() { long abuse; }

step_models() { scripts/models.sh; }

# Operations that are left to the kernel on purpose are leaks by intent.
step_address() {
    cargo +nightly --version >/dev/null 2>&1 || skip "a nightly toolchain is not here"
    RINGBOLT_SCHEDULES=${RINGBOLT_SCHEDULES_ASAN:-20000} ASAN_OPTIONS=detect_leaks=0 \
        scripts/sanitizers.sh address --features sim --test sim -- schedules late fences
}

step_mutants() {
    has python3 || skip "python3 is not here"
    scripts/mutants.py --sample "${RINGBOLT_MUTANTS:-20}"
}

step_fuzz() { scripts/fuzz.sh "${RINGBOLT_FUZZ_S:-60}"; }

step_examples() { cargo build --release --examples; }

step_benches() { cargo bench --workspace --no-run; }

step_versus() {
    [ -e benches/versus/Cargo.toml ] || skip "no benches/versus/Cargo.toml"
    cargo check --all-targets --manifest-path benches/versus/Cargo.toml
}

step_cross() {
    has apt-get || [ -e "$cross_toolchain/.ready" ] || skip "apt-get is not here"
    scripts/cross-setup.sh check
    scripts/cross-check.sh
}

step_windows() {
    has apt-get || [ -e "$cross_dir/wine/.ready" ] || skip "apt-get is not here"
    scripts/cross-setup.sh windows
    scripts/windows-tests.sh --test suite
}

step_sanitizers() { scripts/sanitizers.sh address; }

step_old_kernel() {
    has apt-get || skip "apt-get is not here"
    local program
    program=$(cargo test --test suite --no-run 2>&1 | tee /dev/stderr |
        sed -n 's/.*Executable .*(\(.*\))$/\1/p')
    scripts/old-kernel.sh "$program"
}

# run_step NAME: announces, runs, times; the outcome goes to the arrays below.
declare -A outcome_of seconds_of
run_step() {
    local name=$1 start=$SECONDS code=0 limit
    limit=$(seconds_allowed)
    printf '\n==== %s\n' "$name"
    if [ "$limit" -le 0 ]; then
        note "no time left"
        code=1
    else
        # A process of its own: it can be given a time limit, and an error in it ends only itself.
        timeout -k 10 "$limit" "$BASH" "$repo/scripts/ci.sh" --step "$name" </dev/null 2>&1 |
            tee "$logs/$name" || code=$?
    fi
    [ $code != 124 ] || note "stopped after $limit s"
    seconds_of[$name]=$((SECONDS - start))
    case $code in
        0) outcome_of[$name]=ok ;;
        "$skip_code") outcome_of[$name]=skipped ;;
        *) outcome_of[$name]=FAILED ;;
    esac
    printf '==== %s: %s, %s s\n' "$name" "${outcome_of[$name]}" "${seconds_of[$name]}"
}

# Whole days stand for "no limit".
seconds_allowed() {
    local step=${RINGBOLT_CI_STEP_LIMIT_S:-864000} left=${RINGBOLT_CI_TOTAL_LIMIT_S:-864000}
    left=$((left - SECONDS))
    echo $((step < left ? step : left))
}

# tests_in LOG: "passed failed ignored", summed over the test programs that reported.
tests_in() {
    awk '/^test result:/ { p += $4; f += $6; i += $8 } END { print p + 0, f + 0, i + 0 }' "$1"
}

summary() {
    local name p f i passed=0 failed=0 bad=0
    printf '\n==== summary\n'
    for name in "$@"; do
        read -r p f i < <(tests_in "$logs/$name")
        printf '%-8s %-15s %5s s' "${outcome_of[$name]}" "$name" "${seconds_of[$name]}"
        [ $((p + f)) = 0 ] || printf '   %s tests passed, %s failed, %s ignored' "$p" "$f" "$i"
        printf '\n'
        case ${outcome_of[$name]} in
            ok) [ $((p + f)) -gt 0 ] || p=1 ;;
            # A program that crashed, or did not build, has counted nothing.
            FAILED) bad=1 && [ "$f" -gt 0 ] || f=1 ;;
        esac
        passed=$((passed + p)) failed=$((failed + f))
    done
    printf '\n==== figures\n'
    for name in "$@"; do grep -ahE '^figure: ' "$logs/$name" || true; done
    printf '\n%s passed, %s failed\n' "$passed" "$failed"
    return $bad
}

known() { [[ " ${everything[*]} ${on_request[*]} " == *" $1 "* ]]; }

main() {
    local name steps=()
    case ${1:-} in
        -h | --help) print_help "$0" && exit 0 ;;
        --list) printf '%s\n' "${everything[@]}" "${on_request[@]}" && exit 0 ;;
        --step)
            # Not part of an "&&" list: that would keep set -e from ending the step at an error.
            cd "$repo"
            "step_${2//-/_}"
            exit 0
            ;;
    esac
    [ $# -gt 0 ] || set -- all
    for name in "$@"; do
        if [ "$name" = all ]; then
            steps+=("${everything[@]}")
        else
            known "$name" || die "no such step: $name (see scripts/ci.sh --list)"
            steps+=("$name")
        fi
    done
    logs=$(mktemp -d)
    trap 'rm -rf "$logs"' EXIT
    for name in "${steps[@]}"; do
        : >"$logs/$name"
        run_step "$name"
    done
    summary "${steps[@]}"
}

main "$@"
