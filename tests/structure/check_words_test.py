"""The word check finds what the rule of plain words forbids. check_words_test.py CHECK_WORDS"""
import pathlib
import subprocess
import sys
import tempfile
import unittest

CHECK = sys.argv.pop(1)


class Words(unittest.TestCase):
    def found_in(self, name, text):
        """The words found, with their lines, and whether the check lets the file pass."""
        with tempfile.TemporaryDirectory() as root:
            path = pathlib.Path(root, name)
            path.write_text(text)
            result = subprocess.run([sys.executable, CHECK, path], capture_output=True, text=True)
            self.assertEqual(result.stderr, "")
            found = [line.removeprefix(f"{path}:").split(" (")[0] for line in result.stdout.splitlines()[:-1]]
            return found, result.returncode == 0

    def test_plain_words_pass(self):
        self.assertEqual(self.found_in("a.md", "# What it does\n\nThe link reports it. Who reads this?\n\n| what | `told` |\n"), ([], True))

    def test_each_forbidden_word_is_found_in_prose(self):
        words = ("told", "stands", "has come", "had come", "gives back", "give it back", "any more", "of its own", "besides", "whoever", "of which")
        self.assertEqual(self.found_in("a.md", "\n\n".join(f"It is {word}\nor not." for word in words)),
                         ([f'{3 * i + 1}: "{word}"' for i, word in enumerate(words)], False))

    def test_words_over_the_end_of_a_line_are_found(self):
        self.assertEqual(self.found_in("a.md", "- It has\n  come.\n"), (['1: "has come"'], False))
        self.assertEqual(self.found_in("a.hpp", "/// It does not wait any\n/// more.\nint a;\n"), (['1: "any more"'], False))

    def test_what_and_who_are_no_subjects(self):
        self.assertEqual(self.found_in("a.md", "It ends. What remains is freed.\n"), (['1: "What ..."'], False))
        self.assertEqual(self.found_in("a.cpp", "// Who waits gets it.\n"), (['1: "Who ..."'], False))

    def test_code_gives_its_comments_and_literals(self):
        self.assertEqual(self.found_in("a.cpp", 'int told = 0; // it stands\nauto a = "it was told"; /* any more */\n'),
                         (['1: "stands"', '2: "any more"', '2: "told"'], False))
        self.assertEqual(self.found_in("a.md", "```cpp\nint told;\nint b; // it stands\n```\n"), (['3: "stands"'], False))


if __name__ == "__main__":
    unittest.main()
