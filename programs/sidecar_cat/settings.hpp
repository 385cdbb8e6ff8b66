// Settings: what the command line says, understood.
#pragma once

#include "target.hpp"

#include <sidecar/clock.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace sidecar_cat {

/// How binary messages stand in lines.
enum class BinaryFormat { raw, hex, base64 };

/// How messages stand in a stream of bytes.
struct FramingChoice {
    enum class Kind { lines, raw, length_prefix, fixed_size };
    Kind kind = Kind::lines;
    std::size_t size = 0; ///< bytes of the prefix, or of each message
};

/// Who one is: a user with a password, or a token.
struct Credentials {
    std::string user{}, password{};
    std::string bearer{}; ///< empty: user and password count
};

struct HandshakeSettings {
    std::vector<std::pair<std::string, std::string>> headers{};
    std::vector<std::string> subprotocols{};
    std::string origin{}; ///< empty: none is sent
    std::optional<Credentials> credentials{};
    bool is_compressed = false;
    unsigned max_redirects = 0;
};

struct TlsSettings {
    std::string ca{}; ///< a file or a directory; empty: the system's
    std::string certificate{};
    std::string key{};
    bool is_insecure = false;
};

struct ConnectionSettings {
    Target target{};
    FramingChoice framing{};
    HandshakeSettings handshake{};
    TlsSettings tls{};
    std::string proxy{}; ///< empty: none; "env": as the environment says
    std::size_t max_message_bytes = std::size_t{1} << 20;
    sidecar::Duration timeout = std::chrono::seconds{10}; ///< for connecting; max(): none
    sidecar::Duration heartbeat{};                        ///< zero: none
    bool reconnects = false;
};

struct InputSettings {
    bool is_read = true;
    bool echoes = false;        ///< what is received is sent back
    bool closes_at_eof = false; ///< the program stops once standard input has ended and was sent
    sidecar::Duration linger{}; ///< and waits for this long before
    std::optional<BinaryFormat> binary{}; ///< lines are binary messages in this form; empty: text
};

struct OutputSettings {
    BinaryFormat binary = BinaryFormat::hex;
    bool is_raw = false; ///< no line end behind a message
    bool is_json = false;
    bool has_timestamps = false;
    bool tells_stats = false;
    bool is_quiet = false;
};

struct Settings {
    ConnectionSettings connection{};
    InputSettings input{};
    OutputSettings output{};
    std::uint64_t count = 0;      ///< messages to receive; 0: any number
    sidecar::Duration duration{}; ///< of the connection; zero: any
    bool dumps = false;           ///< on SIGUSR1
};

} // namespace sidecar_cat
