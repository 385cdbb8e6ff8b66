"""A Conan 2 recipe of the checkout that it is in: conan create CHECKOUT/packaging/conan"""
import os
import re

from conan import ConanFile
from conan.tools.files import copy, load
from conan.tools.gnu import PkgConfigDeps
from conan.tools.layout import basic_layout
from conan.tools.meson import Meson, MesonToolchain


class Sidecar(ConanFile):
    name = "sidecar"
    description = "A network feed on a thread of its own, for synchronous programs"
    license = "BSL-1.0"
    package_type = "library"
    settings = "os", "arch", "compiler", "build_type"
    options = {"shared": [True, False], "fPIC": [True, False]}
    default_options = {"shared": False, "fPIC": True, "boost/*:header_only": True}

    def set_version(self):
        self.version = re.search(r"^  version: '([^']+)'", load(self, self._in_checkout("meson.build")), re.M)[1]

    def export_sources(self):
        for pattern in ("meson.build", "meson_options.txt", "LICENSE", "include/*", "lib/*", "transports/*", "packaging/*"):
            copy(self, pattern, self._in_checkout(), self.export_sources_folder)

    def requirements(self):
        self.requires("boost/[>=1.81]", transitive_headers=True)
        self.requires("fmt/[>=9]", transitive_headers=True)
        self.requires("openssl/[>=3 <4]")
        self.requires("simdjson/[>=3]")
        self.requires("zlib/[>=1.2 <2]")

    def build_requirements(self):
        self.tool_requires("meson/[>=1.0.1]")
        self.tool_requires("pkgconf/[>=2]")

    def layout(self):
        basic_layout(self)

    def generate(self):
        PkgConfigDeps(self).generate()
        toolchain = MesonToolchain(self)
        for part in ("tests", "examples", "programs"):
            toolchain.project_options[part] = "disabled"
        for part in ("tcp", "websocket", "nats", "tls", "mock", "recording"):
            toolchain.project_options[part] = "enabled"
        toolchain.generate()

    def build(self):
        meson = Meson(self)
        meson.configure()
        meson.build()

    def package(self):
        copy(self, "LICENSE", self.source_folder, os.path.join(self.package_folder, "licenses"))
        Meson(self).install()

    def package_info(self):
        self.cpp_info.set_property("cmake_file_name", "Sidecar")
        interface = ["boost::headers", "fmt::fmt"]
        needs = {
            "sidecar": [],
            "mock": ["sidecar"],
            "recording": ["sidecar"],
            "tls": ["sidecar", "openssl::openssl"],
            "tcp": ["sidecar", "tls"],
            "websocket": ["sidecar", "tls", "zlib::zlib", "simdjson::simdjson"],
            "nats": ["sidecar", "tls", "simdjson::simdjson"],
        }
        for part, others in needs.items():
            library = "sidecar" if part == "sidecar" else "sidecar-" + part
            component = self.cpp_info.components[part]
            component.set_property("cmake_target_name", "Sidecar::" + part)
            component.set_property("pkg_config_name", library)
            component.libs = [library]
            component.requires = interface + others
            component.system_libs = ["pthread"]

    def _in_checkout(self, name=""):
        return os.path.join(self.recipe_folder, "..", "..", name)
