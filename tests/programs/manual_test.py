#!/usr/bin/env python3
"""The man page and the shell completions of sidecar-cat know every option that the program has, and no other."""
import pathlib
import re
import shutil
import subprocess
import unittest

from peers import run

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "programs" / "sidecar_cat"


def options_of_program():
    return set(re.findall(r"^  (?:-\w,)?(--[a-z-]+)", run("--help")[1].decode(), re.M))


class ManualTest(unittest.TestCase):
    def test_the_man_page_has_every_option(self):
        text = (FOLDER / "sidecar-cat.1").read_text().replace("\\-", "-")
        self.assertEqual(set(re.findall(r'^\.B[RI]? (?:-h ", " )?(--[a-z-]+)', text, re.M)), options_of_program())

    def test_the_man_page_is_well_formed(self):
        if not shutil.which("man"):
            print("man is not installed: only the names of the options were compared")
            return
        done = subprocess.run(["man", "--warnings", "-l", str(FOLDER / "sidecar-cat.1")], capture_output=True, timeout=30,
                              env={"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin", "MANWIDTH": "80"})
        self.assertEqual((done.returncode, done.stderr), (0, b""))
        self.assertIn(b"EXIT STATUS", done.stdout)

    def test_the_completions_have_every_option(self):
        for name in ("completion.bash", "completion.zsh"):
            found = set(re.findall(r"--[a-z-]+[a-z]", (FOLDER / name).read_text()))
            self.assertEqual(found, options_of_program(), name)
        fish = set("--" + name for name in re.findall(r" -l ([a-z-]+)", (FOLDER / "completion.fish").read_text()))
        self.assertEqual(fish, options_of_program())

    def test_bash_completes_options_and_their_values(self):
        def complete(*words):
            script = f'. "{FOLDER}/completion.bash"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _sidecar_cat; printf "%s\\n" "${{COMPREPLY[@]}}"'
            done = subprocess.run(["bash", "-c", script, "bash", *words], capture_output=True, timeout=30)
            self.assertEqual(done.stderr, b"")
            return done.stdout.decode().split()
        self.assertEqual(complete("sidecar-cat", "--max-m"), ["--max-message"])
        self.assertEqual(complete("sidecar-cat", "--binary", ""), ["hex", "base64", "raw"])
        self.assertIn("wss://", complete("sidecar-cat", "ws"))


if __name__ == "__main__":
    unittest.main()
