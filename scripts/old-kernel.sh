#!/usr/bin/env bash
# Runs a Linux program on Debian's own, older kernel (6.1 in Debian 12) in an emulated machine, to
# see how it copes where newer io_uring features are absent. No root and no KVM; boots in seconds.
#
# usage: scripts/old-kernel.sh <program> [argument...]
#        CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="$PWD/scripts/old-kernel.sh" cargo test --lib
#
# The machine has no disk and no network but lo: its files are the program, its libraries and an
# empty /tmp in memory. The exit code is the program's, or 125 when it never got to exit.
# The first run installs qemu-system-x86 and unpacks a kernel and busybox into RINGBOLT_CROSS_DIR.
#
# environment:
#   RINGBOLT_CROSS_DIR      as in scripts/cross-setup.sh
#   RINGBOLT_VM_CPUS        2
#   RINGBOLT_VM_MEM_MIB     1024
#   RINGBOLT_VM_FILES       more files to put at the same paths
#   RINGBOLT_VM_SYSCTL      settings such as kernel.io_uring_disabled=2
#   RINGBOLT_TEST_LIMIT_S   300
set -euo pipefail
. "$(dirname "$0")/lib.sh"

case ${1:-} in
    -h | --help) print_help "$0" && exit 0 ;;
    '') print_help "$0" >&2 && exit 2 ;;
esac

kernel=$cross_dir/old-kernel

fetch_kernel() {
    local image deb
    has apt-get || die "this needs apt-get: the kernel comes from a Debian package"
    has qemu-system-x86_64 || apt_install qemu-system-x86
    [ -n "$(apt_candidate linux-image-cloud-amd64)" ] || apt_update
    image=$(apt_depends linux-image-cloud-amd64 'linux-image-[0-9].*')
    rm -rf "$kernel"
    mkdir -p "$kernel/debs"
    (cd "$kernel/debs" && apt_download "$image" busybox-static)
    for deb in "$kernel"/debs/*.deb; do dpkg -x "$deb" "$kernel/unpacked"; done
    mv "$kernel"/unpacked/boot/vmlinuz-* "$kernel/vmlinuz"
    mv "$kernel/unpacked/bin/busybox" "$kernel/busybox"
    rm -rf "$kernel/unpacked" "$kernel/debs"
    touch "$kernel/.ready"
}

put() { mkdir -p "$tree$(dirname "$1")" && cp -L "$1" "$tree$1"; }

# write_init PROGRAM [ARGUMENT...]: the first process of the machine.
write_init() {
    local setting
    {
        cat <<'SH'
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin HOME=/tmp RUST_BACKTRACE=1
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
ip link set lo up
stty -onlcr
SH
        for setting in ${RINGBOLT_VM_SYSCTL:-}; do printf 'sysctl -q -w %q\n' "$setting"; done
        # Tests look for files beside the working directory that they were built in.
        printf 'mkdir -p %q; cd %q\n' "$PWD" "$PWD"
        printf '%q ' "$@"
        printf '\necho "@@exit $?"\npoweroff -f\n'
    } >"$tree/init"
    chmod +x "$tree/init"
}

boot() {
    timeout -k 5 "${RINGBOLT_TEST_LIMIT_S:-300}" qemu-system-x86_64 \
        -cpu max -smp "${RINGBOLT_VM_CPUS:-2}" -m "${RINGBOLT_VM_MEM_MIB:-1024}" \
        -display none -monitor none -nic none -no-reboot -serial "file:$scratch/console" \
        -kernel "$kernel/vmlinuz" -initrd "$scratch/initrd" \
        -append "console=ttyS0 quiet panic=-1" </dev/null >/dev/null 2>"$scratch/qemu.err"
}

if [ ! -e "$kernel/.ready" ]; then
    mkdir -p "$cross_dir"
    fetch_kernel >"$cross_dir/old-kernel.log" 2>&1 </dev/null ||
        die "no kernel: see ${cross_dir/#$HOME/\~}/old-kernel.log"
fi

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
tree=$scratch/tree
mkdir -p "$tree"/{bin,dev,proc,sys,tmp}
cp "$kernel/busybox" "$tree/bin/busybox"
program=$(readlink -f "$1")
shift
put "$program"
mapfile -t libraries < <(ldd "$program" 2>/dev/null | grep -oE '/[^ ]+')
for file in "${libraries[@]}" ${RINGBOLT_VM_FILES:-}; do put "$file"; done
write_init "$program" "$@"
(cd "$tree" && find . | "$kernel/busybox" cpio -o -H newc 2>/dev/null | gzip -1) >"$scratch/initrd"
boot || cat "$scratch/qemu.err" >&2

touch "$scratch/console"
tr -d '\r' <"$scratch/console" | sed '/^@@exit/d; /reboot: Power down/d'
code=$(tr -d '\r' <"$scratch/console" | sed -n 's/^@@exit //p' | tail -n1)
exit "${code:-125}"
