#include "loop/virtual_time.hpp"

namespace sidecar::detail {

void VirtualSleepers::add(std::shared_ptr<Ticket> ticket)
{
    std::erase_if(tickets_, [](const auto& entry) { return entry.first->has_ended(); });
    if (!ticket->count(count_))
        return;
    tickets_.emplace_back(ticket, timers_.at(ticket->deadline, [ticket] { ticket->expire(); }));
}

} // namespace sidecar::detail
