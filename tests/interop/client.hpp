// What the environment says of the server that a case talks to.
#pragma once

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/tcp.hpp>
#include <sidecar/transports/websocket.hpp>

#include <chrono>
#include <cstdlib>
#include <stdexcept>
#include <string>

namespace interop {

using namespace std::chrono_literals;

/// For anything that a healthy peer on this machine does.
constexpr sidecar::Duration patience = 20s;

inline std::string setting(const char* name)
{
    const char* value = std::getenv(name);
    return value ? value : "";
}

inline std::string needed_setting(const char* name)
{
    auto value = setting(name);
    if (value.empty())
        throw std::runtime_error{std::string{name} + " is not set; interop_test.py sets it"};
    return value;
}

inline sidecar::TlsOptions tls_options()
{
    return {.ca_file = setting("INTEROP_CA"),
            .certificate_file = setting("INTEROP_CERTIFICATE"),
            .key_file = setting("INTEROP_KEY")};
}

inline sidecar::WebSocket::Options websocket_options()
{
    sidecar::WebSocket::Options options{.url = needed_setting("INTEROP_URL")};
    options.max_message_bytes = 2u << 20;
    if (!setting("INTEROP_COMPRESSION").empty())
        options.compression = sidecar::CompressionOptions{};
    options.proxy.url = setting("INTEROP_PROXY");
    options.tls = tls_options();
    return options;
}

/// Bytes that look like nothing, the same in each run; as text they are letters and spaces.
inline std::string payload(std::size_t size, sidecar::MessageKind kind)
{
    std::string result(size, '\0');
    std::uint32_t state = 12345 + static_cast<std::uint32_t>(size);
    for (char& c : result) {
        state = state * 1664525 + 1013904223;
        const auto byte = static_cast<unsigned char>(state >> 24);
        c = static_cast<char>(kind == sidecar::MessageKind::text ? ' ' + byte % 95 : byte);
    }
    return result;
}

inline sidecar::Result<void> send(sidecar::Feed& feed, sidecar::MessageKind kind,
                                  const std::string& payload)
{
    if (kind == sidecar::MessageKind::text)
        return feed.send(payload, patience);
    return feed.send(std::as_bytes(std::span{payload}), patience);
}

} // namespace interop
