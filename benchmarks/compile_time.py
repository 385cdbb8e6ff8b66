#!/usr/bin/env python3
"""Compiles files as Meson would, without the cache, and prints the seconds of processor time that each takes.

   compile_time.py BUILD-DIRECTORY PATTERN...

A pattern is of a file's path, as "*/transports/websocket/*.cpp". Nothing is written into the build directory.
"""
import fnmatch
import json
import os
import resource
import shlex
import subprocess
import sys


def commands(directory, patterns):
    """File and command for each file that a pattern names."""
    with open(os.path.join(directory, "compile_commands.json"), encoding="utf-8") as file:
        entries = json.load(file)
    for entry in entries:
        path = os.path.normpath(os.path.join(entry["directory"], entry["file"]))
        if any(fnmatch.fnmatch(path, pattern) for pattern in patterns):
            words = iter(shlex.split(entry["command"].removeprefix("ccache ")))
            command = []
            for word in words:
                if word in ("-o", "-MF", "-MQ"):
                    next(words)
                elif word != "-MD":
                    command.append(word)
            yield path, command + ["-o", os.devnull], entry["directory"]


def seconds_of(directory, patterns):
    """A path and the seconds its file takes, for each file."""
    def used():
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime
    for path, command, where in commands(directory, patterns):
        before = used()
        subprocess.run(command, cwd=where, check=True)
        yield path, used() - before


if __name__ == "__main__":
    for found, seconds in seconds_of(sys.argv[1], sys.argv[2:]):
        print(f"{found}\t{seconds:.3f}")
