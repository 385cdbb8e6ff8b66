// The command line: parses arguments into settings, or into a text and an exit status.
#pragma once

#include <sidecar/options.hpp>
#include <sidecar/transports/nats.hpp>
#include <sidecar/transports/recording.hpp>
#include <sidecar/transports/replay.hpp>
#include <sidecar/transports/tcp_server.hpp>
#include <sidecar/transports/websocket_server.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace sidecar_cat {

namespace exit_status {
constexpr int clean = 0;
constexpr int could_not_connect = 1;
constexpr int usage = 2;
constexpr int link_lost = 3;
constexpr int stopped_uncleanly = 4;
} // namespace exit_status

/// The form of a binary message on a line.
enum class BinaryFormat { hex, base64, raw };

/// Where --listen or --relay listens, if anywhere. Options of both transports are kept with WebSocket's until the
/// address decides.
struct Listen {
    std::string address{}; ///< as it is given; empty: nowhere
    bool is_relay = false; ///< sends what the URL's link receives; false: there is no URL
    [[nodiscard]] bool is_server() const noexcept { return !address.empty() && !is_relay; }
    sidecar::WebSocket::Acceptor::Options websocket{};
    std::optional<sidecar::Tcp<sidecar::Lines>::Acceptor::Options> tcp{};
};

/// The parsed command line. Options of both transports are kept with WebSocket's until the URL
/// decides.
struct Settings {
    std::string url{}; ///< empty: --listen
    sidecar::WebSocket::Options websocket{};
    std::optional<sidecar::Tcp<sidecar::Lines>::Options> tcp{}; ///< tcp:, tls: and unix: URLs
    std::optional<sidecar::Nats::Options> nats{};               ///< nats: URLs
    std::optional<sidecar::Replay::Options> replay{};           ///< a recording in place of a URL
    Listen listen{};
    std::string record_file{}; ///< empty: nothing is recorded
    sidecar::RecordingCounts recorded{};
    sidecar::Options feed{};
    sidecar::Duration timeout = std::chrono::seconds{10}; ///< to connect; max(): none
    std::uint64_t count = 0;                              ///< messages to receive; 0: any number
    std::optional<BinaryFormat> input_binary{};           ///< from --binary; none: lines are text
    BinaryFormat output_binary = BinaryFormat::hex;
    bool is_terminal = false;     ///< standard output is a terminal
    bool replaces_record = false; ///< record_file may exist
    bool is_json = false, has_timestamps = false, closes_at_eof = false;
    bool prints_stats = false, is_quiet = false, is_verbose = false;
};

/// Ends the program at once: help, version, or a mistake of usage.
struct EarlyExit {
    int status = 0;
    std::string text{}; ///< with its line end; for stdout if the status is 0, else for stderr
};

/// Parses `arguments`, without the program's name. Reads the files and variables that they name.
/// Its texts never repeat a value, which may be a secret.
[[nodiscard]] std::variant<Settings, EarlyExit> parse_command_line(
    const std::vector<std::string>& arguments);

} // namespace sidecar_cat
