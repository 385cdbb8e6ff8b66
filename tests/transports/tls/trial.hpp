// A feed of lines over TLS against a TlsPeer.
#pragma once

#include "support/failure_of.hpp"
#include "support/silent_options.hpp"
#include "support/tls_peer.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/tcp.hpp>

#include <string>
#include <vector>

using LinesFeed = sidecar::Sidecar<sidecar::Tcp<sidecar::Lines>>;

/// Trusts the tests' authority.
inline sidecar::TlsOptions trusting() { return {.ca_file = certificate("ca.pem")}; }

inline sidecar::Tcp<sidecar::Lines>::Options lines_to(std::uint16_t port,
                                                      sidecar::TlsOptions tls = trusting(),
                                                      std::string host = "localhost")
{
    return {.host = std::move(host), .port = port, .tls = std::move(tls)};
}

/// Every name is at the loopback.
inline sidecar::Options at_home()
{
    auto options = silent_options();
    options.lookup = [](const std::string&) {
        return std::vector{boost::asio::ip::make_address("127.0.0.1")};
    };
    return options;
}

/// What the start ended with; none: it succeeded, and a line came.
inline sidecar::Failure start_against(const TlsPeerOptions& server,
                                      sidecar::TlsOptions tls = trusting(),
                                      std::string host = "localhost")
{
    TlsPeer peer{server, [](TlsConnection& c) {
                     c.send("hello\n");
                     c.wait_for_goodbye();
                     c.say_goodbye();
                 }};
    LinesFeed feed{lines_to(peer.port(), std::move(tls), std::move(host)), at_home()};
    if (auto started = feed.start(std::chrono::seconds{20}); !started)
        return started.error();
    if (auto line = feed.receive(std::chrono::seconds{20}); !line)
        return line.error();
    return {};
}
