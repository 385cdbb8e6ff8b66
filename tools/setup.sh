# Sourced by the other tools: installs what is missing, and sets up the build. Debian 12 and Ubuntu 24.04; elsewhere it
# names what to install.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# So that ccache knows the same source of another checkout, or of the copy of tools/mutants; with debugger's symbols it does not.
export CCACHE_BASEDIR=$PWD

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

# install_packages PACKAGE... : those of them that are not there
install_packages()
{
    command -v dpkg-query >/dev/null || {
        printf 'This is neither Debian nor Ubuntu. Install g++ 12 or later, Meson 1.0.1 or later, ninja, ccache, and the\n' >&2
        printf 'development files of Boost 1.81 or later, fmt 9 or later, simdjson, OpenSSL 3, zlib and doctest.\n' >&2
        printf 'Fedora: dnf install gcc-c++ meson ninja-build ccache boost-devel fmt-devel simdjson-devel openssl-devel zlib-devel doctest-devel python3-websockets\n' >&2
        printf 'Arch: pacman -S gcc meson ninja ccache boost fmt simdjson openssl zlib doctest python-websockets\n' >&2
        return 0
    }
    local missing=() package
    for package in "$@"; do
        dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q '^install ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} = 0 ] && return 0
    echo "installing: ${missing[*]}"
    # One after the other, for tools that run side by side
    as_root flock -o /run/lock apt-get update -qq
    as_root flock -o /run/lock env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# Debian 12's plain Boost is 1.74; its 1.81 stands beside it under its own name.
boost_packages()
{
    if [ -n "$(apt-cache search --names-only '^libboost1.81-dev$' 2>/dev/null)" ]; then
        echo libboost1.81-dev
    else
        echo libboost-dev
    fi
}

install_build_packages()
{
    if command -v apt-cache >/dev/null && [ -z "$(apt-cache search --names-only '^meson$')" ]; then
        as_root apt-get update -qq
    fi
    # shellcheck disable=SC2046
    install_packages g++ meson ninja-build pkg-config ccache libfmt-dev libsimdjson-dev libssl-dev zlib1g-dev $(boost_packages)
}

install_test_packages()
{
    install_build_packages
    install_packages doctest-dev libglib2.0-dev python3 python3-websockets python3-wsproto openssl nats-server
}

# Servers of others, for tests/interop.
install_interop_packages()
{
    install_packages nodejs node-ws nginx socat openssl tinyproxy-bin python3-websockets
}

# What the library is compared with.
install_bench_packages()
{
    install_build_packages
    install_packages binutils python3 python3-websockets nats-server libnats-dev libwebsockets-dev libwebsocketpp-dev libzmq3-dev cppzmq-dev libnng-dev
}

# configure DIRECTORY COMPILER OPTION... : sets up, or changes, a build directory
configure()
{
    local directory=$1 compiler=$2
    shift 2
    if [ -f "$directory/build.ninja" ]; then
        meson configure "$directory" "$@"
    else
        CXX="ccache $compiler" meson setup "$directory" "$@"
    fi
}

# newest_clang : the version of the newest clang that the system has
newest_clang()
{
    local version
    for version in 19 18 17 16; do
        [ -z "$(apt-cache search --names-only "^clang-$version$" 2>/dev/null)" ] || break
    done
    echo "$version"
}

# What the library's own sources are compiled with, for tools that compile them without Meson.
own_flags=(-pthread -DBOOST_ASIO_NO_DEPRECATED -Iinclude -Ilib -Itransports -Itransports/http -Itransports/stream -Itransports/stream/include
    -Itransports/tcp/include -Itransports/nats/include -Itransports/websocket -Itransports/websocket/include -Itransports/mock/include -Itransports/recording/include -Itransports/conformance/include)

# unit_of DIRECTORY : all its sources as one unit, on standard output
unit_of() { git ls-files "$1/*.cpp" | grep -v without_tls | sed "s|.*|#include \"$PWD/&\"|"; }
