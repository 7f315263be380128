#!/usr/bin/env bash
# Prepares a Debian machine to check this workspace for other operating systems and to run its
# Windows tests under Wine. Meant for machines where rustup cannot fetch further targets.
#
# usage: scripts/cross-setup.sh [check] [windows]        (default: both)
#
#   check     a compiler with matching sources of std, and std built for every target
#   windows   std, linker, Wine and a Wine prefix for x86_64-pc-windows-gnu
#
# The compiler is Debian's own (package rustc-web, with rust-web-src for std). It is unpacked, not
# installed, and so does not get in the way of rustup. Cargo stays the one on PATH.
#
# Everything lands in one directory, about 1.6 GB; a part that is there already is left alone.
#
# environment:
#   RINGBOLT_CROSS_DIR       that directory (default: ringbolt-cross in the user's cache)
#   RINGBOLT_CROSS_TARGETS   targets to check for (default: windows-gnu, macOS on arm64, FreeBSD)
set -euo pipefail
. "$(dirname "$0")/lib.sh"

log=$cross_dir/setup.log

# quietly COMMAND...: sends output to the log, and shows the log's end if the command fails.
quietly() {
    "$@" >>"$log" 2>&1 </dev/null && return 0
    tail -n 25 "$log" >&2
    die "failed: $*"
}

step() { printf -- '-- %s (after %s s)\n' "$*" "$SECONDS"; }

# unpack PACKAGE[=VERSION]...: fetches packages and unpacks them under $cross_dir/unpacked.
unpack() {
    local debs=$cross_dir/debs deb
    rm -rf "$debs"
    mkdir -p "$debs" "$cross_dir/unpacked"
    # apt reads the directory as another user; a failure of that only costs a warning in the log.
    (cd "$debs" && quietly apt_download "$@")
    for deb in "$debs"/*.deb; do dpkg -x "$deb" "$cross_dir/unpacked"; done
    rm -rf "$debs"
}

# launcher NAME: bin/NAME starts libexec/NAME with the unpacked libraries in reach.
launcher() {
    cat >"$cross_toolchain/bin/$1" <<'SH'
#!/bin/sh
top=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
LD_LIBRARY_PATH="$top/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" \
    exec "$top/libexec/$(basename -- "$0")" "$@"
SH
    chmod +x "$cross_toolchain/bin/$1"
}

libraries_missing() {
    LD_LIBRARY_PATH=$cross_toolchain/lib ldd "$cross_toolchain/libexec/rustc" | grep -q 'not found'
}

setup_toolchain() {
    local tc=$cross_toolchain from=$cross_dir/unpacked/usr version std llvm needed
    [ ! -e "$tc/.ready" ] || return 0
    step "compiler and sources of std"
    has apt-get || die "this needs apt-get: the compiler comes from Debian packages"
    [ -n "$(apt_candidate rust-web-src)" ] || quietly apt_update
    version=$(apt_candidate rust-web-src)
    [ -n "$version" ] ||
        die "no package rust-web-src here; it is in the security archive of Debian 12"
    std=$(apt_depends "libstd-rust-web-dev=$version" 'libstd-rust-web-[0-9.]*')
    llvm=$(apt_depends "$std=$version" 'libllvm[0-9]*')
    rm -rf "$tc" "$cross_dir/unpacked"
    unpack "rustc-web=$version" "libstd-rust-web-dev=$version" "$std=$version" \
        "rust-web-src=$version" "$llvm"
    mkdir -p "$tc/bin" "$tc/libexec" "$tc/lib/rustlib/src/rust"
    mv "$from"/bin/rustc "$from"/bin/rustdoc "$tc/libexec/"
    mv "$from"/lib/*-linux-gnu/librustc_driver-*.so "$from"/lib/*-linux-gnu/libLLVM* "$tc/lib/"
    mv "$from"/lib/rustlib/*-linux-gnu "$tc/lib/rustlib/"
    mv "$from"/src/rustc-*/library "$from"/src/rustc-*/Cargo.lock "$tc/lib/rustlib/src/rust/"
    rm -rf "$cross_dir/unpacked"
    launcher rustc
    launcher rustdoc
    if libraries_missing; then
        mapfile -t needed < <(apt-cache depends "$llvm" | sed -n 's/.*Depends: \(lib[^ <>]*\)$/\1/p')
        quietly apt_install "${needed[@]}"
    fi
    "$tc/bin/rustc" --version
    touch "$tc/.ready"
}

