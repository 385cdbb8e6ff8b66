#!/usr/bin/python3
"""Writes a copy of a header with a class that lacks a step: mutate.py IN OUT CLASS NEW-CLASS TEXT."""
import sys

source, target, old_class, new_class, step = sys.argv[1:]
text = open(source).read()
if text.count(step) != 1:
    sys.exit(f"{source} does not contain this once: {step}")
with open(target, "w") as out:
    out.write(text.replace(step, "").replace(old_class, new_class))
