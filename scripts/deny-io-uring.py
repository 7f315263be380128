#!/usr/bin/env python3
"""Runs a command with io_uring taken away, as container sandboxes do. Needs no privileges.

usage: scripts/deny-io-uring.py [--errno NAME] [--register OP[,OP...]] -- command [argument...]

  --errno NAME     what the kernel shall answer (default EPERM); ENOSYS is a kernel without io_uring,
                   ENOMEM one that ran into its memory limit
  --register OPS   deny only these operations of io_uring_register(2), by number, to imitate an
                   older kernel (default answer then EINVAL); 20 registers ring descriptors,
                   22 provided-buffer rings

A seccomp(2) filter does it; every child inherits the filter. Linux on x86_64 or aarch64.
"""

import argparse
import ctypes
import errno
import os
import platform
import struct
import sys

IO_URING_SETUP, IO_URING_ENTER, IO_URING_REGISTER = 425, 426, 427  # the same on both machines
AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

# Classic BPF: load a word of seccomp_data, jump if equal, return.
LOAD, JUMP_EQUAL, RETURN = 0x20, 0x15, 0x06
OFFSET_NR, OFFSET_ARCH, OFFSET_ARG1 = 0, 4, 24

SECCOMP_ALLOW, SECCOMP_ERRNO = 0x7FFF0000, 0x00050000
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2


def build_filter(arch, code, register_ops):
    """The filter as a list of (operation, jump if true, jump if false, operand)."""
    allow = (RETURN, 0, 0, SECCOMP_ALLOW)
    deny = (RETURN, 0, 0, SECCOMP_ERRNO | code)
    program = [(LOAD, 0, 0, OFFSET_ARCH), (JUMP_EQUAL, 1, 0, arch), allow, (LOAD, 0, 0, OFFSET_NR)]
    if register_ops:
        program += [(JUMP_EQUAL, 1, 0, IO_URING_REGISTER), allow, (LOAD, 0, 0, OFFSET_ARG1)]
        denied = register_ops
    else:
        denied = [IO_URING_SETUP, IO_URING_ENTER, IO_URING_REGISTER]
    for number in denied:
        program += [(JUMP_EQUAL, 0, 1, number), deny]
    return program + [allow]


class SockFprog(ctypes.Structure):
    """struct sock_fprog of linux/filter.h"""

    _fields_ = [("len", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def install(program):
    raw = b"".join(struct.pack("<HBBI", *instruction) for instruction in program)
    memory = ctypes.create_string_buffer(raw, len(raw))
    fprog = SockFprog(len(program), ctypes.cast(memory, ctypes.c_void_p))
    libc = ctypes.CDLL(None, use_errno=True)
    if (
        libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
        or libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(fprog), 0, 0) != 0
    ):
        sys.exit("error: the kernel refused the filter: " + os.strerror(ctypes.get_errno()))


def parse():
    parser = argparse.ArgumentParser(
        usage=__doc__.split("usage: ")[1].split("\n")[0], description=__doc__.split("\n")[0]
    )
    parser.add_argument("--errno", help="what the kernel shall answer (default EPERM)")
    parser.add_argument(
        "--register",
        metavar="OPS",
        type=lambda text: [int(op, 0) for op in text.split(",")],
        help="deny only these operations of io_uring_register(2), by number (answer EINVAL)",
    )
    parser.add_argument("command", nargs=argparse.REMAINDER, help="after --")
    options = parser.parse_args()
    if options.command[:1] == ["--"]:
        options.command.pop(0)
    if not options.command:
        parser.error("a command is needed after --")
    options.errno = options.errno or ("EINVAL" if options.register else "EPERM")
    if not hasattr(errno, options.errno):
        parser.error("no such error: " + options.errno)
    if platform.machine() not in AUDIT_ARCH:
        parser.error("not written for this machine: " + platform.machine())
    return options


def main():
    options = parse()
    code = getattr(errno, options.errno)
    install(build_filter(AUDIT_ARCH[platform.machine()], code, options.register))
    try:
        os.execvp(options.command[0], options.command)
    except OSError as error:
        sys.exit(f"error: {options.command[0]}: {error.strerror}")


main()
