// The part of LinkQueue that converts the ends of links to failures.
#include "queue/link_queue.hpp"

#include <fmt/format.h>

#include <cerrno>
#include <utility>

namespace sidecar::detail {

bool ends_call(const Event& event) noexcept
{
    const bool is_end = event.kind == Event::Kind::down
                        || (event.kind == Event::Kind::retry && !event.next_attempt);
    // Not link_closed: the application itself has closed the link. Not a listener's client: they
    // come and go.
    return event.kind == Event::Kind::gap
           || (is_end && !event.client && !(event.failure == Error::link_closed));
}

Failure as_end(const Failure& why) noexcept
{
    if (!(why == Error::timed_out))
        return why;
    try {
        auto end = Failure{Error::connect_failed,
                           {.attempted = why.attempted(),
                            .endpoint = why.endpoint(),
                            .cause = error_code{ETIMEDOUT, boost::system::system_category()},
                            .explanation = why.explanation(),
                            .trace = why.trace()}}
                       .with_retry(why.will_retry());
        return why.link() ? end.with_link(*why.link()) : end;
    } catch (...) { // no memory
        return Error::connect_failed;
    }
}

Failure to_failure(Event event)
{
    if (event.failure)
        return as_end(*event.failure);
    const Failure gap{
        Error::gap,
        {.attempted = "receive",
         .endpoint = fmt::format("link {}", static_cast<std::uint32_t>(event.link)),
         .explanation = fmt::format("{}, {}", event.missing, to_string(event.gap_reason))}};
    return gap.with_link(event.link).with_retry(true);
}

} // namespace sidecar::detail
