# Sourced by the other scripts; not a program. What they share: help, messages, Debian packages,
# and where the cross-compilation files live.
#
# The caller has set -euo pipefail.

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cross_dir=${RINGBOLT_CROSS_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/ringbolt-cross}
cross_toolchain=$cross_dir/toolchain
cross_targets=${RINGBOLT_CROSS_TARGETS:-x86_64-pc-windows-gnu aarch64-apple-darwin x86_64-unknown-freebsd}
windows_target=x86_64-pc-windows-gnu

# print_help FILE: prints the comment that FILE begins with.
print_help() { sed -n '2,/^[^#]/{/^#/!q;s/^# \{0,1\}//p}' "$1"; }

note() { printf -- '-- %s\n' "$*"; }

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

has() { command -v "$1" >/dev/null 2>&1; }

# as_root COMMAND...: through sudo unless we are root already.
as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

apt_update() { as_root apt-get update -q; }

# apt_missing PACKAGE...: those that are not installed.
apt_missing() {
    local package
    for package in "$@"; do
        dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
            printf '%s\n' "$package"
    done
}

apt_get_install() {
    # RUNLEVEL=1 keeps packages such as nginx from starting a service when they are installed.
    as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
        apt-get install -y -q --no-install-recommends "$@"
}

# apt_install PACKAGE...: installs what is absent. The package lists are fetched only when the first
# attempt fails, which is what happens on a machine that has none or has stale ones.
apt_install() {
    local missing
    mapfile -t missing < <(apt_missing "$@")
    [ ${#missing[@]} -gt 0 ] || return 0
    has apt-get || die "apt-get is not here; install by other means: ${missing[*]}"
    note "installing ${missing[*]}"
    apt_get_install "${missing[@]}" && return 0
    apt_update
    apt_get_install "${missing[@]}"
}

# apt_candidate PACKAGE: the version that apt would install, or nothing.
apt_candidate() { apt-cache policy "$1" 2>/dev/null | sed -n 's/^ *Candidate: //p' | grep -vx '(none)' || true; }

# apt_depends PACKAGE PATTERN: the first dependency of PACKAGE whose whole name matches PATTERN.
apt_depends() { apt-cache depends "$1" | sed -n "s/^.*Depends: \\($2\\)\$/\\1/p" | head -n1; }

# apt_download PACKAGE...: into the current directory, with one retry after an update.
apt_download() {
    apt-get download -q "$@" && return 0
    apt_update
    apt-get download -q "$@"
}
