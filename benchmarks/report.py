#!/usr/bin/env python3
"""Prints the benchmarks' samples as tables with ratios, and draws them.

   report.py [--svg DIRECTORY] [--markdown] FILE...

Each figure is the median over the rounds. The ratio says how often better than the table's first competitor one is,
so more than 1 is good whether more or less of the metric is better.
"""
import argparse
import math
import os
import re
import statistics
import sys
from collections import defaultdict
from xml.sax.saxutils import escape

# metric: (heading, more is better, format)
METRICS = {
    "per_second": ("messages/s", True, "{:,.0f}"),
    "connects_per_second": ("connections/s", True, "{:,.0f}"),
    "cpu_us_each": ("CPU us each", False, "{:,.1f}"),
    "broadcast_us": ("us in broadcast()", False, "{:,.1f}"),
    "cpu_ns": ("CPU ns/message", False, "{:,.0f}"),
    "switches_per_1000": ("sleeps/1000 messages", False, "{:,.2f}"),
    "p50_us": ("p50 us", False, "{:,.1f}"),
    "p99_us": ("p99 us", False, "{:,.1f}"),
    "p999_us": ("p99.9 us", False, "{:,.1f}"),
    "cpu_us_per_second": ("CPU us/s", False, "{:,.1f}"),
    "switches_per_second": ("sleeps/s", False, "{:,.1f}"),
    "bytes_per_link": ("bytes/link", False, "{:,.0f}"),
    "open_us": ("us to open one", False, "{:,.1f}"),
    "peak_bytes": ("bytes at most", False, "{:,.0f}"),
    "seconds": ("seconds", False, "{:,.2f}"),
    "bytes": ("bytes", False, "{:,.0f}"),
}
# What is compared; the rest is told beside it.
MAIN = ("per_second", "p50_us", "switches_per_second", "bytes_per_link", "seconds", "bytes", "connects_per_second", "p99_us")


def read(files):
    tables = {}
    for name in files:
        for line in open(name, encoding="utf-8"):
            fields = line.rstrip("\n").split("\t")
            if len(fields) != 5:
                continue
            case, variant, competitor, metric, value = fields
            table = tables.setdefault((case, variant), {})
            table.setdefault(competitor, defaultdict(list))[metric].append(float(value))
    return tables


def rows(table):
    """Competitor, and for each metric its median."""
    return {name: {metric: statistics.median(values) for metric, values in metrics.items()} for name, metrics in table.items()}


def spread(values):
    middle = statistics.median(values)
    return 100 * (max(values) - min(values)) / middle if middle else 0


def ratio(metric, base, value):
    if base == value:
        return "1.00"
    over, under = (value, base) if METRICS[metric][1] else (base, value)
    return f"{over / under:.2f}" if under else "-"


def print_table(title, table, markdown):
    medians = rows(table)
    metrics = [m for m in METRICS if any(m in values for values in medians.values())]
    main = next(m for m in MAIN if m in metrics)
    base = next(iter(medians.values())).get(main)
    header = [title]
    for metric in metrics:
        header.append(METRICS[metric][0])
        if metric == main:
            header += ["ratio", "spread"]
    lines = [header]
    for name, values in medians.items():
        line = [name]
        for metric in metrics:
            line.append(METRICS[metric][2].format(values[metric]) if metric in values else "-")
            if metric == main:
                known = metric in values and base is not None
                line += [ratio(metric, base, values[metric]) if known else "-", f"{spread(table[name][metric]):.0f} %" if known else "-"]
        lines.append(line)
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    for number, line in enumerate(lines):
        cells = [cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, width) in enumerate(zip(line, widths))]
        print("| " + " | ".join(cells) + " |" if markdown else "  ".join(cells))
        if markdown and number == 0:
            print("| " + " | ".join("---" if i == 0 else "---:" for i in range(len(header))) + " |")
    print()


def draw(path, title, table):
    """Bars of the main metric; on a scale of powers of ten, or the slow ones could not be seen."""
    medians = rows(table)
    metric = next(m for m in MAIN if any(m in values for values in medians.values()))
    bars = [(name, values[metric]) for name, values in medians.items() if values.get(metric, 0) > 0]
    if len(bars) < 2:
        return
    low = min(value for _, value in bars) / 2
    span = math.log(max(value for _, value in bars) / low)
    left, width, step = 170, 420, 26
    height = 44 + step * len(bars)
    heading, more, form = METRICS[metric]
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 130}" height="{height}" '
           f'viewBox="0 0 {left + width + 130} {height}" font-family="sans-serif" font-size="13">',
           '<rect width="100%" height="100%" fill="white"/>',
           f'<text x="8" y="20" font-weight="bold">{escape(title)}: {heading} ({"more" if more else "less"} is better, logarithmic)</text>']
    for number, (name, value) in enumerate(bars):
        y = 36 + step * number
        long = width * math.log(value / low) / span
        colour = "#1f77b4" if name.startswith("sidecar") or name == "with_sidecar" else "#b0b0b0"
        out += [f'<text x="{left - 8}" y="{y + 14}" text-anchor="end">{escape(name)}</text>',
                f'<rect x="{left}" y="{y}" width="{long:.0f}" height="18" fill="{colour}"/>',
                f'<text x="{left + long + 6:.0f}" y="{y + 14}">{form.format(value)}</text>']
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(out) + "\n</svg>\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--svg")
    parser.add_argument("--markdown", action="store_true")
    parser.add_argument("files", nargs="+")
    arguments = parser.parse_args()
    tables = read(arguments.files)
    for (case, variant), table in tables.items():
        print_table(f"{case}, {variant}", table, arguments.markdown)
        if arguments.svg:
            os.makedirs(arguments.svg, exist_ok=True)
            name = re.sub("[^a-z0-9]+", "_", f"{case} {variant}".lower()).strip("_")
            draw(os.path.join(arguments.svg, name + ".svg"), f"{case}, {variant}", table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
