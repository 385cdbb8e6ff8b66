#!/usr/bin/env python3
"""Runs the benchmarks of two versions of the library alternately, and prints how they compare.

   compare.py [--quick] [--rounds N] [--save FILE] [--markdown] OURS THEIRS [CASE[/VARIANT]...]
   compare.py [--markdown] --print FILE

OURS and THEIRS are build directories; THEIRS has the same benchmarks on another version of the library. In a round each
case runs once for each of: this version, the other one ("before"), the floor and Beast; the next round does so in the
reverse order. A ratio is taken within a round, so that what the machine does from minute to minute concerns both of its
sides; above 1 is better for what stands left of "/". Printed are medians over the rounds, and the least and the largest.
"""
import argparse
import os
import statistics
import subprocess
import sys
from collections import defaultdict

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
import compile_time  # noqa: E402
from report import MAIN, METRICS  # noqa: E402

BEFORE = " before"
OTHERS = ("floor", "blocking beast", "blocking asio")
LEFT_OUT = ("latency", "idle", "cycle", "links")  # unless they are asked for: they compare waiting, not work
WEBSOCKET_FILES = "*/transports/websocket/*.cpp"

# What is wanted of the ratio of the first to the second: case, variant and who; "-" is as in the first.
AIMS = [
    *[(case, variant, "sidecar", "-", "-", "sidecar" + BEFORE, 0.98)
      for case in ("websocket_ingest", "tcp_ingest") for variant in ("64 B", "1 KiB")],
    ("websocket_send", "64 B", "sidecar", "-", "-", "sidecar" + BEFORE, 0.98),
    ("tcp_send", "64 B", "sidecar", "-", "-", "sidecar" + BEFORE, 0.98),
    ("handoff", "one by one", "sidecar inbox", "-", "-", "sidecar inbox" + BEFORE, 0.98),
    ("handoff", "bursts of 64", "sidecar inbox", "-", "-", "sidecar inbox" + BEFORE, 0.98),
    *[("websocket_text", f"{content} {size}", "sidecar", "websocket_ingest", size, "sidecar", aim)
      for content in ("JSON", "half CJK") for size, aim in (("64 B", 0.9), ("1 KiB", 0.9), ("64 KiB", 0.8))],
    ("websocket_ingest", "64 KiB", "sidecar", "-", "-", "floor", 0.9),
    ("tcp_send", "64 KiB", "sidecar", "-", "-", "floor", 1.0),
    ("websocket_fragments", "4 MiB of 64 B", "sidecar", "-", "-", "blocking beast", 1.0),
    ("websocket_echo", "16 MiB", "sidecar", "-", "-", "blocking beast", 1.0),
    *[(case, "64 B", "sidecar receive", "-", "-", "sidecar", 0.6) for case in ("websocket_ingest", "tcp_ingest")],
    ("compile", "largest WebSocket file", "sidecar", "-", "-", "sidecar" + BEFORE, 2.0),
]


def entries(build):
    """What a program can measure: case, variant and competitor."""
    output = subprocess.run([program(build), "--list"], check=True, capture_output=True, text=True).stdout
    return [tuple(line.split("\t")) for line in output.splitlines()]


def program(build):
    """The one with all competitors, or the one that has the library and the floor only."""
    paths = [os.path.join(build, "benchmarks", name) for name in ("sidecar_benchmarks_alone", "sidecar_benchmarks")]
    return next(path for path in reversed(paths) if os.path.exists(path))


def is_wanted(case, variant, wanted):
    if wanted:
        return case in wanted or f"{case}/{variant}" in wanted
    return not case.endswith(LEFT_OUT)


def plan(ours, theirs, wanted):
    """Build directory, case, variant, competitor and the name it goes by, in the order of a round."""
    known_before = {entry for entry in entries(theirs) if entry[2].startswith("sidecar")}
    steps = []
    for case, variant, who in entries(ours):
        if not is_wanted(case, variant, wanted) or not (who.startswith("sidecar") or who in OTHERS):
            continue
        steps.append((ours, case, variant, who, who))
        if (case, variant, who) in known_before:
            steps.append((theirs, case, variant, who, who + BEFORE))
    # All of a variant one after the other, whoever they are
    places = {key: number for number, key in enumerate(dict.fromkeys((case, variant) for _, case, variant, _, _ in steps))}
    return sorted(steps, key=lambda step: places[step[1:3]])


def measure(step, quick):
    build, case, variant, who, name = step
    command = [program(build), "--rounds", "1", "--only", who, f"{case}/{variant}"] + (["--quick"] if quick else [])
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        print(f"{name}: {result.stderr.strip()}", file=sys.stderr)
    for line in result.stdout.splitlines():
        _, _, _, metric, value = line.split("\t")
        yield case, variant, name, metric, float(value)


def measure_compiling(build, name):
    seconds = [taken for _, taken in compile_time.seconds_of(build, [WEBSOCKET_FILES])]
    yield "compile", "largest WebSocket file", name, "seconds", max(seconds)
    yield "compile", "all WebSocket files", name, "seconds", sum(seconds)


