#!/usr/bin/env python3
"""Checks how the library's files may depend on each other, and how large they and their classes may be.

    tools/check_structure.py [--root DIRECTORY] [--expected FILE]

Prints a line for each violation, and fails if there is one. A violation that FILE names, a line each, is printed but
lets the check pass. The rules:

  up         lib/ has rooms, one above the other; a file includes from its own room and from those below
  across     a room of transports/ includes from itself and from those that TRANSPORTS names for it
  top        lib/ itself holds rooms only, no file
  circle     no file includes itself over others
  border     transports never include lib/; include/ and lib/ never include a transport
  lines      a file has at most so many
  members    a class of lib/ has at most so many data members, those of its nested classes included
  functions  a class of lib/ declares at most so many, likewise
"""
import argparse
import pathlib
import re
import sys

LIMITS = {"lines": 500, "members": 54, "functions": 68}
ROOMS = ["base", "queue", "loop", "link", "stop", "report", "feed"]
TRANSPORTS = {
    "http": [],
    "stream": ["http", "tls"],
    "tls": ["http", "stream"],
    "tcp": ["http", "stream", "tls"],
    "websocket": ["http", "stream", "tls"],
    "nats": ["http", "stream", "tls"],
    "mock": [],
    "recording": [],
    "conformance": ["mock", "tcp", "websocket"],  # its headers are for the peers of these
}


# ---- classes and their members

def without_comments_and_literals(text):
    def replacement(match):
        found = match.group(0)
        if found.startswith("/"):
            return " "
        return '""' if found.startswith('"') else "0"
    return re.sub(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|(?<![0-9a-fA-F])\'(?:\\.|[^\'\\\n])\'', replacement, text, flags=re.S)


def end_of_block(text, begin):
    """The place behind the brace that closes the one at `begin`."""
    depth = 0
    for at in range(begin, len(text)):
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if depth == 0:
            return at + 1
    return len(text)


def without_brackets(text):
    """Without attributes, alignments, template arguments, subscripts and initializers in braces."""
    text = re.sub(r"\[\[.*?\]\]|\balignas\s*\([^()]*\)|->|<<|<=", " ", text)
    for pattern in (r"\{[^{}]*\}", r"<[^<>]*>", r"\[[^\[\]]*\]"):
        while True:
            shorter = re.sub(pattern, " ", text)
            if shorter == text:
                break
            text = shorter
    return text


def statements(body):
    """What is declared in a class body, each as its text; what belongs to a nested class or a function is left out."""
    begin = at = 0
    while at < len(body):
        if body[at] == ";":
            yield body[begin:at]
            begin = at = at + 1
        elif body[at] == "{":
            head = without_brackets(body[begin:at])
            end = end_of_block(body, at)
            is_initialized = re.search(r"(?<![=!<>])=(?!=)", head.split("(")[0]) and "operator" not in head
            if "(" in head and not is_initialized:  # a function, with what its constructor's list holds
                rest = body[end:].lstrip()
                at = end
                if rest[:1] not in (",", "{", ";"):
                    yield head
                    begin = end
            else:  # a member's initializer, or a nested class: either ends in a semicolon
                at = end
        else:
            at += 1


def declared_in(body):
    """The names of the data members that a class body declares, and how many functions."""
    names, functions = [], 0
    for statement in statements(body):
        text = re.sub(r"^\s*((public|protected|private)\s*:\s*)+", "", statement)
        if re.match(r"\s*(static|template|constexpr|friend)\b", text) and "(" in without_brackets(text).split("=")[0]:
            functions += not re.match(r"\s*friend\b", text)
            continue
        if re.match(r"\s*(using|typedef|friend|static|template|enum|static_assert|extern|constexpr|inline static)\b", text):
            continue
        nested = re.match(r"\s*(class|struct|union)\b[^{;]*\{", text)
        text = text[end_of_block(text, text.index("{")):] if nested else text
        if re.match(r"\s*(class|struct|union)\b", text):
            continue  # named, not defined
        text = re.sub(r"\(\s*\*\s*(\w+)\s*\)\s*\([^()]*\)", r"\1", without_brackets(text))  # a pointer to a function
        declarators = [part.split("=")[0] for part in re.split(r",(?![^()]*\))", text)]
        if "(" in declarators[0] or re.search(r"\boperator\b", text):
            functions += 1
            continue
        for part in declarators:
            name = re.search(r"(\w+)\s*(:\s*\w+\s*)?$", part)  # a bit-field has its width behind it
            if name:
                names.append(name.group(1))
    return names, functions


def members_of(body):
    return declared_in(body)[0]


