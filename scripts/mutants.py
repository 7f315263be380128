#!/usr/bin/env python3
"""Takes protections out of the library, one at a time, and shows that some test dies of it.

usage: scripts/mutants.py [--sample N] [--seed TEXT] [--only WORD] [--list] [--check] [--dir DIR]

Each mutant of tests/mutants.toml is one replacement in one file, the failure that it brings back,
and the tests that have to notice. The tree is copied, mutated, built and tested in DIR (default:
target/mutants); the checkout itself is never touched. A mutant is killed when its tests fail, or
hang beyond their limit. It survives when they pass: then the tests prove less than they claim.

  --sample N    a choice of N mutants, which --seed determines (default: the last commit)
  --only WORD   those whose name contains WORD
  --check       looks only whether each mutant still fits the sources
  --list        prints the names
"""

import argparse
import os
import pathlib
import random
import signal
import subprocess
import sys
import time
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Building is not counted; a run that takes longer than this is taken for a hang.
LIMIT_S = 100


def run(command, **options):
    return subprocess.run(command, cwd=ROOT, check=True, text=True, capture_output=True, **options).stdout


def fits(mutant, text):
    found = text.count(mutant["old"])
    if found == 1:
        return None
    return f"{mutant['name']}: its text is {found} times in {mutant['file']}, once is needed"


def copy_tree(to):
    """Copies what git knows of, and leaves alone what has not changed, so that builds stay warm."""
    for name in run(["git", "ls-files", "-co", "--exclude-standard"]).splitlines():
        source, target = ROOT / name, to / name
        if not source.is_file():
            continue
        content = source.read_bytes()
        if target.is_file() and target.read_bytes() == content:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def cargo(tree, arguments, limit, extra=()):
    """Runs cargo test; returns its exit code, or None after `limit` seconds."""
    environment = dict(os.environ, RUST_BACKTRACE="0", RINGBOLT_TEST_DEADLINE_S="20")
    environment["CARGO_TARGET_DIR"] = str(tree / "target")
    # One changed line is built again and again.
    environment["CARGO_INCREMENTAL"] = "1"
    variables = [word for word in arguments if "=" in word and not word.startswith("-")]
    environment.update(word.split("=", 1) for word in variables)
    words = [word for word in arguments if word not in variables]
    if "--" in words:
        at = words.index("--")
        words[at:at] = extra
    else:
        words += extra
    process = subprocess.Popen(
        ["cargo", "test", *words], cwd=tree, env=environment, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        output, _ = process.communicate(timeout=limit)
        return process.returncode, output
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return None, ""


def failed_tests(output):
    names = [line.split()[1] for line in output.splitlines() if line.endswith("... FAILED")]
    return ", ".join(names[:3]) or "the test program died"


def verdict(mutant, tree):
    """(killed, how) of one mutant."""
    path = tree / mutant["file"]
    original = path.read_text()
    path.write_text(original.replace(mutant["old"], mutant["new"]))
    try:
        for tests in mutant["tests"]:
            arguments = tests.split()
            code, output = cargo(tree, arguments, 1200, ["--no-run"])
            if code != 0:
                errors = [line for line in output.splitlines() if line.startswith("error")]
                return None, f"it does not compile: {errors[:2]}"
            code, output = cargo(tree, arguments, LIMIT_S)
            if code is None:
                return True, f"hang: {tests}"
            if code != 0:
                return True, failed_tests(output)
        return False, "all its tests pass"
    finally:
        path.write_text(original)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int)
    parser.add_argument("--seed")
    parser.add_argument("--only")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--dir", type=pathlib.Path, default=ROOT / "target" / "mutants")
    options = parser.parse_args()

    mutants = tomllib.loads((ROOT / "tests" / "mutants.toml").read_text())["mutant"]
    problems = [fits(m, (ROOT / m["file"]).read_text()) for m in mutants]
    problems = [problem for problem in problems if problem]
    if problems:
        print("\n".join(problems), file=sys.stderr)
        return 1
    if options.check:
        print(f"{len(mutants)} mutants fit the sources")
        return 0
    if options.only:
        mutants = [m for m in mutants if options.only in m["name"]]
    if options.sample and options.sample < len(mutants):
        seed = options.seed or run(["git", "rev-parse", "HEAD"]).strip()
        mutants = random.Random(seed).sample(mutants, options.sample)
        print(f"sample of {len(mutants)}, seed {seed}")
    if options.list:
        for mutant in mutants:
            print(f"{mutant['row']:5} {mutant['name']}: {mutant['why']}")
        return 0

    copy_tree(options.dir)
    killed, survivors = 0, []
    for number, mutant in enumerate(mutants, 1):
        start = time.monotonic()
        dead, how = verdict(mutant, options.dir)
        word = {True: "killed", False: "SURVIVED", None: "UNUSABLE"}[dead]
        seconds = time.monotonic() - start
        print(f"[{number}/{len(mutants)}] {word:8} {mutant['row']:5} {mutant['name']}: "
              f"{how} ({seconds:.0f} s)", flush=True)
        if dead:
            killed += 1
        else:
            survivors.append(mutant["name"])
    print(f"figure: mutants killed = {killed} of {len(mutants)}")
    if survivors:
        print("not killed: " + ", ".join(survivors), file=sys.stderr)
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