# An empty crate: building it with -Zbuild-std leaves std's rlibs behind.
write_seed() {
    mkdir -p "$cross_dir/seed/src"
    : >"$cross_dir/seed/src/lib.rs"
    cat >"$cross_dir/seed/Cargo.toml" <<'TOML'
[package]
name = "seed"
version = "0.0.0"
edition = "2024"
[workspace]
[profile.dev]
debug = 0
incremental = false
[profile.release]
debug = 0
opt-level = 2
TOML
}

build_seed() ( # build_seed TARGET [--release]
    cd "$cross_dir/seed" || exit
    unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_RUSTFLAGS CARGO_BUILD_TARGET
    unset RUSTC_WRAPPER RUSTC_WORKSPACE_WRAPPER
    export RUSTC=$cross_toolchain/bin/rustc RUSTDOC=$cross_toolchain/bin/rustdoc RUSTC_BOOTSTRAP=1
    export CARGO_TARGET_DIR=$cross_dir/std-build
    cargo build --target "$@" -Zbuild-std=std,panic_abort,panic_unwind,test,proc_macro
)

# setup_std TARGET [--release]: cargo then finds std for TARGET as if rustup had installed it.
setup_std() {
    local target=$1 out=debug lib=$cross_toolchain/lib/rustlib/$1/lib
    if [ -e "$lib/.ready-release" ] || [ -e "$lib/.ready-${2:-}" ]; then return 0; fi
    [ $# = 1 ] || out=release
    step "std for $target ($out)"
    write_seed
    quietly build_seed "$@"
    rm -rf "$lib"
    mkdir -p "$lib"
    cp "$cross_dir/std-build/$target/$out"/deps/*.rlib "$lib/"
    rm -f "$lib"/libseed-*
    rm -rf "$cross_dir/std-build/$target"
    touch "$lib/.ready-$([ $out = debug ] || echo release)"
}

# Wine 8.0 has no bcryptprimitives.dll, which Rust's std asks for its random numbers.
add_bcryptprimitives() {
    local dll=$WINEPREFIX/drive_c/windows/system32/bcryptprimitives.dll
    [ ! -e "$dll" ] || return 0
    cat >"$cross_dir/bcryptprimitives.c" <<'C'
#include <windows.h>

/* The documented name is RtlGenRandom; advapi32 exports it under this one. */
BOOLEAN NTAPI SystemFunction036(PVOID, ULONG);

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T len)
{
    while (len > 0) {
        ULONG part = len < 0x8000 ? (ULONG)len : 0x8000;
        if (!SystemFunction036(data, part))
            return FALSE;
        data += part;
        len -= part;
    }
    return TRUE;
}
C
    quietly x86_64-w64-mingw32-gcc -shared -O2 -o "$dll" "$cross_dir/bcryptprimitives.c" -ladvapi32
}

setup_windows() {
    quietly apt_install gcc-mingw-w64-x86-64-win32 wine wine64
    setup_std "$windows_target" --release
    export WINEPREFIX=$cross_dir/wine WINEDEBUG=-all WINEDLLOVERRIDES='mscoree=;mshtml='
    unset DISPLAY WAYLAND_DISPLAY
    [ ! -e "$WINEPREFIX/.ready" ] || return 0
    step "Wine prefix"
    rm -rf "$WINEPREFIX"
    mkdir -p "$WINEPREFIX"
    quietly wine wineboot -u
    quietly wineserver -w
    add_bcryptprimitives
    touch "$WINEPREFIX/.ready"
}

setup_check() { # setup_check WITH_WINDOWS
    local target
    for target in $cross_targets; do
        if [ "$target" = "$windows_target" ]; then
            # Its std makes import libraries with mingw's dlltool.
            quietly apt_install binutils-mingw-w64-x86-64
            # The optimised std that running needs serves for checking as well.
            [ "$1" = no ] || continue
        fi
        setup_std "$target"
    done
}

check=no windows=no
[ $# -gt 0 ] || set -- check windows
for part in "$@"; do
    case $part in
        check) check=yes ;;
        windows) windows=yes ;;
        -h | --help) print_help "$0" && exit 0 ;;
        *) print_help "$0" >&2 && exit 2 ;;
    esac
done

mkdir -p "$cross_dir"
exec 9>"$cross_dir/lock"
flock 9
setup_toolchain
[ $check = no ] || setup_check $windows
[ $windows = no ] || setup_windows
step "ready: ${cross_dir/#$HOME/\~}"
