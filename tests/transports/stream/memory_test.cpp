// What a link keeps once its large message is over. Counted by malloc, so of no use to a sanitizer.
#include "listener.hpp"
#include "support/sanitized.hpp"
#include "support/silent_options.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/transports/tcp.hpp>

#include <doctest/doctest.h>

#include <malloc.h>
#include <sys/resource.h>

namespace memory_test {

using namespace sidecar;
using namespace std::chrono_literals;

constexpr std::size_t large = 1u << 20;
constexpr StopBudget brief{.total = 10s, .drain = 20ms, .close = 20ms, .cancel = 20ms};

std::size_t used_bytes()
{
    const auto info = ::mallinfo2();
    return info.uordblks + info.hblkhd;
}

/// Many links on one feed, with the other ends of their connections.
template <class F>
struct ManyLinks {
    explicit ManyLinks(std::size_t link_count)
    {
        REQUIRE(feed.start(10s));
        peers.push_back(listener.accept());
        while (peers.size() < link_count) {
            REQUIRE(feed.open(options(), 10s));
            peers.push_back(listener.accept());
        }
    }
    void send_each(std::string_view bytes, std::size_t expected)
    {
        for (const auto& peer : peers) {
            peer.send(bytes);
            REQUIRE(feed.receive(10s).value().size() == expected);
        }
    }
    [[nodiscard]] typename Tcp<F>::Options options() const
    {
        typename Tcp<F>::Options options;
        options.host = "127.0.0.1";
        options.port = listener.port();
        options.max_message_bytes = large + 16;
        return options;
    }

    LoopbackListener listener{"127.0.0.1", 0};
    Sidecar<Tcp<F>> feed{options(), silent_options(brief)};
    std::vector<LoopbackListener::Connection> peers;
};

TEST_CASE("memory: a link that had one large message keeps a small constant"
          * doctest::skip(is_sanitized))
{
    constexpr std::size_t link_count = 61;
    const auto check = [](auto& links, const std::string& small, const std::string& big) {
        links.send_each(small, 5);
        const auto before = used_bytes();
        links.send_each(big, large);
        links.send_each(small, 5); // so each waits again
        const auto after = used_bytes();
        const auto pooled = std::size_t{4} << 20; // by the inbox, for all links together
        const auto kept = after > before + pooled ? (after - before - pooled) / link_count : 0;
        MESSAGE(kept, " bytes a link, ", after > before ? after - before : 0, " in all");
        CHECK(kept < 16u << 10);
    };
    ManyLinks<Lines> lines{
        link_count}; // no end is known, so it is collected in the link's own memory
    check(lines, "small\n", std::string(large, 'x') + "\n");
    ManyLinks<LengthPrefix> prefixed{link_count}; // received in the inbox's memory
    check(prefixed, std::string("\0\0\0\5small", 9),
          std::string("\0\x10\0\0", 4) + std::string(large, 'x'));
}

TEST_CASE(
    "memory: what a thousand peers announce and do not send is bounded, and another link goes on"
    * doctest::skip(is_sanitized))
{
    constexpr std::size_t link_count = 1000;
    rlimit limit{};
    ::getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &limit);
    REQUIRE(limit.rlim_cur > 2 * link_count + 100);
    const auto header = std::string("\0\x10\0\0", 4);
    const auto small = std::string("\0\0\0\5small", 9);
    for (const auto& announced : {header + "little", header + std::string(large / 64, 'x')}) {
        CAPTURE(announced.size());
        ManyLinks<LengthPrefix> links{link_count + 1};
        links.send_each(small, 5);
        const auto before = used_bytes();
        for (std::size_t i = 0; i < link_count; ++i)
            links.peers[i].send(announced);
        for (int i = 0; i < 10; ++i) { // behind all those, so they have been read
            links.peers.back().send(small);
            REQUIRE(links.feed.receive(10s).value().size() == 5);
            links.peers.back().send(header + std::string(large, 'y'));
            REQUIRE(links.feed.receive(10s).value().size() == large);
        }
        const auto after = used_bytes();
        const auto come = link_count * announced.size();
        const auto grown = after - before;
        MESSAGE(grown, " bytes for ", come, " that have come");
        CHECK(grown < (8u << 20) + 3 * come + link_count * (8u << 10));
        constexpr std::size_t completed = 50;
        for (std::size_t i = 0; i < completed; ++i)
            links.peers[i].send(std::string(header.size() + large - announced.size(), 'z'));
        for (std::size_t i = 0; i < completed; ++i)
            REQUIRE(links.feed.receive(10s).value().size() == large);
    }
}

} // namespace memory_test
