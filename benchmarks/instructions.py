#!/usr/bin/env python3
"""Counts the instructions that a message costs, all threads of the client, and prints them for one or two versions.

   instructions.py [--repeat N] [--markdown] OURS [THEIRS]
   instructions.py --check | --update OURS

OURS and THEIRS are build directories with the benchmarks, of different versions of the library. Valgrind counts; it runs
one thread at a time, so the figures do not depend on what else the machine does, but on how the threads take turns a
little: printed is the least of some runs. What is not per message is left out: it is the difference of a run and one with
twice as many messages, divided by how many these are. No system call's work in the kernel is in it.

--check counts for the budgets of budgets.tsv, and fails above one of them. A line there holds for one compiler and
optimization; without a line for those of OURS the check only prints. Reads and writes are exact; the others may be 3 % more.
--update replaces the lines of OURS by what it costs now.
"""
import argparse
import concurrent.futures
import json
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
# Of these the instructions are checked: the threads' turns change them by less than 3 %. They change those of receiving
# 64 B by half, since a receiver looks again and again before it sleeps.
INSTRUCTIONS = [
    ("handoff/one by one", "sidecar inbox", 51_200),
    ("websocket_ingest/1 KiB", "sidecar", 51_200),
    ("websocket_send/64 B", "sidecar", 51_200),
]
# And of this one the allocations, reads and writes: one message at a time, so that each read and write is the same.
EXACT = [("websocket_round_trip/64 B", "sidecar", 1_000)]

TOLERANCE = 1.03
BUDGETS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "budgets.tsv")
ALLOCATIONS = {"malloc", "calloc", "realloc", "aligned_alloc", "posix_memalign"}
SYSTEM_CALLS = {"reads": {"recv", "recvfrom", "recvmsg"}, "writes": {"send", "sendto", "sendmsg"}}


def calls_of(profile):
    """How often each function was called, by name, from the file that callgrind writes."""
    names, counts, callee = {}, {}, None
    for line in profile:
        if line.startswith(("fn=", "cfn=")):
            number, _, name = line.partition("=")[2].rstrip().partition(" ")
            if name:
                names[number] = re.sub(r"'\d+$", "", name)  # of a recursion
            if line.startswith("cfn="):
                callee = names[number]
        elif line.startswith("calls="):
            counts[callee] = counts.get(callee, 0) + int(line[6:].split()[0])
    return counts


def run(build, case, who, count):
    """The instructions of the client, and its calls by name."""
    with tempfile.TemporaryDirectory() as directory:
        command = ["valgrind", "--tool=callgrind", "--fair-sched=yes", f"--callgrind-out-file={directory}/%p", program(build),
                   "--exactly", str(count), "--only", who, case]
        result = subprocess.run(command, capture_output=True, text=True)
        # The last is the client's: it ends after the generator
        found = re.findall(r"==(\d+)== Collected : (\d+)", result.stderr)
        if result.returncode != 0 or not found:
            sys.exit(f"{case}, {who}: {result.stderr[-500:]}")
        with open(f"{directory}/{found[-1][0]}") as profile:
            return int(found[-1][1]), calls_of(profile)


def per_message(build, case, who, count):
    return (run(build, case, who, 2 * count)[0] - run(build, case, who, count)[0]) / count


def exactly_per_message(build, case, who, count):
    """Allocations, reads and writes of a message, by name; to a hundredth, since a queue may grow once."""
    once, twice = (run(build, case, who, times * count)[1] for times in (1, 2))
    kinds = {"allocations": ALLOCATIONS, **SYSTEM_CALLS}
    return {kind: round(sum(twice.get(name, 0) - once.get(name, 0) for name in names) / count, 2)
            for kind, names in kinds.items()}


def made_with(build):
    """Names the compiler and the optimization; what the budgets depend on."""
    with open(os.path.join(build, "meson-info", "intro-buildoptions.json")) as options:
        optimization = next(option["value"] for option in json.load(options) if option["name"] == "optimization")
    compiler = subprocess.run([program(build), "--compiler"], check=True, capture_output=True, text=True).stdout.strip()
    return f"{compiler} -O{optimization}"


def read_budgets():
    if not os.path.exists(BUDGETS):
        return []
    with open(BUDGETS) as lines:
        return [line.rstrip("\n").split("\t") for line in lines if line.strip() and not line.startswith("#")]


def write_budgets(rows):
    with open(BUDGETS, "w") as out:
        out.write("# What a message may cost; written by instructions.py --update.\n")
        out.write("# compiler and optimization, case, competitor, what is counted, the most that a message may have\n")
        out.writelines("\t".join(row) + "\n" for row in sorted(rows))


def measured(build):
    """Rows of case, competitor, what is counted, the count. Two at a time: the count does not depend on the machine."""
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        instructions = [(case, who, pool.submit(per_message, build, case, who, count)) for case, who, count in INSTRUCTIONS]
        exact = [(case, who, pool.submit(exactly_per_message, build, case, who, count)) for case, who, count in EXACT]
        rows = [(case, who, "instructions", future.result()) for case, who, future in instructions]
        return rows + [(case, who, what, count) for case, who, future in exact for what, count in future.result().items()]


def again(build, case, who, what):
    """One more count, for one that was above its budget: the threads may have taken turns badly."""
    count = next(count for known, competitor, count in INSTRUCTIONS + EXACT if (known, competitor) == (case, who))
    if what == "instructions":
        return per_message(build, case, who, count)
    return exactly_per_message(build, case, who, count)[what]


def check(build, update):
    name = made_with(build)
    rows = measured(build)
    if update:
        best = {(case, who, what): count for case, who, what, count in rows}
        for case, who, what, count in measured(build):
            best[case, who, what] = min(best[case, who, what], count)
        new = [[name, case, who, what, f"{count:.2f}" if what in SYSTEM_CALLS else f"{count * TOLERANCE:.2f}"]
               for (case, who, what), count in best.items()]
        return write_budgets([row for row in read_budgets() if row[0] != name] + new)
    budgets = {tuple(row[1:4]): float(row[4]) for row in read_budgets() if row[0] == name}
    if not budgets:
        print(f"no budgets for {name}: printed only")
    lines, failed = [["a message", "counted", "budget", "ratio"]], False
    for case, who, what, count in rows:
        most = budgets.get((case, who, what))
        for _ in range(2):
            if most is None or count <= most:
                break
            count = min(count, again(build, case, who, what))
        is_over = most is not None and count > most
        failed = failed or is_over
        lines.append([f"{case.replace('/', ', ')}, {who}: {what}", f"{count:.2f}", "-" if most is None else f"{most:.2f}",
                      "above" if is_over else f"{count / most:.2f}" if most else "-"])
    print_lines(lines, False)
    if failed:
        sys.exit("a message costs more than its budget; if that is worth it: instructions.py --update")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--case", help="only those whose name has this in it", default="")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--update", action="store_true")
    parser.add_argument("builds", nargs="+")
    arguments = parser.parse_args()
    if arguments.check or arguments.update:
        return check(arguments.builds[0], arguments.update)
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
