// Request and reply over TCP, one line each: sends a question and waits for its answer.
//   02_request_reply host port
#include <sidecar/sidecar.hpp>
#include <sidecar/transports/tcp.hpp>

#include <fmt/format.h>

#include <cstdlib>
#include <string>
#include <string_view>

using namespace std::chrono_literals;

namespace {

/// Sends a question and returns the answer with the same number. Skips other messages.
sidecar::Result<std::string> ask(sidecar::Feed& feed, int number, std::string_view question)
{
    const auto tag = fmt::format("{} ", number);
    if (const auto sent = feed.send(tag + std::string{question}, 1s); !sent)
        return sent.error();
    for (;;) {
        const auto answer = feed.receive(2s);
        if (!answer)
            return answer.error(); // timed_out, or why the connection is gone
        if (answer->text().starts_with(tag))
            return std::string{answer->text().substr(tag.size())};
        fmt::print("not for us: {}\n", answer->text());
    }
}

} // namespace

int main(int argc, char** argv)
{
    if (argc != 3)
        return fmt::print(stderr, "usage: 02_request_reply host port\n"), 64;
    const auto port = static_cast<std::uint16_t>(std::atoi(argv[2]));
    sidecar::Sidecar<sidecar::Tcp<sidecar::Lines>> feed{{.host = argv[1], .port = port}};
    feed.start(5s).value();
    int number = 0;
    for (const std::string_view question : {"who are you?", "what time is it?"}) {
        const auto answer = ask(feed, ++number, question);
        if (!answer)
            return fmt::print(stderr, "{}\n", answer.error()), 1;
        fmt::print("{} -> {}\n", question, *answer);
    }
}
