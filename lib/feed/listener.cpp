// Listener: the calls of one listener; and those of Feed that are about listeners.
#include <sidecar/listener.hpp>

#include "base/failures.hpp"
#include "feed/call.hpp"
#include "feed/run.hpp"
#include "feed/validate_options.hpp"
#include "queue/memory_budget.hpp"

#include <fmt/format.h>

#include <charconv>
#include <utility>

namespace sidecar {

using namespace detail;

namespace {

/// Checks a message against a listener. Errors: bad_message, too_big.
Result<void> validate_broadcast(Clients& clients, const SharedMessage& message)
{
    const auto& listener = clients.listener();
    const auto view = message.view();
    if (auto valid = validate_message(listener, view.kind(), view.bytes()); !valid)
        return of_call(valid.error(), "broadcast", listener.endpoint());
    if (const auto max_bytes = clients.outbox_limits().bytes; message.size() > max_bytes)
        return Failure{Error::too_big,
                       {.attempted = "broadcast",
                        .endpoint = listener.endpoint(),
                        .explanation = fmt::format("{} bytes, a client's outbox takes at most {}",
                                                   message.size(), max_bytes)}};
    return {};
}

Result<std::size_t> broadcast_to(const std::vector<std::shared_ptr<Clients>>& listeners,
                                 const StopRequest& stop, MessageKind kind,
                                 std::span<const std::byte> payload,
                                 const BroadcastOptions& options)
{
    constexpr auto attempted = "broadcast";
    if (stop.is_made())
        return Failure{stop.refusal(), {.attempted = attempted}};
    if (!options.retain_as.empty() && (options.to || !options.group.empty()))
        return Failure{
            Error::bad_options,
            {.attempted = attempted, .explanation = "retain_as is for broadcasts to all clients"}};
    const auto message = std::make_shared<SharedMessage>(kind, payload);
    for (const auto& clients : listeners)
        if (auto valid = validate_broadcast(*clients, *message); !valid)
            return valid.error();
    std::size_t count = 0;
    for (const auto& clients : listeners)
        count += clients->broadcast(message, options);
    return count;
}

Failure no_client(const char* attempted)
{
    return {Error::misuse,
            {.attempted = attempted, .explanation = "the link is no listener's client"}};
}

} // namespace

// --- of Feed

Result<Listener> Feed::open_listener(std::shared_ptr<const LinkConfig> config, LinkOptions clients,
                                     Duration timeout)
{
    auto link = open_link(std::move(config), std::move(clients), timeout);
    if (!link)
        return link.error();
    return Listener{*std::move(link)};
}

Result<Listener> Feed::first_listener()
{
    auto first = link();
    if (!first)
        return first.error();
    if (!first->link_->clients())
        return Failure{
            Error::misuse,
            {.attempted = "find the listener", .explanation = "the feed has no listener"}};
    return Listener{*std::move(first)};
}

Result<std::size_t> Feed::broadcast_message(MessageKind kind, std::span<const std::byte> payload,
                                            const BroadcastOptions& options)
{
    const Call call{*this};
    if (auto failure = call.refused("broadcast", false))
        return std::move(*failure);
    const auto listeners = call->links().listeners();
    if (listeners.empty() && !call->stop_request().is_made())
        return of_call(Failure{Error::misuse, {.explanation = "the feed has no listener"}},
                       "broadcast", {});
    return broadcast_to(listeners, call->stop_request(), kind, payload, options);
}

Result<Link> Feed::link(LinkId id)
{
    const Call call{*this};
    if (auto failure = call.refused("find the link", false))
        return std::move(*failure);
    auto link = call->links().find(id);
    if (!link)
        return Failure{Error::link_closed,
                       {.attempted = "find the link",
                        .explanation = fmt::format("there is no link {}, or it has ended",
                                                   static_cast<std::uint32_t>(id))}};
    return Link{call->shared_from_this(), std::move(link), call.runs()->fork_generation()};
}

// --- of Listener

std::string Listener::address() const { return link_.connection_info().local; }

std::uint16_t Listener::port() const
{
    const auto local = address();
    const auto colon = local.rfind(':');
    std::uint16_t port = 0;
    if (!local.starts_with("unix:") && colon != local.npos)
        std::from_chars(local.data() + colon + 1, local.data() + local.size(), port);
    return port;
}

std::vector<Link> Listener::clients() const
{
    std::vector<Link> links;
    if (!link_.can_look())
        return links;
    for (auto& client : link_.link_->clients()->all())
        links.push_back(Link{link_.run_, std::move(client), link_.fork_generation_});
    return links;
}

std::size_t Listener::client_count() const
{
    return link_.can_look() ? link_.link_->clients()->count() : 0;
}

Result<std::size_t> Listener::broadcast_message(MessageKind kind,
                                                std::span<const std::byte> payload,
                                                const BroadcastOptions& options)
{
    if (auto failure = link_.refused("broadcast"))
        return std::move(*failure);
    if (link_.link_->is_over())
        return link_.link_->refusal("broadcast");
    return broadcast_to({link_.link_->clients()->shared_from_this()}, link_.run_->stop_request(),
                        kind, payload, options);
}

Result<void> Listener::retain_message(std::string key, MessageKind kind,
                                      std::span<const std::byte> payload)
{
    if (auto failure = link_.refused("retain"))
        return std::move(*failure);
    if (key.empty())
        return Failure{Error::bad_options,
                       {.attempted = "retain", .explanation = "the key is empty"}};
    if (link_.link_->is_over())
        return link_.link_->refusal("retain");
    const auto message = std::make_shared<SharedMessage>(kind, payload);
    auto& clients = *link_.link_->clients();
    if (auto valid = validate_broadcast(clients, *message); !valid)
        return valid;
    clients.retain(std::move(key), message);
    return {};
}

bool Listener::forget(std::string_view key)
{
    return !link_.refused("forget") && link_.link_->clients()->forget(key);
}

Stats Listener::stats() const
{
    if (!link_.can_look())
        return {};
    auto stats = Links::stats_of(*link_.link_);
    for (const auto& client : link_.link_->clients()->all())
        Links::add_all(stats, *client);
    return stats;
}

Result<void> Listener::close(Duration timeout, CloseReason reason)
{
    if (auto failure = link_.refused("close"))
        return std::move(*failure);
    if (auto valid = validate_close(reason); !valid)
        return of_call(valid.error(), "close", link_.link_->endpoint());
    const auto deadline = link_.run_->deadline_of(timeout);
    if (auto closed = link_.close(timeout); !closed)
        return closed;
    return link_.run_->explain(link_.link_->clients()->close(deadline, reason));
}

// --- of Link

Result<void> Link::join(std::string group)
{
    if (auto failure = refused("join"))
        return std::move(*failure);
    if (group.empty())
        return Failure{Error::bad_options,
                       {.attempted = "join", .explanation = "the group has no name"}};
    if (!link_->client_of())
        return no_client("join");
    return link_->client_of()->join(*link_, std::move(group)) ? Result<void>{}
                                                              : link_->refusal("join");
}

Result<bool> Link::leave(std::string_view group)
{
    if (auto failure = refused("leave"))
        return std::move(*failure);
    if (!link_->client_of())
        return no_client("leave");
    return link_->client_of()->leave(*link_, group);
}

} // namespace sidecar
