// Several links' streams at once, dense and cut anywhere: none may get into another's way in the
// memory that they share.
#pragma once

#include "raw_peer.hpp"

#include <sidecar/message.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <random>
#include <string>
#include <string_view>
#include <vector>

constexpr unsigned dense_count = 5000;

/// What the stream number `stream` carries at this place: sizes from 0 to 1500 bytes.
inline std::string dense_message(unsigned stream, unsigned index)
{
    const auto seed = (index + 1) * 2654435761u + stream;
    std::string text((seed >> 16) % 1501, '\0');
    for (std::size_t i = 0; i < text.size(); ++i)
        text[i] = static_cast<char>(seed + i * (2 * stream + 1));
    return text;
}

inline void send_in_pieces(RawConnection& c, std::string_view bytes)
{
    std::minstd_rand random{3};
    while (!bytes.empty()) {
        const std::size_t limit = random() % 4 == 0 ? 50'000 : 3000;
        const auto size = std::min<std::size_t>(bytes.size(), 1 + random() % limit);
        c.send(bytes.substr(0, size));
        bytes.remove_prefix(size);
    }
}

/// Takes all messages of the streams, by poll() and receive() in turns; `links[i]` is the one of
/// stream number i.
template <class Feed>
void check_dense_streams(Feed& feed, const std::vector<sidecar::LinkId>& links)
{
    std::vector<unsigned> next(links.size());
    bool all_as_sent = true;
    const auto look = [&](const sidecar::MessageView& message) {
        const auto stream = static_cast<unsigned>(
            std::find(links.begin(), links.end(), message.link()) - links.begin());
        REQUIRE(stream < links.size());
        all_as_sent &= message.text() == dense_message(stream, next[stream]++);
    };
    for (std::size_t seen = 0; seen < dense_count * links.size();) {
        const auto message = feed.receive(std::chrono::seconds{10});
        REQUIRE(message);
        look(message->view());
        seen += 1 + feed.poll(look, seen % 500).value();
    }
    CHECK(all_as_sent);
}
