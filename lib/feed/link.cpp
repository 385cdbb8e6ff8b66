// Link: the calls of one link.
#include <sidecar/link.hpp>

#include "base/fork_guard.hpp"
#include "feed/run.hpp"
#include "feed/validate_options.hpp"

#include <utility>

namespace sidecar {
namespace {

detail::SubscriptionMessage subscription_message(MessageKind kind,
                                                 std::span<const std::byte> payload,
                                                 AckPredicate is_answer)
{
    const MessageView view{{}, kind, payload};
    return {kind, std::string{view.text()}, std::move(is_answer)};
}

} // namespace

Link::Link(std::shared_ptr<detail::Run> run, std::shared_ptr<detail::LinkImpl> link,
           std::uint64_t fork_generation) noexcept
    : run_{std::move(run)}, link_{std::move(link)}, fork_generation_{fork_generation}
{
}

Link& Link::operator=(Link other) noexcept
{
    run_.swap(other.run_);
    link_.swap(other.link_);
    std::swap(fork_generation_, other.fork_generation_);
    return *this;
}

/// Returns whether the link can be asked, on virtual time after all that can happen now.
bool Link::can_look() const noexcept
{
    if (!link_ || detail::has_forked_since(fork_generation_))
        return false;
    run_->settle();
    return true;
}

/// Returns why this Link refuses every call; empty: it does not.
std::optional<Failure> Link::refused(const char* attempted) const
{
    if (!link_)
        return Failure{Error::misuse,
                       {.attempted = attempted, .explanation = "this Link was moved from"}};
    if (detail::has_forked_since(fork_generation_))
        return Failure{Error::forked,
                       {.attempted = attempted, .endpoint = link_->config().endpoint()}};
    return std::nullopt;
}

Result<void> Link::send_message(MessageKind kind, std::span<const std::byte> payload,
                                const SendOptions& options)
{
    if (auto failure = refused("send"))
        return std::move(*failure);
    return run_->explain(link_->writer().send(kind, payload, options));
}

Result<Message> Link::request_message(std::string_view topic, MessageKind kind,
                                      std::span<const std::byte> payload, Duration timeout,
                                      std::span<const Header> headers)
{
    if (auto failure = refused("request"))
        return std::move(*failure);
    return run_->explain(link_->requests().request(topic, kind, payload, timeout, headers));
}

Result<void> Link::flush(Duration timeout)
{
    if (auto failure = refused("flush"))
        return std::move(*failure);
    return run_->explain(link_->writer().flush(timeout));
}

LinkId Link::id() const noexcept { return link_ ? link_->id() : LinkId{}; }

bool Link::is_up() const noexcept { return can_look() && link_->is_up(); }

std::string Link::protocol() const { return can_look() ? link_->note().protocol() : std::string{}; }

ConnectionInfo Link::connection_info() const
{
    return can_look() ? link_->note().connection_info() : ConnectionInfo{};
}

Stats Link::stats() const { return can_look() ? detail::Links::stats_of(*link_) : Stats{}; }

std::uint32_t Link::connection() const noexcept
{
    return link_ ? link_->link_state().connection() : 0;
}

Result<void> Link::subscribe_message(std::string key, MessageKind kind,
                                     std::span<const std::byte> payload, AckPredicate is_answer)
{
    if (auto failure = refused("subscribe"))
        return std::move(*failure);
    return link_->writer().subscribe(std::move(key),
                                     subscription_message(kind, payload, std::move(is_answer)));
}

Result<bool> Link::unsubscribe_message(std::string_view key, MessageKind kind,
                                       std::span<const std::byte> payload, AckPredicate is_answer)
{
    if (auto failure = refused("unsubscribe"))
        return std::move(*failure);
    return link_->writer().unsubscribe(key,
                                       subscription_message(kind, payload, std::move(is_answer)));
}

std::optional<SubscriptionState> Link::subscription_state(std::string_view key) const
{
    return can_look() ? link_->subscriptions().state(key) : std::nullopt;
}

SubscriptionCounts Link::subscription_counts() const
{
    return can_look() ? link_->subscriptions().counts() : SubscriptionCounts{};
}

Result<void> Link::close(Duration timeout, CloseReason reason)
{
    if (auto failure = refused("close"))
        return std::move(*failure);
    if (auto valid = detail::validate_close(reason); !valid)
        return Failure{Error::bad_options,
                       {.attempted = "close",
                        .endpoint = link_->endpoint(),
                        .explanation = valid.error().explanation()}};
    return run_->explain(link_->close(timeout, std::move(reason)));
}

} // namespace sidecar
