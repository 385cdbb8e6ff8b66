#include "output.hpp"

#include <doctest/doctest.h>

#include <csignal>
#include <fcntl.h>
#include <poll.h>
#include <string>
#include <sys/socket.h>
#include <unistd.h>

using namespace sidecar_cat;

namespace {

/// Both ends of a pipe or of a pair of sockets.
struct Ends {
    int reading = -1, writing = -1;
    ~Ends()
    {
        close_reading();
        ::close(writing);
    }
    void close_reading()
    {
        if (reading >= 0)
            ::close(reading);
        reading = -1;
    }
    std::string read_all() const
    {
        std::string all;
        char piece[65536];
        ::pollfd entry{reading, POLLIN, 0};
        while (::poll(&entry, 1, 0) == 1) {
            const auto got = ::read(reading, piece, sizeof piece);
            if (got <= 0)
                break;
            all.append(piece, static_cast<std::size_t>(got));
        }
        return all;
    }
};

Ends make_ends(bool is_socket)
{
    int ends[2];
    REQUIRE((is_socket ? ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends)
                       : ::pipe2(ends, O_CLOEXEC))
            == 0);
    return {ends[0], ends[1]};
}

} // namespace

TEST_CASE("output: a reader who stands still never makes it wait, and loses nothing")
{
    for (const bool is_socket : {false, true}) {
        auto ends = make_ends(is_socket);
        Output output{ends.writing};
        CHECK(output.poll_events() == 0);
        std::string sent;
        for (int i = 0; i < 200'000; ++i)
            sent += std::to_string(i) + '\n';
        output.text() = sent;
        std::string got;
        output.write();
        CHECK(output.pending_bytes() != 0);
        CHECK(output.poll_events() == POLLOUT);
        while (output.pending_bytes() != 0) {
            got += ends.read_all();
            output.write();
        }
        got += ends.read_all();
        CHECK(got == sent);
        CHECK(output.poll_events() == 0);
    }
}

TEST_CASE(
    "output: a reader who has gone is noticed with and without something to write, and is no error")
{
    std::signal(SIGPIPE, SIG_IGN);
    for (const bool is_socket : {false, true}) {
        auto ends = make_ends(is_socket);
        Output output{ends.writing};
        ends.close_reading();
        ::pollfd entry{ends.writing, output.poll_events(), 0};
        REQUIRE(::poll(&entry, 1, 1000) == 1);
        output.note_poll(entry.revents);
        CHECK(output.is_gone());
        Output other{ends.writing};
        other.text() = "x";
        other.write();
        CHECK(other.is_gone());
        CHECK(other.error().empty());
        CHECK(other.pending_bytes() == 0);
    }
}

TEST_CASE("output: what the system refuses is told")
{
    const int full = ::open("/dev/full", O_WRONLY | O_CLOEXEC);
    Output output{full};
    output.text() = "x";
    output.write();
    CHECK(output.is_gone());
    CHECK(output.error() == "No space left on device");
    ::close(full);
}
