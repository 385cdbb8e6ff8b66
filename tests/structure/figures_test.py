"""tools/figures counts, and finds a walk that is stale. figures_test.py FIGURES"""
import importlib.machinery
import importlib.util
import pathlib
import subprocess
import sys
import tempfile
import unittest

FIGURES = sys.argv.pop(1)
sys.dont_write_bytecode = True
loader = importlib.machinery.SourceFileLoader("figures", FIGURES)
figures = importlib.util.module_from_spec(importlib.util.spec_from_loader("figures", loader))
loader.exec_module(figures)


class Figures(unittest.TestCase):
    def test_code_lines_are_those_that_are_neither_blank_nor_a_comment(self):
        self.assertEqual(figures.code_lines("\n  // a\nint a; // b\n\t\n/// c\n#include <d>\n"), 2)

    def test_types_are_classes_structs_and_unions_with_a_body(self):
        self.assertEqual(figures.types_in("class A; struct B { struct C {}; }; enum class D { e }; union F { int a; };"
                                          "template <class T> struct G<T*> final : H {}; // struct I {};\n"
                                          'class [[nodiscard]] SIDECAR_API J {}; "class K {";'), 5)

    def test_a_step_whose_file_or_function_is_gone_is_stale(self):
        with tempfile.TemporaryDirectory() as root:
            pathlib.Path(root, "a.cpp").write_text("void f() {}\nvoid other_g() {}\n")
            walk = "a.cpp f\n a.cpp g\n b.cpp f\n"
            self.assertEqual(list(figures.stale_steps(pathlib.Path(root), walk)), ["a.cpp g", "b.cpp f"])

    def test_it_fails_for_a_tree_in_which_the_walks_are_stale(self):
        with tempfile.TemporaryDirectory() as root:
            done = subprocess.run([sys.executable, FIGURES, "--root", root], capture_output=True, text=True)
            self.assertEqual((done.returncode, done.stderr), (1, ""))
            self.assertIn("stale: a message in: ", done.stdout)


if __name__ == "__main__":
    unittest.main()
