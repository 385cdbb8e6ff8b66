#!/usr/bin/env python3
"""Finds words and idioms that our plain-words rule forbids: the actor first, a plain verb, one clause a sentence.

    check_words.py [--root DIRECTORY] [FILE...]

Without files it reads README.md, docs/ and the code. It prints each place, and fails if there is one.

Prose of a page is its text without code. Of a code block, a source or a header it is the comments and the string
literals. EXCEPTIONS names the sentences that stay.
"""
import argparse
import pathlib
import re
import sys

FILES = ("README.md", "docs/*.md",
         *(f"{folder}/**/*.{kind}" for folder in ("include", "lib", "transports", "programs", "examples") for kind in ("hpp", "cpp", "in", "1")))
# Written by a test, from texts of the library.
MADE = {"docs/error_table.md"}

FORBIDDEN = {
    r"told": "reported, returned, given",
    r"stands?|stood": "is",
    r"(?:has|have|had) come": "arrived, happened",
    r"(?:gives?|gave|given|giving) (?:\w+ )?back": "releases, returns",
    r"any more": "no longer",
    r"of (?:its|their|his|her) own": "own, separate",
    r"besides": "also, apart from",
    r"whoever|whom|whosoever": "name the actor",
    r"of which|of whom": "a sentence each",
}
# "What remains is freed." A question is fine.
SUBJECT = re.compile(r"(?:^|[.;:!]\s+)(?:What|Who)\s[^.?!]*(?:[.!]|$)")

# Parts of sentences that may stay, each with its reason.
EXCEPTIONS = {
    "stand-alone": "a term of the field",
    "stand alone": "a term of the field",
}


def flat(text):
    return re.sub(r"\s+", " ", text).strip()


def prose_of_page(text):
    """Pieces of prose with their lines; code between fences gives its comments and literals."""
    lines = text.split("\n")
    code, piece, begin = None, [], 0
    for number, line in enumerate(lines + [""], 1):
        fence = re.match(r"\s*```(\w*)", line)
        if fence and code is None or not line.strip() or line.lstrip().startswith(("|", "#", "- ", "* ")):
            if piece:
                yield begin, flat(without_marks(" ".join(piece))) # code may go over the end of a line
            piece = []
        if fence:
            if code is not None:
                if code[1] in ("cpp", "c"):
                    yield from ((code[0] + at, part) for at, part in prose_of_code("\n".join(code[2])))
                code = None
            else:
                code = (number, fence[1], [])
        elif code is not None:
            code[2].append(line)
        elif line.startswith("#"): # no sentence, so no subject
            yield number, flat(without_marks(line).lstrip("# ").lower())
        elif line.lstrip().startswith("|"):
            for cell in without_marks(line).split("|"):
                yield number, flat(cell)
        elif line.strip() and not line.startswith("    "):
            if not piece:
                begin = number
            piece.append(line.lstrip("-* "))


def without_marks(line):
    line = re.sub(r"`[^`]*`", "X", line)
    return re.sub(r"\]\([^)]*\)", "]", line)


COMMENT_OR_LITERAL = re.compile(
    r'//(?P<line>[^\n]*)|/\*(?P<block>.*?)\*/|R"(?P<mark>[^()\\ ]*)\((?P<raw>.*?)\)(?P=mark)"|"(?P<text>(?:\\.|[^"\\\n])*)"'
    r"|(?<![0-9a-fA-F])'(?:\\.|[^'\\\n])+'", re.S) # not the one in 1'000


def prose_of_code(text):
    """Comments, with those of the lines that follow each other as one piece, and string literals."""
    begin = end = 0
    piece = []
    for found in COMMENT_OR_LITERAL.finditer(text):
        number = text.count("\n", 0, found.start()) + 1
        if found["line"] is not None:
            if piece and number != end + 1:
                yield begin, flat(" ".join(piece))
                piece = []
            if not piece:
                begin = number
            piece.append(found["line"].lstrip("/<! "))
            end = number
        else:
            for kind in ("block", "raw", "text"):
                if found[kind]:
                    yield number, flat(found[kind].replace("\\n", " "))
    if piece:
        yield begin, flat(" ".join(piece))


def faults(text):
    for exception in EXCEPTIONS:
        text = text.replace(exception, "")
    for words, plainly in FORBIDDEN.items():
        for found in re.finditer(rf"\b(?:{words})\b", text, re.I):
            yield found[0], plainly, around(text, found)
    for found in SUBJECT.finditer(text):
        yield found[0].lstrip(".;:! ").split()[0] + " ...", "as a subject: name the actor", around(text, found)


def around(text, found):
    return text[max(found.start() - 40, 0):found.start() + 60]


def places(path):
    text = path.read_text(encoding="utf-8")
    prose = prose_of_code if path.suffix in (".hpp", ".cpp", ".in", ".h") else prose_of_page
    for line, piece in sorted(prose(text)):
        for words, plainly, where in faults(piece):
            yield line, words, plainly, where


def files_of(root, patterns):
    found = {path for pattern in patterns for path in root.glob(pattern)}
    return sorted(path for path in found if path.relative_to(root).as_posix() not in MADE)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--root", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent.parent)
    arguments.add_argument("files", nargs="*", type=pathlib.Path)
    options = arguments.parse_args()
    files = options.files or files_of(options.root, FILES)
    if not files:
        sys.exit(f"no files in {options.root}")
    count = 0
    for path in files:
        for line, words, plainly, where in places(path):
            count += 1
            print(f"{path}:{line}: \"{words}\" ({plainly}): {where}")
    print(f"{len(files)} files, {count} places")
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
