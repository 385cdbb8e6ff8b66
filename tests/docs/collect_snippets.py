"""Makes one translation unit of every C++ block in the documentation, so that the compiler reads it.

    collect_snippets.py OUTPUT PAGE...
    collect_snippets.py --run OUTPUT PAGE...  # a program that runs the blocks marked ```cpp run
    collect_snippets.py --list ROOT           # the pages there are

A block that has main(), or is marked ```cpp declarations, stands at namespace scope; any other is a
function's body, with the names of prelude.hpp around it. An error shows the page's own line.
"""
import glob
import re
import sys


def blocks(page):
    lines = open(page, encoding="utf-8").read().split("\n")
    at = 0
    while at < len(lines):
        fence = re.match(r"\s*```cpp\b(.*)$", lines[at])
        if not fence:
            at += 1
            continue
        end = next(i for i in range(at + 1, len(lines)) if lines[i].strip() == "```")
        yield at + 2, fence[1].split(), lines[at + 1:end]
        at = end + 1


def main():
    if sys.argv[1] == "--list":
        print("\n".join([sys.argv[2] + "/README.md"] + sorted(glob.glob(sys.argv[2] + "/docs/*.md"))))
        return
    runs = sys.argv[1] == "--run"
    output, *pages = sys.argv[2 if runs else 1:]
    includes, bodies = [], []
    for page in pages:
        for line, marks, code in blocks(page):
            if runs and "run" not in marks:
                continue
            includes += [text for text in code if text.startswith("#include")]
            # A blank line in its place keeps the numbers of those behind it
            text = "\n".join("" if part.startswith("#include") else part for part in code)
            is_declarations = "declarations" in marks or re.search(r"\bint main\(", text)
            name = f"snippet_{len(bodies)}"
            head, tail = ("namespace {} {{", "}") if is_declarations else ("void {}() {{", "}")
            bodies.append(f'{head.format(name)}\n#line {line} "{page}"\n{text}\n{tail}\n')
    with open(output, "w", encoding="utf-8") as out:
        out.write('#include "prelude.hpp"\n' + "".join(f"{line}\n" for line in dict.fromkeys(includes)))
        out.write("\n".join(bodies))
        if runs:
            calls = "".join(f"    snippet_{i}();\n" for i in range(len(bodies)))
            out.write(f"int main()\n{{\n{calls}}}\n")


main()
