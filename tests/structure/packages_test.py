"""CMake's build and the package recipes agree with Meson's build. packages_test.py ROOT"""
import ast
import json
import pathlib
import re
import sys
import unittest

ROOT = pathlib.Path(sys.argv.pop(1))


def text_of(name):
    return (ROOT / name).read_text()


VERSION = re.search(r"^  version: '([^']+)'", text_of("meson.build"), re.M)[1]


def sources_of_meson():
    return {str((file.parent / source).relative_to(ROOT))
            for folder in ("lib", "transports") for file in (ROOT / folder).rglob("meson.build")
            for source in re.findall(r"'([\w/]+\.cpp)'", file.read_text())}


def folders_of_cmake():
    cmake = text_of("CMakeLists.txt")
    rooms = re.search(r"^set\(rooms ([^)]*)\)", cmake, re.M)[1].split()
    folders = re.findall(r"^ *sidecar_unit\(\S+ ([\w/]+)[ )]", cmake, re.M)
    return {"lib/" + room for room in rooms} | set(folders)


class Packages(unittest.TestCase):
    def test_cmake_compiles_each_source_that_meson_compiles_and_no_other(self):
        in_cmake = {str(file.relative_to(ROOT)) for folder in folders_of_cmake() for file in (ROOT / folder).glob("*.cpp")}
        self.assertGreater(len(in_cmake), 50)
        self.assertEqual(in_cmake, sources_of_meson())

    def test_cmake_has_the_targets_of_the_installed_package(self):
        parts = {re.sub("^sidecar-", "", name) for file in (ROOT / "transports").rglob("meson.build")
                 for name in re.findall(r"'name': '([\w-]+)'", file.read_text())} | {"sidecar"}
        self.assertEqual(set(re.findall(r"^ *sidecar_library\((\w+)", text_of("CMakeLists.txt"), re.M)), parts)
        conan = ast.parse(text_of("packaging/conan/conanfile.py"))
        needs = [ast.literal_eval(node.value) for node in ast.walk(conan)
                 if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "needs"]
        self.assertEqual(set(needs[0]), parts)

    def test_cmake_and_conan_find_the_version_where_meson_has_it(self):
        self.assertRegex(text_of("CMakeLists.txt"), re.escape("REGEX \"^  version: '\""))
        self.assertIn("^  version: '([^']+)'", text_of("packaging/conan/conanfile.py"))

    def test_the_vcpkg_port_has_the_version_of_meson(self):
        port = json.loads(text_of("packaging/vcpkg/vcpkg.json"))
        self.assertEqual((port["name"], port["version"]), ("sidecar", VERSION))

    def test_the_examples_of_cmake_ask_for_this_series(self):
        series = ".".join(VERSION.split(".")[:2])
        for name in ("docs/embedding.md", "tests/consumer/CMakeLists.txt"):
            self.assertEqual(set(re.findall(r"find_package\(Sidecar ([\d.]+) ", text_of(name))), {series}, name)


if __name__ == "__main__":
    unittest.main()
