"""The files and functions that README and the design name are there. pages_test.py ROOT

In a page, `lib/x/y.cpp`: `Class::f`, `g` means that f and g are in that file. In a table `lib/x/a`, `b` means the files of that
name in that folder.
"""
import pathlib
import re
import sys
import unittest

ROOT = pathlib.Path(sys.argv.pop(1))
FOLDERS = ("include/", "lib/", "transports/", "programs/", "examples/", "tests/", "tools/", "packaging/", "benchmarks/")


def is_there(path):
    path = path.rstrip("/…").split(" ")[0]
    return (ROOT / path).exists() or any((ROOT / path).parent.glob(pathlib.PurePath(path).name + ".*"))


def in_code(text):
    """The pieces between backquotes, with the text in front of each."""
    return re.findall(r"([^`]*)`([^`]+)`", text)


class Pages(unittest.TestCase):
    def test_every_file_that_a_page_names_is_there(self):
        pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
        missing = [f"{page.name}: {name}" for page in pages for _, name in in_code(re.sub(r"```.*?```", "", page.read_text(), flags=re.S))
                   if name.startswith(FOLDERS) and "*" not in name and not is_there(name)]
        self.assertEqual(missing, [])

    def test_every_function_behind_where_is_is_in_its_file(self):
        table = (ROOT / "README.md").read_text().split("## Where is ...?")[1].split("\n## ")[0]
        missing, count = [], 0
        for row in table.splitlines():
            file = None
            for before, name in in_code(row):
                if name.startswith(FOLDERS):
                    file = ROOT / name
                elif file and file.is_file() and re.fullmatch(r"[:,] |, `?", before) and re.fullmatch(r"[\w:]+", name):
                    count += 1
                    if not re.search(rf"\b{name.split('::')[-1]}\b", file.read_text()):
                        missing.append(f"{file.relative_to(ROOT)}: {name}")
        self.assertEqual(missing, [])
        self.assertGreater(count, 20)

    def test_every_file_of_the_map_is_there(self):
        table = (ROOT / "docs/design.md").read_text().split("## File map")[1].split("\n## ")[0]
        missing, count = [], 0
        for row in table.splitlines():
            folder = None
            for _, name in in_code(row.split("|")[1] if "|" in row else ""):
                folder = name.rpartition("/")[0] if "/" in name else folder
                count += 1
                if not is_there(name if "/" in name else f"{folder}/{name}"):
                    missing.append(name)
        self.assertEqual(missing, [])
        self.assertGreater(count, 60)


if __name__ == "__main__":
    unittest.main()
