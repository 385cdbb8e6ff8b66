#include "dial_plan.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace sidecar::stream {

std::vector<Endpoint> alternate_families(const std::vector<boost::asio::ip::address>& addresses,
                                         std::uint16_t port)
{
    std::vector<Endpoint> first, other, ordered;
    for (const auto& address : addresses)
        (address.is_v6() == addresses.front().is_v6() ? first : other).emplace_back(address, port);
    for (std::size_t i = 0; i < std::max(first.size(), other.size()); ++i) {
        if (i < first.size())
            ordered.push_back(first[i]);
        if (i < other.size())
            ordered.push_back(other[i]);
    }
    return ordered;
}

std::string to_text(const Endpoint& endpoint)
{
    const auto address = endpoint.address().to_string();
    return endpoint.address().is_v6() ? fmt::format("[{}]:{}", address, endpoint.port())
                                      : fmt::format("{}:{}", address, endpoint.port());
}

bool is_without_resources(error_code ec) noexcept
{
    if (ec.category() != boost::system::system_category()
        && ec.category() != boost::system::generic_category())
        return false;
    switch (ec.value()) {
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
    case ENOSPC: return true; // the last: of the descriptors that an epoll may watch
    default: return false;
    }
}

DialPlan::DialPlan(std::vector<Endpoint> endpoints, TimePoint now) : next_at_{now}
{
    for (auto& endpoint : endpoints)
        attempts_.push_back({.endpoint = std::move(endpoint)});
}

std::optional<std::size_t> DialPlan::next(TimePoint now)
{
    if (now < next_at())
        return std::nullopt;
    next_at_ = now + attempt_delay;
    return begun_++;
}

TimePoint DialPlan::next_at() const noexcept
{
    return begun_ < attempts_.size() ? next_at_ : TimePoint::max();
}

void DialPlan::failed(std::size_t attempt, error_code ec, TimePoint now, std::string why)
{
    auto& a = attempts_.at(attempt);
    a.has_failed = true;
    a.ec = ec;
    a.why = std::move(why);
    next_at_ = now;
}

bool DialPlan::is_over() const noexcept
{
    return begun_ == attempts_.size()
           && std::all_of(attempts_.begin(), attempts_.end(),
                          [](const Attempt& a) { return a.has_failed; });
}

std::string DialPlan::describe() const
{
    std::string text;
    const char* separator = "";
    for (std::size_t i = 0; i < begun_; ++i) {
        if (attempts_[i].has_failed)
            continue;
        text += std::exchange(separator, " and ") + to_text(attempts_[i].endpoint);
    }
    if (const auto failed = describe_failed(); !failed.empty())
        text += fmt::format("; {}", failed);
    return text;
}

std::string DialPlan::describe_won(std::size_t attempt) const
{
    const auto failed = describe_failed();
    return fmt::format("to {}{}{}", to_text(attempts_.at(attempt).endpoint),
                       failed.empty() ? "" : "; ", failed);
}

std::string DialPlan::describe_failed() const
{
    std::string text;
    for (const auto& a : attempts_)
        if (a.has_failed)
            text += fmt::format("{}{}: {}", text.empty() ? "" : "; ", to_text(a.endpoint),
                                a.why.empty() ? a.ec.message() : a.why);
    return text;
}

Failure DialPlan::failure(std::string endpoint) const
{
    FailureDetails details{.attempted = "connect", .endpoint = std::move(endpoint)};
    if (attempts_.size() == 1) {
        details.cause = attempts_[0].ec;
        details.explanation = attempts_[0].why;
    } else {
        details.explanation = describe_failed();
    }
    const auto refused = std::find_if(attempts_.begin(), attempts_.end(),
                                      [](const Attempt& a) { return is_without_resources(a.ec); });
    if (refused == attempts_.end())
        return {Error::connect_failed, std::move(details)};
    details.cause = refused->ec;
    return {Error::no_resources, std::move(details)};
}

} // namespace sidecar::stream
