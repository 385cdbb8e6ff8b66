#include "loop/virtual_time.hpp"

namespace sidecar::detail {

void VirtualSleepers::add(std::shared_ptr<Ticket> ticket)
{
    std::erase_if(tickets_,
                  [](const auto& entry) { return entry.first->point->has_ended(*entry.first); });
    if (!ticket->point->count(*ticket, count_))
        return;
    tickets_.emplace_back(
        ticket, timers_.at(ticket->deadline, [ticket] { ticket->point->expire(*ticket); }));
}

} // namespace sidecar::detail
