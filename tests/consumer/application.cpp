#include "application.hpp"

using namespace std::chrono_literals;

std::vector<std::string> collect(sidecar::Feed& feed, std::size_t count)
{
    std::vector<std::string> messages;
    feed.send(R"({"op":"subscribe"})").value();
    while (messages.size() < count) {
        const auto message = feed.receive(5s);
        if (!message)
            break;
        messages.emplace_back(message->text());
    }
    return messages;
}
