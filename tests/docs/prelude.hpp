// What the snippets of the documentation may take for granted: names that stand for the reader's own.
#pragma once

#include <sidecar/json.hpp>
#include <sidecar/prometheus.hpp>
#include <sidecar/server.hpp>
#include <sidecar/sidecar.hpp>
#include <sidecar/signals.hpp>
#include <sidecar/transports/mock.hpp>
#include <sidecar/transports/mock_server.hpp>
#include <sidecar/transports/nats.hpp>
#include <sidecar/transports/recording.hpp>
#include <sidecar/transports/recording_reader.hpp>
#include <sidecar/transports/replay.hpp>
#include <sidecar/transports/tcp.hpp>
#include <sidecar/transports/tcp_server.hpp>
#include <sidecar/transports/websocket.hpp>
#include <sidecar/transports/websocket_server.hpp>

#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

using namespace std::chrono_literals;

/// The test framework of a block that is run.
#define CHECK(condition)                                                                           \
    (static_cast<bool>(condition)                                                                  \
         ? void()                                                                                  \
         : (fmt::print(stderr, "{}:{}: {}\n", __FILE__, __LINE__, #condition), std::abort()))

extern sidecar::Feed& feed;
extern sidecar::Feed& orders;
extern sidecar::MockPeer peer;
extern sidecar::Server<sidecar::WebSocket> server;
extern std::string url, token;
void run(sidecar::Feed& feed);
void handle(std::string_view text);
void draw();
void log_line(std::string_view text);
bool is_done();
void step();
std::string state_as_json();