def classes_of(text):
    """Name, data members and number of functions of every class that the text defines; what a nested one has is its
    outer class's too."""
    text = without_comments_and_literals(text)
    head = r"(?<!enum )\b(?:class|struct|union)\b(?:\s+alignas\s*\([^()]*\))?\s+(\w[\w:]*)(?:<[^;{}]*>)?(?:\s+final)?\s*(?::(?!:)[^;{}()]*)?\{"
    found = []  # where it begins and ends, its name, members and functions
    for match in re.finditer(head, text):
        begin = match.end() - 1
        end = end_of_block(text, begin)
        members, functions = declared_in(text[begin + 1:end - 1])
        found.append((begin, end, match.group(1), members, functions))
    for begin, end, name, _, _ in found:
        inside = [one for one in found if begin <= one[0] and one[1] <= end]
        yield name, [member for one in inside for member in one[3]], sum(one[4] for one in inside)


# ---- files and what they include

class Tree:
    def __init__(self, root):
        self.root = pathlib.Path(root)
        self.files = {}
        for folder in ("lib", "include", "transports"):
            for path in sorted((self.root / folder).rglob("*")):
                if path.suffix in (".cpp", ".hpp"):
                    self.files[path.relative_to(self.root).as_posix()] = path.read_text()
        self.places = ["lib", "include", "transports"]
        self.places += sorted({p.relative_to(self.root).as_posix() for p in self.root.glob("transports/*/include")})
        self.places += sorted({p.relative_to(self.root).as_posix() for p in self.root.glob("transports/*") if p.is_dir()})
        self.includes = {name: sorted(self.included_by(name)) for name in self.files}

    def included_by(self, name):
        """The files of ours that a file includes."""
        for quote, path in re.findall(r'^[ \t]*#[ \t]*include[ \t]*(["<])([^">]+)[">]', self.files[name], flags=re.M):
            beside = [pathlib.PurePosixPath(name).parent.as_posix()] if quote == '"' else []
            for place in beside + self.places:
                candidate = pathlib.PurePosixPath(place, path)
                candidate = (self.root / candidate).resolve()
                if candidate.is_relative_to(self.root.resolve()):
                    found = candidate.relative_to(self.root.resolve()).as_posix()
                    if found in self.files:
                        yield found
                        break


def room_of(name):
    """How high a file of lib/ stands; None for a folder that is no room."""
    parts = name.split("/")
    return ROOMS.index(parts[1]) if parts[1] in ROOMS else None


def in_circles(includes):
    """The files from which a way of includes leads back to them."""
    def reaches(begin):
        seen, waiting = set(), list(includes[begin])
        while waiting:
            name = waiting.pop()
            if name not in seen:
                seen.add(name)
                waiting += includes[name]
        return begin in seen
    return [name for name in includes if reaches(name)]


def violations(tree):
    """Pairs of what is wrong, in words that stay the same while it is, and how much of it there is."""
    for name, included in tree.includes.items():
        for other in included:
            if name.startswith("lib/") and other.startswith("lib/"):
                if room_of(name) is None or room_of(other) is None or room_of(other) > room_of(name):
                    yield f"up {name} {other}", "a file includes from its own room and those below"
            rooms = [path.split("/")[1] for path in (name, other) if path.startswith("transports/")]
            if len(rooms) == 2 and rooms[1] not in [rooms[0], *TRANSPORTS.get(rooms[0], [])]:
                yield f"across {name} {other}", "TRANSPORTS does not name its room"
            if name.startswith("transports/") and other.startswith("lib/"):
                yield f"border {name} {other}", "a transport sees public headers only"
            if not name.startswith("transports/") and other.startswith("transports/"):
                yield f"border {name} {other}", "the library knows no transport"
        if name.startswith("lib/") and name.count("/") > 1 and room_of(name) is None:
            yield f"up {name}", "this folder is no room"
    for name in in_circles(tree.includes):
        yield f"circle {name}", "it includes itself over others"
    for name, text in tree.files.items():
        sizes = [("lines", "", text.count("\n"))]
        if name.startswith("lib/"):
            if name.count("/") == 1:
                yield f"top {name}", "lib/ itself holds rooms only"
            for class_name, members, functions in classes_of(text):
                sizes += [("members", f" {class_name}", len(members)), ("functions", f" {class_name}", functions)]
        for rule, of, count in sizes:
            if count > LIMITS[rule]:
                yield f"{rule} {name}{of}", f"{count}, at most {LIMITS[rule]}"


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--root", default=pathlib.Path(__file__).resolve().parent.parent)
    arguments.add_argument("--expected", type=pathlib.Path)
    options = arguments.parse_args()
    tree = Tree(options.root)
    if not tree.files:
        sys.exit(f"no files in {options.root}")
    expected = set()
    if options.expected:
        lines = (line.split("#")[0].strip() for line in options.expected.read_text().splitlines())
        expected = {line for line in lines if line}
    found = dict(violations(tree))
    for what, why in sorted(found.items()):
        print(f"{'expected: ' if what in expected else ''}{what}: {why}")
    for what in sorted(expected - set(found)):
        print(f"mended, so its line in {options.expected.name} can go: {what}")
    unexpected = set(found) - expected
    print(f"{len(tree.files)} files, {len(unexpected)} not as they should be, {len(expected & set(found))} more expected")
    sys.exit(1 if unexpected else 0)


if __name__ == "__main__":
    main()
