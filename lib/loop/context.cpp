#include "loop/context.hpp"

#include "base/journal.hpp"
#include "loop/event_loop.hpp"
#include "loop/lookup.hpp"
#include "loop/phase_note.hpp"

namespace sidecar {

std::string_view to_string(Phase phase) noexcept
{
    switch (phase) {
    case Phase::resolving: return "resolving the name";
    case Phase::connecting: return "connecting";
    case Phase::tunnelling: return "asking the proxy for a tunnel";
    case Phase::securing: return "in the TLS handshake";
    case Phase::handshaking: return "in the handshake";
    case Phase::restoring: return "restoring";
    case Phase::open: return "open";
    case Phase::closing: return "closing";
    case Phase::down: return "down";
    case Phase::backing_off: return "backing off";
    }
    return "in an unknown phase";
}

namespace detail {

#if defined(BOOST_ASIO_NO_TYPEID)
void the_library_must_be_compiled_with_fno_rtti_like_this_file() noexcept {}
#else
void the_library_must_be_compiled_with_rtti_like_this_file() noexcept {}
#endif

boost::asio::any_io_executor TaskContext::executor() { return loop_.tasks().executor(task_); }

TimePoint TaskContext::now() const { return loop_.now(); }

Task<> TaskContext::sleep_until(TimePoint when)
{
    waiting_for("a point in time");
    return loop_.sleep_until(when);
}

Task<bool> TaskContext::wait(LoopEvent& event, TimePoint deadline)
{
    return loop_.wait(event, deadline);
}

Task<std::vector<boost::asio::ip::address>> TaskContext::resolve(std::string host)
{
    return look_up(loop_, std::move(host));
}

void TaskContext::phase(Phase phase, std::string_view detail)
{
    if (link_)
        link_->set_phase(phase, detail);
    waiting_for(to_string(phase).data());
}

void TaskContext::negotiated(std::string_view protocol)
{
    if (link_)
        link_->set_protocol(protocol);
}

void TaskContext::tried(std::string_view address, std::string_view outcome, Duration took)
{
    if (link_)
        link_->note_tried(address, outcome, took);
}

void TaskContext::waiting_for(const char* what) { task_.waiting(what, loop_.now()); }

void TaskContext::log(LogLevel level, std::string_view text) { loop_.journal().log(level, text); }

} // namespace detail
} // namespace sidecar
