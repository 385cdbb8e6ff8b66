// Which connection of its link a message came on.
#pragma once

#include "queue/link_events.hpp"

#include <sidecar/message.hpp>

#include <cstdint>
#include <unordered_map>

namespace sidecar::detail {

/// Follows the events of links as they are taken, so that no message has to carry the number of its
/// connection through the ring. Only links that came back are in it; for the others it costs a look
/// whether there are any. Owned by the inbox. Side: app, who consumes.
class ConnectionNumbers {
public:
    [[nodiscard]] std::uint32_t of(LinkId link) { return numbers_.empty() ? 1 : look_up(link); }
    void note(const LinkEvent& event)
    {
        const bool is_end = (event.kind == Event::Kind::down || event.kind == Event::Kind::retry)
                            && !event.next_attempt;
        if (event.kind == Event::Kind::up && event.connection > 1)
            numbers_[event.link] = event.connection;
        else if (is_end)
            numbers_.erase(event.link);
        else
            return;
        last_number_ = 0;
    }

private:
    [[nodiscard]] std::uint32_t look_up(LinkId link)
    {
        if (link != last_link_ || last_number_ == 0) {
            const auto found = numbers_.find(link);
            last_link_ = link;
            last_number_ = found == numbers_.end() ? 1 : found->second;
        }
        return last_number_;
    }

    std::unordered_map<LinkId, std::uint32_t> numbers_; // app side; above 1
    LinkId last_link_{};                                // app side; that was asked for,
    std::uint32_t last_number_ = 0;                     // app side; and its number; 0: not known
};

} // namespace sidecar::detail
