#!/usr/bin/env python3
"""Counts the instructions that a message costs, all threads of the client, and prints them for one or two versions.

   instructions.py [--repeat N] [--markdown] OURS [THEIRS]

OURS and THEIRS are build directories with the benchmarks, of different versions of the library. Valgrind counts; it runs
one thread at a time, so the figures do not depend on what else the machine does, but on how the threads take turns a
little: printed is the least of some runs. What is not per message is left out: it is the difference of a run and one with
twice as many messages, divided by how many these are. No system call's work in the kernel is in it.
"""
import argparse
import os
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
from compare import print_lines, program  # noqa: E402

CASES = [
    ("handoff/one by one", "sidecar inbox", 51_200),
    ("handoff/bursts of 64", "sidecar inbox", 51_200),
    *[(f"{protocol}_ingest/{size}", who, count)
      for protocol in ("tcp", "websocket") for who in ("sidecar", "sidecar receive")
      for size, count in (("64 B", 204_800), ("1 KiB", 102_400))],
    *[(f"{protocol}_send/64 B", "sidecar", 102_400) for protocol in ("tcp", "websocket")],
]


def collected(build, case, who, count):
    with tempfile.TemporaryDirectory() as directory:
        command = ["valgrind", "--tool=callgrind", "--fair-sched=yes", f"--callgrind-out-file={directory}/%p", program(build),
                   "--exactly", str(count), "--only", who, case]
        result = subprocess.run(command, capture_output=True, text=True)
    found = re.findall(r"Collected : (\d+)", result.stderr)  # the last is the client's: it ends after the generator
    if result.returncode != 0 or not found:
        sys.exit(f"{case}, {who}: {result.stderr[-500:]}")
    return int(found[-1])


def per_message(build, case, who, count):
    return (collected(build, case, who, 2 * count) - collected(build, case, who, count)) / count


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--case", help="only those whose name has this in it", default="")
    parser.add_argument("builds", nargs="+")
    arguments = parser.parse_args()
    lines = [["instructions a message", *(["before"] if len(arguments.builds) > 1 else []), "this", "ratio"]]
    for case, who, count in CASES:
        if arguments.case not in case:
            continue
        counts = [min(per_message(build, case, who, count) for _ in range(arguments.repeat)) for build in arguments.builds]
        ratio = f"{counts[1] / counts[0]:.2f}" if len(counts) > 1 else "-"
        lines.append([f"{case.replace('/', ', ')}, {who}", *(f"{n:.1f}" for n in reversed(counts)), ratio])
    print_lines(lines, arguments.markdown)


if __name__ == "__main__":
    main()
