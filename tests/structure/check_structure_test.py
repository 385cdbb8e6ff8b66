"""The structure check finds what is wrong in a tree made for that. check_structure_test.py CHECK_STRUCTURE"""
import pathlib
import subprocess
import sys
import tempfile
import unittest

CHECK = sys.argv.pop(1)
sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(CHECK).parent))
import check_structure  # noqa: E402


class Tree(unittest.TestCase):
    def found_in(self, files, expected=""):
        """What the check says, without the last line, and whether it lets the tree pass."""
        with tempfile.TemporaryDirectory() as root:
            for name, text in files.items():
                path = pathlib.Path(root, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
            list_of_expected = pathlib.Path(root, "expected.txt")
            list_of_expected.write_text(expected)
            result = subprocess.run([sys.executable, CHECK, "--root", root, "--expected", list_of_expected],
                                    capture_output=True, text=True)
            self.assertEqual(result.stderr, "")
            return [line.split(": ")[0] for line in result.stdout.splitlines()[:-1]], result.returncode == 0

    def test_a_good_tree_passes(self):
        self.assertEqual(self.found_in({
            "lib/base/a.hpp": "#pragma once\n",
            "lib/queue/b.hpp": '#include "base/a.hpp"\n',
            "lib/queue/b.cpp": '#include "b.hpp"\n#include <vector>\n',
            "lib/stop/c.hpp": '#include "link/d.hpp"\n#include <sidecar/e.hpp>\n',
            "lib/link/d.hpp": '#include "queue/b.hpp"\n',
            "lib/feed/top.cpp": '#include "stop/c.hpp"\n',
            "include/sidecar/e.hpp": "\n",
            "transports/x/x.cpp": '#include "x.hpp"\n#include <sidecar/transports/x.hpp>\n',
            "transports/x/x.hpp": "\n",
            "transports/x/include/sidecar/transports/x.hpp": "#include <sidecar/e.hpp>\n",
        }), ([], True))

    def test_an_include_upwards_is_found_however_it_is_written(self):
        for text in ('#include "link/b.hpp"\n', '#include "../link/b.hpp"\n', '  #  include <link/b.hpp>\n'):
            self.assertEqual(self.found_in({"lib/loop/a.hpp": text, "lib/link/b.hpp": ""}),
                             (["up lib/loop/a.hpp lib/link/b.hpp"], False))

    def test_the_stop_is_for_the_rooms_above_only(self):
        self.assertEqual(self.found_in({"lib/link/a.cpp": '#include "stop/b.hpp"\n', "lib/stop/b.hpp": "",
                                        "lib/feed/run.cpp": '#include "stop/b.hpp"\n'}),
                         (["up lib/link/a.cpp lib/stop/b.hpp"], False))

    def test_a_file_at_the_top_of_the_library_is_found(self):
        self.assertEqual(self.found_in({"lib/run.cpp": ""}), (["top lib/run.cpp"], False))

    def test_a_room_of_the_transports_includes_from_those_that_are_named_for_it(self):
        self.assertEqual(self.found_in({
            "transports/http/a.cpp": '#include "stream/b.hpp"\n', "transports/stream/b.hpp": '#include "http/c.hpp"\n',
            "transports/http/c.hpp": "", "transports/tcp/d.cpp": "#include <sidecar/transports/websocket.hpp>\n",
            "transports/websocket/include/sidecar/transports/websocket.hpp": ""}),
            (["across transports/http/a.cpp transports/stream/b.hpp",
              "across transports/tcp/d.cpp transports/websocket/include/sidecar/transports/websocket.hpp"], False))

    def test_a_folder_that_is_no_room_is_found(self):
        self.assertEqual(self.found_in({"lib/misc/a.hpp": ""}), (["up lib/misc/a.hpp"], False))

    def test_every_file_of_a_circle_is_found(self):
        self.assertEqual(self.found_in({
            "lib/loop/a.hpp": '#include "loop/b.hpp"\n', "lib/loop/b.hpp": '#include "c.hpp"\n',
            "lib/loop/c.hpp": '#include "loop/a.hpp"\n', "lib/loop/d.hpp": '#include "loop/a.hpp"\n',
        }), (["circle lib/loop/a.hpp", "circle lib/loop/b.hpp", "circle lib/loop/c.hpp"], False))

    def test_the_border_between_library_and_transports_is_held(self):
        self.assertEqual(self.found_in({
            "transports/x/a.cpp": '#include "base/b.hpp"\n', "lib/base/b.hpp": "#include <sidecar/transports/x.hpp>\n",
            "include/sidecar/c.hpp": "#include <sidecar/transports/x.hpp>\n",
            "transports/x/include/sidecar/transports/x.hpp": "",
        }), (["border include/sidecar/c.hpp transports/x/include/sidecar/transports/x.hpp",
              "border lib/base/b.hpp transports/x/include/sidecar/transports/x.hpp",
              "border transports/x/a.cpp lib/base/b.hpp"], False))

    def test_long_files_are_found(self):
        self.assertEqual(self.found_in({"include/sidecar/a.hpp": "\n" * 501, "transports/x/b.cpp": "\n" * 500}),
                         (["lines include/sidecar/a.hpp"], False))

    def test_large_classes_of_the_library_are_found(self):
        def declares(what, limit, more):
            count = check_structure.LIMITS[limit] + more
            return "class A {\n" + "".join(f"    {what.format(i)};\n" for i in range(count)) + "};\n"
        for what, limit in (("int a{}_ = 0", "members"), ("void f{}() const", "functions")):
            self.assertEqual(self.found_in({"lib/base/a.hpp": declares(what, limit, 1), "lib/base/b.hpp": declares(what, limit, 0),
                                            "transports/x/c.hpp": declares(what, limit, 1)}),
                             ([f"{limit} lib/base/a.hpp A"], False))

    def test_what_is_expected_passes_and_what_is_mended_is_told(self):
        self.assertEqual(self.found_in({"lib/base/a.hpp": "\n" * 501}, "# why\nlines lib/base/a.hpp\nlines lib/b.hpp # soon\n"),
                         (["expected", "mended, so its line in expected.txt can go"], True))


class Members(unittest.TestCase):
    def members(self, body):
        return self.declared(body)[0]

    def declared(self, body):
        return check_structure.declared_in(check_structure.without_comments_and_literals(body))

    def test_every_form_of_a_member_counts(self):
        for body in ("int a_;", "int a_ = f(1, 2);", "int a_{1};", "std::atomic<int> a_{0};", "const int& a_;", "T* a_ = nullptr;",
                     "std::function<void(int)> a_;", "std::function<void()> a_ = [] { return 1; };", "int a_[4] = {1, 2};",
                     "alignas(64) std::uint64_t a_{0};", "[[no_unique_address]] T a_;", "void (*a_)(int, int) = nullptr;",
                     "std::map<int, std::vector<int>> a_;", "std::array<char, 4 * (2 + 1)> a_;", "unsigned a_ : 3;", "mutable std::mutex a_; // b_;",
                     "private: int a_;", "struct Inner { int b; } a_;", "char a_ = ';';"):
            self.assertEqual(self.members(body), ["a_"], body)

    def test_a_list_with_commas_counts_each(self):
        self.assertEqual(self.members("double a_, b_ = f(1, 2), c_{3, 4}; std::map<int, int> d_, e_;"), ["a_", "b_", "c_", "d_", "e_"])

    def test_what_is_no_member_does_not_count(self):
        for body in ("int a() const;", "A(int a) : a_{a}, b_{b} { c(); }", "static constexpr int a_ = 1;", "using a_ = int;", "friend class B;",
                     "enum class E { a_, b_ };", "bool operator==(const A&) const = default;", "[[nodiscard]] auto a() const -> int { return a_; }",
                     "A& operator=(const A&) { int a_ = 1; return *this; }", "template <class F> void f(F a_) { int b_; }", "struct B; class C;",
                     "explicit operator bool() const noexcept { return true; }", "void f(int a = 1, std::vector<int> b = {1});",
                     "static_assert(sizeof(int) == 4);", "~A() noexcept(true);", "// int a_;\n/* int b_; */", "Task<> f(int) { for (int a_ = 0;;) { } }",
                     "friend bool operator<(A a, A b) { return true; }", "enum E : int { a };"):
            self.assertEqual(self.members(body), [], body)

    def test_members_behind_functions_count(self):
        self.assertEqual(self.members("A() : x_{1} {} int a_; int f() { return 1; } int b_; struct N { int c_; void g() {} }; int d_;"), ["a_", "b_", "d_"])

    def test_what_a_nested_class_has_counts_for_its_outer_class_too(self):
        text = "struct A { struct B { int a, b; void f(); }; int c; int g(); }; template <class T> struct C<T*> { T d; };"
        self.assertEqual({name: (members, functions) for name, members, functions in check_structure.classes_of(text)},
                         {"A": (["c", "a", "b"], 2), "B": (["a", "b"], 1), "C": (["d"], 0)})

    def test_every_form_of_a_function_counts_once(self):
        for body in ("int a() const;", "A(int a) : a_{a}, b_{b} { c(); }", "bool operator==(const A&) const = default;",
                     "[[nodiscard]] auto a() const -> int { return a_; }", "A& operator=(const A&) { int a_ = 1; return *this; }",
                     "template <class F> void f(F a_) { int b_; }", "explicit operator bool() const noexcept { return true; }",
                     "void f(int a = 1, std::vector<int> b = {1});", "~A() noexcept(true);", "static int f();",
                     "static constexpr int f(int a) { return a; }", "private: Task<> f(int) { for (int a_ = 0;;) { } }"):
            self.assertEqual(self.declared(body), ([], 1), body)
        for body in ("friend bool operator<(A a, A b) { return true; }", "static constexpr int a_ = 1;", "int a_ = f(1);", "using F = void(int);",
                     "std::function<void(int)> a_;", "static_assert(sizeof(int) == 4);"):
            self.assertEqual(self.declared(body)[1], 0, body)


if __name__ == "__main__":
    unittest.main()
