"""Compares what a shared library exports with its list: check_exports.py LIBRARY LIST [--write].

A list names functions and classes, without parameters and template arguments. Weak symbols are not in it: those are
inline functions and templates, whose number depends on the compiler; but none of them may be of a library that is used
inside, for another version of it in the same process would be mixed with ours.
"""
import re
import subprocess
import sys

INSIDE = ("simdjson::", "fmt::", "boost::beast::", "SSL_", "inflate", "deflate", "sidecar::http::", "sidecar::websocket::")


def without_arguments(name):
    """`a::f<b>(c)` becomes `a::f`."""
    result, depth = "", 0
    for character in name.replace("(anonymous namespace)", "anonymous"):
        if character == "<":
            depth += 1
        elif character == ">":
            depth -= 1
        elif character == "(":
            break
        elif depth == 0:
            result += character
    return re.sub(r"\[abi:\w+\]", "", result).strip()


def symbols(library):
    output = subprocess.run(["nm", "-D", "-C", "--defined-only", library], check=True, capture_output=True, text=True)
    for line in output.stdout.splitlines():
        kind, name = re.match(r"[0-9a-f]* +(\w) (.*)", line).groups()
        yield kind, name


def main():
    library, list_path = sys.argv[1:3]
    found, wrong = set(), set()
    for kind, name in symbols(library):
        if kind in "TDBRG":
            found.add(without_arguments(name))
        # The last word: of a template's instance, the result stands in front.
        if without_arguments(name).split(" ")[-1].startswith(INSIDE):
            wrong.add(name)
    if "--write" in sys.argv:
        with open(list_path, "w") as file:
            file.write("".join(f"{name}\n" for name in sorted(found)))
        return 0
    with open(list_path) as file:
        expected = {line.strip() for line in file if line.strip()}
    for name in sorted(found - expected):
        print(f"exported, and not in {list_path}: {name}")
    for name in sorted(expected - found):
        print(f"in {list_path}, and not exported: {name}")
    for name in sorted(wrong):
        print(f"of a library inside, and visible: {name}")
    return 1 if found != expected or wrong else 0


sys.exit(main())
