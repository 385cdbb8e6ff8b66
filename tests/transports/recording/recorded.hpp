// What the tests of recordings share: files, entries as text, and a program on a mock.
#pragma once

#include "support/silent_options.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/mock.hpp>
#include <sidecar/transports/recording.hpp>
#include <sidecar/transports/recording_reader.hpp>
#include <sidecar/transports/replay.hpp>

#include <boost/asio/error.hpp>
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

/// The name of a file that does not exist yet, in a directory of its own.
class TemporaryFile {
public:
    TemporaryFile()
    {
        std::string name = std::filesystem::temp_directory_path() / "sidecar-XXXXXX";
        REQUIRE(::mkdtemp(name.data()) != nullptr);
        directory_ = name;
    }
    TemporaryFile(const TemporaryFile&) = delete;
    TemporaryFile& operator=(const TemporaryFile&) = delete;
    ~TemporaryFile() { std::filesystem::remove_all(directory_); }
    [[nodiscard]] std::string name() const { return directory_ / "run.sidecar"; }
    [[nodiscard]] std::string content() const
    {
        std::ifstream file{name(), std::ios::binary};
        return {std::istreambuf_iterator<char>{file}, {}};
    }
    void write(const std::string& content) const
    {
        std::ofstream{name(), std::ios::binary | std::ios::trunc} << content;
    }

private:
    std::filesystem::path directory_;
};

inline double seconds(sidecar::Duration time)
{
    return std::chrono::duration<double>{time}.count();
}

/// An entry's time, connection, kind and what it holds.
inline std::string to_text(const sidecar::RecordingEntry& entry)
{
    using Kind = sidecar::RecordingEntry::Kind;
    auto text =
        fmt::format("{:.3f} {} {}", seconds(entry.time), entry.connection, to_string(entry.kind));
    switch (entry.kind) {
    case Kind::connecting: return fmt::format("{} {}", text, entry.endpoint);
    case Kind::connected: return fmt::format("{} {}{}", text, entry.peer, entry.protocol);
    case Kind::received:
    case Kind::sent:
        if (entry.message_kind == sidecar::MessageKind::binary)
            text += " binary";
        return fmt::format("{} {}", text, entry.text());
    case Kind::ping:
    case Kind::pong: return text;
    case Kind::closing: return fmt::format("{} {}{}", text, entry.close.code, entry.close.reason);
    case Kind::ended:
        return fmt::format("{} {}", text,
                           entry.failure                               ? entry.failure->message()
                           : entry.end == sidecar::RecordedEnd::closed ? "closed"
                                                                       : "dropped");
    case Kind::lost: return fmt::format("{} {}", text, entry.lost);
    }
    return text;
}

/// One text of all, which doctest shows.
inline std::string lines(const std::vector<std::string>& texts)
{
    std::string all;
    for (const auto& text : texts)
        for (const char c : "\n" + text)
            all += c < ' ' && c != '\n' ? fmt::format("\\{:o}", c) : std::string{c};
    return all;
}

struct Entries {
    std::vector<std::string> texts;
    std::string error; ///< empty: the recording ended well
};
inline Entries entries_of(const std::string& file)
{
    Entries entries;
    auto reader = sidecar::RecordingReader::open(file);
    if (!reader)
        return {{}, reader.error().message()};
    for (;;) {
        const auto entry = reader->next();
        if (!entry)
            return entries.error = entry.error().message(), entries;
        if (!*entry)
            return entries;
        entries.texts.push_back(to_text(**entry));
    }
}

using RecordedMock = sidecar::Recording<sidecar::Mock>;

/// Reconnects after the same pause each time, and gives up after three attempts.
inline sidecar::Reconnect steady(sidecar::Duration pause = std::chrono::seconds{1})
{
    return {.window = pause,
            .max_window = pause,
            .stable_after = std::chrono::hours{1000},
            .max_attempts = 3,
            .random = [] { return ~std::uint64_t{0}; }};
}

/// Everything that the application sees of a feed until its end, with times. `act` sees each message
/// before the next event is asked for.
inline std::vector<std::string> events_of(sidecar::Feed& feed,
                                          const std::function<void(std::string_view)>& act = {})
{
    using namespace std::chrono_literals;
    std::vector<std::string> texts;
    for (;;) {
        const auto event = feed.next_event(12h);
        if (!event)
            return texts.push_back(event.error().message()), texts;
        auto text = fmt::format("{:.3f} {}", seconds(event->at.time_since_epoch()), *event);
        if (event->kind == sidecar::Event::Kind::message)
            text += fmt::format(" \"{}\"", event->message.text());
        texts.push_back(std::move(text));
        if (act && event->kind == sidecar::Event::Kind::message)
            act(event->message.text());
    }
}

/// Records what a program does whose peer delivers, drops, refuses, and closes at last. Returns what
/// the program saw.
inline std::vector<std::string> record_everything(const std::string& file)
{
    using namespace std::chrono_literals;
    const auto refused = sidecar::error_code{boost::asio::error::connection_refused};
    sidecar::MockPeer peer;
    sidecar::Sidecar<RecordedMock> feed{{.transport = {.peer = peer}, .file = file},
                                        silenced({.reconnect = steady()})};
    peer.delay_connect(20ms);
    peer.deliver("at once");
    peer.deliver_after(1s, "");
    peer.deliver_after(2500ms, "drop");
    REQUIRE(feed.start(10s));
    const auto act = [&](std::string_view text) {
        if (text == "at once") {
            REQUIRE(feed.send("hello"));
            REQUIRE(feed.flush(10s));
        } else if (text == "drop") {
            peer.refuse_connect(refused);
            peer.drop();
            (void)feed.sleep_for(1500ms); // one attempt fails
            peer.allow_connect();
            peer.deliver(std::as_bytes(std::span{"\0\1", 2}));
            peer.deliver_after(4s, "close");
        } else if (text == "close") {
            peer.close(4001, "enough");
            peer.refuse_connect(refused);
        }
    };
    return events_of(feed, act);
}
