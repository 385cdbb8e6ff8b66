#include "loop/phase_tracker.hpp"

#include "base/text.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <utility>

namespace sidecar {

std::string_view ConnectionInfo::header(std::string_view name) const noexcept
{
    const auto found = std::find_if(headers.begin(), headers.end(), [&](const auto& header) {
        return detail::equal_in_any_case(header.first, name);
    });
    return found == headers.end() ? std::string_view{} : std::string_view{found->second};
}

std::string_view to_string(Phase phase) noexcept
{
    switch (phase) {
    case Phase::resolving: return "resolving the name";
    case Phase::connecting: return "connecting";
    case Phase::tunnelling: return "asking the proxy for a tunnel";
    case Phase::securing: return "in the TLS handshake";
    case Phase::handshaking: return "in the handshake";
    case Phase::restoring: return "running on_connected";
    case Phase::subscribing: return "waiting for answers to subscriptions";
    case Phase::open: return "open";
    case Phase::closing: return "closing";
    case Phase::down: return "down";
    case Phase::backing_off: return "backing off";
    }
    return "in an unknown phase";
}

namespace detail {
namespace {

void append_text(std::string& packed, std::string_view text)
{
    const auto size = static_cast<std::uint32_t>(text.size());
    packed.append(reinterpret_cast<const char*>(&size), sizeof size).append(text);
}

std::string take_text(std::string_view& packed)
{
    std::uint32_t size = 0;
    std::memcpy(&size, packed.data(), sizeof size);
    std::string text{packed.substr(sizeof size, size)};
    packed.remove_prefix(sizeof size + size);
    return text;
}

/// Puts all but the facts of TLS into one block: as an object they take three times the memory.
std::string pack(const ConnectionInfo& info)
{
    std::string packed;
    append_text(packed, {reinterpret_cast<const char*>(&info.connection), sizeof info.connection});
    append_text(packed,
                {reinterpret_cast<const char*>(&info.http_status), sizeof info.http_status});
    append_text(packed,
                {reinterpret_cast<const char*>(&info.max_send_bytes), sizeof info.max_send_bytes});
    for (const auto* text :
         {&info.peer, &info.local, &info.protocol, &info.path, &info.query, &info.reply_prefix})
        append_text(packed, *text);
    for (const auto& [name, value] : info.headers) {
        append_text(packed, name);
        append_text(packed, value);
    }
    packed.shrink_to_fit();
    return packed;
}

ConnectionInfo unpack(std::string_view packed)
{
    ConnectionInfo info;
    if (packed.empty())
        return info;
    std::memcpy(&info.connection, take_text(packed).data(), sizeof info.connection);
    std::memcpy(&info.http_status, take_text(packed).data(), sizeof info.http_status);
    std::memcpy(&info.max_send_bytes, take_text(packed).data(), sizeof info.max_send_bytes);
    for (auto* text :
         {&info.peer, &info.local, &info.protocol, &info.path, &info.query, &info.reply_prefix})
        *text = take_text(packed);
    while (!packed.empty()) {
        auto name = take_text(packed);
        info.headers.emplace_back(std::move(name), take_text(packed));
    }
    return info;
}

} // namespace

void PhaseTracker::begin_connecting()
{
    const auto now = clock_.now();
    std::lock_guard lock{mutex_};
    phase_ = Phase::connecting; // no step yet: the transport sets the first
    detail_.clear();
    protocol_.clear();
    trace_ = {};
    began_ = step_began_ = now;
    is_connecting_ = true;
}

void PhaseTracker::close_step(ConnectTrace& trace, TimePoint now) const
{
    if (!trace.steps.empty())
        trace.steps.back().elapsed += now - step_began_;
    trace.total = now - began_;
}

void PhaseTracker::end_connecting()
{
    const auto now = clock_.now();
    std::lock_guard lock{mutex_};
    if (is_connecting_)
        close_step(trace_, now);
    is_connecting_ = false;
}

void PhaseTracker::set_phase(Phase phase, std::string_view detail)
{
    const auto now = clock_.now();
    std::lock_guard lock{mutex_};
    phase_ = phase;
    std::string{detail}.swap(detail_); // an open link keeps no memory for it
    if (!is_connecting_)
        return;
    if (phase >= Phase::open) {
        close_step(trace_, now);
        is_connecting_ = false;
        return;
    }
    auto& steps = trace_.steps;
    // The time before the transport's first step belongs to that step.
    if (!steps.empty())
        close_step(trace_, now);
    if (!steps.empty() && steps.back().phase == phase)
        steps.back().detail = detail;
    else if (steps.size() < max_entries)
        steps.push_back({phase, std::string{detail}, steps.empty() ? now - began_ : Duration{}});
    step_began_ = now;
}

void PhaseTracker::set_detail(Phase phase, std::string_view detail)
{
    std::lock_guard lock{mutex_};
    if (phase_ == phase)
        detail_ = detail;
}

void PhaseTracker::set_protocol(std::string_view protocol)
{
    std::lock_guard lock{mutex_};
    protocol_ = protocol;
}

void PhaseTracker::record_tried(std::string_view address, std::string_view outcome,
                                Duration elapsed)
{
    std::lock_guard lock{mutex_};
    if (is_connecting_ && trace_.attempts.size() < max_entries)
        trace_.attempts.push_back({std::string{address}, std::string{outcome}, elapsed});
}

void PhaseTracker::set_connection_info(ConnectionInfo info, std::uint32_t connection)
{
    info.connection = connection;
    info.protocol = protocol();
    auto facts = pack(info);
    auto tls = info.tls ? std::make_shared<const TlsInfo>(*std::move(info.tls)) : nullptr;
    std::lock_guard lock{mutex_};
    facts_.swap(facts);
    tls_.swap(tls);
}

ConnectionInfo PhaseTracker::connection_info() const
{
    std::unique_lock lock{mutex_};
    const auto facts = facts_;
    const auto tls = tls_;
    lock.unlock();
    auto info = unpack(facts);
    if (tls)
        info.tls = *tls;
    return info;
}

std::string PhaseTracker::protocol() const
{
    std::lock_guard lock{mutex_};
    return protocol_;
}

std::string PhaseTracker::text() const
{
    std::lock_guard lock{mutex_};
    std::string text{to_string(phase_)};
    return detail_.empty() ? text : text + " " + detail_;
}

std::string PhaseTracker::text_so_far() const
{
    const auto times = to_string(trace());
    return times.empty() ? text() : text() + " (" + times + ")";
}

ConnectTrace PhaseTracker::trace() const
{
    const auto now = clock_.now();
    std::lock_guard lock{mutex_};
    auto trace = trace_;
    if (is_connecting_)
        close_step(trace, now);
    return trace;
}

} // namespace detail
} // namespace sidecar