def run(arguments):
    """All samples: round, case, variant, competitor, metric, value."""
    steps = plan(arguments.ours, arguments.theirs, arguments.cases)
    compiles = is_wanted("compile", "", arguments.cases)
    if not steps and not compiles:
        sys.exit("no such case; the program's --list names them")
    for number in range(arguments.rounds):
        print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr)
        for step in steps if number % 2 == 0 else reversed(steps):
            for sample in measure(step, arguments.quick):
                yield (number, *sample)
        if compiles:
            for build, name in ((arguments.ours, "sidecar"), (arguments.theirs, "sidecar" + BEFORE)):
                for sample in measure_compiling(build, name):
                    yield (number, *sample)


def load(path):
    with open(path, encoding="utf-8") as file:
        for line in file:
            number, case, variant, name, metric, value = line.rstrip("\n").split("\t")
            yield int(number), case, variant, name, metric, float(value)


class Table:
    """The samples, by case, variant, competitor and metric, each with its round."""

    def __init__(self, samples):
        self.samples = defaultdict(dict)
        for number, *key, value in samples:
            self.samples[tuple(key)][number] = value

    def variants(self):
        return dict.fromkeys(key[:2] for key in self.samples)

    def who(self, case, variant):
        return dict.fromkeys(key[2] for key in self.samples if key[:2] == (case, variant))

    def metrics(self, case, variant):
        found = {key[3] for key in self.samples if key[:2] == (case, variant)}
        return [metric for metric in MAIN + ("cpu_ns", "peak_bytes") if metric in found]

    def median(self, *key):
        return statistics.median(self.samples[key].values())

    def ratios(self, metric, first, second):
        """How many times better the first was, in each round that has both."""
        one, other = self.samples.get((*first, metric), {}), self.samples.get((*second, metric), {})
        more_is_better = METRICS[metric][1]
        pairs = [(one[number], other[number]) for number in one if number in other]
        return [a / b if more_is_better else b / a for a, b in pairs if a and b]


def in_words(ratios):
    return [f"{statistics.median(ratios):.2f}", f"{min(ratios):.2f}", f"{max(ratios):.2f}"] if ratios else ["-", "-", "-"]


def print_lines(lines, markdown):
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    for number, line in enumerate(lines):
        cells = [cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, width) in enumerate(zip(line, widths))]
        print("| " + " | ".join(cells) + " |" if markdown else "  ".join(cells).rstrip())
        if markdown and number == 0:
            print("| " + " | ".join("---" if i == 0 else "---:" for i in range(len(line))) + " |")
    print()


def print_comparison(table, markdown):
    lines = [["this / before", "metric", "before", "this", "ratio", "least", "largest"]]
    for case, variant in table.variants():
        for who in table.who(case, variant):
            if (who + BEFORE) not in table.who(case, variant):
                continue
            for metric in table.metrics(case, variant):
                keys = [(case, variant, name) for name in (who, who + BEFORE)]
                now, before = (METRICS[metric][2].format(table.median(*key, metric)) for key in keys)
                lines.append([f"{case}, {variant}, {who}", METRICS[metric][0], before, now, *in_words(table.ratios(metric, *keys))])
    print_lines(lines, markdown)


def print_others(table, markdown):
    lines = [["this / other", "other", "metric", "other's", "this", "ratio", "least", "largest"]]
    for case, variant in table.variants():
        for other in (name for name in table.who(case, variant) if name in OTHERS):
            for metric in table.metrics(case, variant):
                keys = [(case, variant, "sidecar"), (case, variant, other)]
                if any((*key, metric) not in table.samples for key in keys):
                    continue
                ours, theirs = (METRICS[metric][2].format(table.median(*key, metric)) for key in keys)
                lines.append([f"{case}, {variant}", other, METRICS[metric][0], theirs, ours, *in_words(table.ratios(metric, *keys))])
    if len(lines) > 1:
        print_lines(lines, markdown)


def print_aims(table, markdown):
    lines = [["aim", "ratio", "least", "largest", "wanted", ""]]
    for case, variant, who, other_case, other_variant, other, wanted in AIMS:
        first = (case, variant, who)
        second = (case if other_case == "-" else other_case, variant if other_variant == "-" else other_variant, other)
        metrics = [metric for metric in MAIN if (*first, metric) in table.samples]
        ratios = table.ratios(metrics[0], first, second) if metrics else []
        if ratios:
            against = other if other_case == "-" else f"{other_case}, {other_variant}"
            verdict = "met" if statistics.median(ratios) >= wanted else "missed"
            lines.append([f"{case}, {variant}: {who} / {against}", *in_words(ratios), f"{wanted:.2f}", verdict])
    if len(lines) > 1:
        print_lines(lines, markdown)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a third of a second instead of one")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("--save", help="where the samples go")
    parser.add_argument("--print", help="print saved samples instead of measuring")
    parser.add_argument("ours", nargs="?")
    parser.add_argument("theirs", nargs="?")
    parser.add_argument("cases", nargs="*")
    arguments = parser.parse_args()
    if arguments.print:
        table = Table(load(arguments.print))
    else:
        if not arguments.theirs:
            parser.error("two build directories are compared")
        samples = []
        with open(arguments.save or os.devnull, "w", encoding="utf-8") as file:
            for sample in run(arguments):
                samples.append(sample)
                print(*sample, sep="\t", file=file, flush=True)
        table = Table(samples)
    print_comparison(table, arguments.markdown)
    print_others(table, arguments.markdown)
    print_aims(table, arguments.markdown)


if __name__ == "__main__":
    main()
