#include "simulation/wire.hpp"

#include "simulation/memory.hpp"

#include <boost/asio/error.hpp>

#include <algorithm>
#include <cstring>

namespace simulation {

using sidecar::Context, sidecar::Error, sidecar::Exception, sidecar::Failure, sidecar::MessageKind,
    sidecar::Sink, sidecar::Task;
namespace asio = boost::asio;

namespace {

std::span<const std::byte> bytes_of(const std::string& text)
{
    return std::as_bytes(std::span{text});
}

} // namespace

Wire::Wire(const Options& options)
    : peer_{options.peer},
      link_{peer_->link},
      plan_{peer_->plan},
      number_{++peer_->connect_count},
      random_{peer_->seed ^ (number_ * 0x9e3779b97f4a7c15)}
{
    peer_->present = this;
    peer_->subscribed.clear();
}

Wire::~Wire()
{
    peer_->waiting = 0;
    peer_->model.connect_ends(*link_, number_);
    if (peer_->present != this)
        return;
    peer_->present = nullptr;
    peer_->is_connected = false;
}

void Peer::be_good()
{
    is_good = true;
    if (present)
        present->wake();
}

void Wire::note(const Context& ctx, std::string text) const
{
    if (peer_->note)
        peer_->note(fmt::format("{:10.6f}   peer {} connect {}: {}", seconds(ctx.now()),
                                link_->name, number_, text));
}

void Wire::abort() noexcept
{
    is_aborted_ = true;
    wake();
}

void Wire::wake() noexcept
{
    for (auto* event : {&connect_, &read_, &write_, &ping_, &close_})
        event->set();
}

/// Lets `delay` ms pass (-1: for ever), unless the peer is good or the connection is aborted.
Task<> Wire::pass(Context ctx, sidecar::LoopEvent& event, int delay, bool ends_with_connection)
{
    const auto until = delay < 0 ? TimePoint::max() : ctx.now() + milliseconds(delay);
    for (;;) {
        if (is_aborted_)
            throw boost::system::system_error{asio::error::operation_aborted};
        if (ends_with_connection && is_over_)
            throw boost::system::system_error{asio::error::broken_pipe};
        if (!(is_silent() && ends_with_connection) && (is_good() || ctx.now() >= until))
            co_return;
        (void)co_await ctx.wait(event,
                                is_silent() && ends_with_connection ? TimePoint::max() : until);
    }
}

Task<> Wire::connect(Context ctx)
{
    note(ctx, "connect");
    co_await pass(ctx, connect_, plan_.connect_delay, false);
    if (!is_good() && random_.percent(plan_.refuses))
        throw Exception{
            Failure{Error::connect_failed, {.attempted = "connect", .endpoint = "wire"}}};
    peer_->is_connected = true;
    if (plan_.period > 0)
        next_burst_ = ctx.now() + milliseconds(plan_.period);
    if (plan_.life > 0)
        ends_at_ = ctx.now() + milliseconds(random_.below(plan_.life) + 1);
}

// --- what the peer sends

void Wire::add(Incoming next, Duration delay, TimePoint now)
{
    const Uncounted uncounted;
    if (delay > Duration{})
        later_.emplace(now + delay, std::move(next));
    else {
        incoming_.push_back(std::move(next));
        ++peer_->waiting;
    }
    read_.set();
}

/// A text that says where it comes from, as far as its size has room for that; the last character
/// is its key.
std::string Wire::make_message()
{
    auto text = fmt::format("d{}.{}.", link_->name, ++peer_->message_count);
    auto size = plan_.size;
    if (size < 0) { // any
        constexpr int sizes[] = {0, 1, 12, 31, 32, 33, 96, 97, 500, 1'000, 4'000};
        size = random_.percent(10) ? plan_.max_message : sizes[random_.below(11)];
    }
    if (plan_.policy == static_cast<int>(sidecar::OverflowPolicy::conflate) || plan_.prepares)
        size = std::max(size, 16); // all differ
    size = std::min(size, plan_.max_message);
    text.resize(static_cast<std::size_t>(size), static_cast<char>('A' + peer_->message_count % 23));
    if (size >= 12)
        text.back() = static_cast<char>('0' + random_.below(3));
    return text;
}

void Wire::produce(TimePoint now)
{
    const Uncounted uncounted;
    for (auto next = later_.begin(); next != later_.end() && next->first <= now;
         next = later_.erase(next)) {
        incoming_.push_back(std::move(next->second));
        ++peer_->waiting;
    }
    while (next_burst_ <= now && produced_ < plan_.total && !is_good() && !is_over_) {
        for (int i = 0; i < plan_.burst && produced_ < plan_.total; ++i, ++produced_) {
            incoming_.push_back({.text = make_message()});
            ++peer_->waiting;
        }
        next_burst_ = now + milliseconds(plan_.period);
    }
    if (now < ends_at_ || is_good())
        return;
    if (plan_.end == 3)
        is_silent_ = true;
    else
        is_over_ = true;
}

TimePoint Wire::next_production() const
{
    auto next = later_.empty() ? TimePoint::max() : later_.begin()->first;
    if (!is_good() && !is_over_) {
        if (produced_ < plan_.total)
            next = std::min(next, next_burst_);
        if (!is_silent_)
            next = std::min(next, ends_at_);
    }
    return next;
}

void Wire::fail()
{
    write_.set();
    ping_.set();
    if (plan_.end == 0 || plan_.end == 3)
        throw Exception{
            Failure{Error::disconnected,
                    {.attempted = "read", .endpoint = "wire", .cause = asio::error::eof}}};
    throw Exception{Failure{Error::closed_by_peer,
                            {.attempted = "read",
                             .endpoint = "wire",
                             .close_code = std::uint16_t(plan_.end == 1 ? 1000 : 1012)}}};
}

// --- reading

/// Gives one message in the way of this peer. False: there is no room.
bool Wire::give(Sink& sink, const std::string& text, TimePoint now)
{
    const auto kind = text.size() % 2 == 0 ? MessageKind::text : MessageKind::binary;
    const int style = plan_.read_style == 3 ? random_.below(3) : plan_.read_style;
    auto payload = bytes_of(text);
    if (in_place_ || (style == 2 && text.size() > 64))
        return give_in_place(sink, text, now);
    if (style == 1) {
        const auto memory = sink.receive_buffer(text.size() + 1);
        if (memory.size() > text.size()) {
            std::memcpy(memory.data(), text.data(), text.size());
            payload = memory.first(text.size());
        }
    }
    peer_->model.arrives(*link_, text, number_, now);
    bool is_put = false;
    try {
        is_put = sink.put(kind, payload);
    } catch (...) {
        peer_->model.not_arrived(*link_);
        throw;
    }
    if (!is_put)
        peer_->model.not_arrived(*link_);
    return is_put;
}

bool Wire::give_in_place(Sink& sink, const std::string& text, TimePoint now)
{
    if (!in_place_) {
        const auto memory = sink.prepare(text.size());
        if (memory.empty()) {
            peer_->model.arrives(*link_, text, number_, now);
            bool is_put = false;
            try {
                is_put = sink.put(MessageKind::binary, bytes_of(text));
            } catch (...) {
                peer_->model.not_arrived(*link_);
                throw;
            }
            if (!is_put)
                peer_->model.not_arrived(*link_);
            return is_put;
        }
        in_place_ = InPlace{.memory = memory};
    }
    auto& [memory, filled, goes_on] = *in_place_;
    const auto part = filled == 0 ? text.size() / 2 : text.size() - filled;
    std::memcpy(memory.data() + filled, text.data() + filled, part);
    filled += part;
    sink.on_bytes();
    if (filled < text.size()) {
        goes_on = now + milliseconds(1); // the rest comes with a later read
        return false;
    }
    in_place_.reset();
    peer_->model.arrives(*link_, text, number_, now);
    sink.commit(MessageKind::binary);
    return true;
}

Task<> Wire::read(Context ctx, Sink& sink)
{
    for (;;) {
        if (is_aborted_)
            throw boost::system::system_error{asio::error::operation_aborted};
        produce(ctx.now());
        if (!incoming_.empty() && !is_silent() && (!in_place_ || ctx.now() >= in_place_->goes_on))
            break;
        if (is_over_)
            fail();
        auto next = is_silent() ? TimePoint::max() : next_production();
        if (in_place_)
            next = std::min(next, in_place_->goes_on);
        (void)co_await ctx.wait(read_, next);
    }
    const int limit = plan_.read_limit == 0 ? INT32_MAX : plan_.read_limit;
    bool is_first = true;
    for (int count = 0; count < limit && !incoming_.empty(); ++count) {
        auto& front = incoming_.front();
        if (front.is_pong) {
            sink.on_bytes();
            sink.on_pong(bytes_of(front.text));
        } else {
            sink.on_bytes();
            if (!give(sink, front.text, ctx.now())) {
                // A read's first message was promised room
                if (is_first && !in_place_)
                    peer_->model.complain("link {}: a read's first message found no room",
                                          link_->name);
                co_return;
            }
            is_first = false;
        }
        incoming_.pop_front();
        --peer_->waiting;
    }
}

// --- writing

void Wire::is_written(std::string_view text, TimePoint handed, TimePoint now)
{
    peer_->model.writes(*link_, text, number_, handed, now);
    if (peer_->on_written)
        peer_->on_written(text);
}

void Wire::answer(std::string_view text, TimePoint now)
{
    const auto delay = is_good() ? Duration{} : milliseconds(plan_.answer_delay);
    const bool answers = is_good() || random_.percent(plan_.answers);
    const auto say = [&](std::string what) {
        if (answers)
            add({.text = std::move(what)}, delay, now);
    };
    if (text.starts_with("sub "))
        peer_->subscribed.emplace(text);
    if (text.starts_with("sub ") || text.starts_with("uns "))
        say(fmt::format("ack {} {}", text.substr(4), ++peer_->message_count));
    else if (text.starts_with("login"))
        say(fmt::format("welcome {}", number_));
    else if (text.starts_with("heart"))
        say(fmt::format("beat {}.{}", link_->name, ++peer_->message_count));
    else if (text.starts_with("m") && random_.percent(plan_.echoes))
        add({.text = make_message()}, delay, now);
}

Task<> Wire::write(Context ctx, sidecar::Batch batch)
{
    const auto handed = ctx.now();
    peer_->model.is_handed(*link_, number_);
    std::vector<std::string> texts;
    {
        const Uncounted uncounted;
        for (const auto& message : batch)
            texts.emplace_back(message.text());
    }
    if (texts.empty()) {
        peer_->model.complain("link {}: an empty batch", link_->name);
        co_return;
    }
    note(ctx, fmt::format("write {} \"{}\"", texts.size(), texts.front().substr(0, 20)));
    auto at = batch.begin();
    // Borrowed until write() returns, whatever ends meanwhile
    const auto look_at_rest = [&](std::size_t first) {
        auto rest = at;
        for (auto i = first; i < texts.size(); ++i, ++rest)
            peer_->model.require(rest != batch.end() && rest->text() == texts[i],
                                 "link {}: the batch changed when its connection ended",
                                 link_->name);
    };
    std::size_t unmarked = 0, done = 0, marked = 0;
    struct Unfinished { // of a batch without marks each message may be written in part
        Wire& wire;
        const std::vector<std::string>& texts;
        const std::size_t& marked;
        bool is_done = false;
        ~Unfinished()
        {
            const auto end = marked == 0 ? texts.size() : std::min(marked + 1, texts.size());
            for (auto i = marked; i < end && !is_done; ++i)
                wire.peer_->model.doubts(*wire.link_, texts[i]);
        }
    } unfinished{*this, texts, marked};
    try {
        co_await pass(ctx, write_, plan_.write_delay, true);
    } catch (...) {
        look_at_rest(0);
        throw;
    }
    for (const auto& text : texts) {
        peer_->model.require(at != batch.end() && at->text() == text,
                             "link {}: the batch changed while its write waited: \"{}\" was \"{}\"",
                             link_->name, at == batch.end() ? "" : at->text().substr(0, 20),
                             text.substr(0, 20));
        if (!is_good() && random_.percent(plan_.write_fails)) {
            is_over_ = true;
            read_.set();
            throw boost::system::system_error{asio::error::broken_pipe};
        }
        if (at == batch.end())
            break;
        ++at;
        ++unmarked;
        ++done;
        if (plan_.marks) {
            is_written(text, handed, ctx.now());
            batch.mark_written(std::exchange(unmarked, 0));
            ++marked;
            answer(text, ctx.now());
        }
        if (plan_.message_delay > 0 && done < texts.size()) {
            try {
                co_await pass(ctx, write_, plan_.message_delay, true);
            } catch (...) {
                look_at_rest(done);
                throw;
            }
        }
    }
    unfinished.is_done = true;
    peer_->model.require(at == batch.end(), "link {}: the batch grew while it was written",
                         link_->name);
    if (plan_.marks)
        co_return;
    for (const auto& text : texts) {
        is_written(text, handed, ctx.now());
        answer(text, ctx.now());
    }
}

Task<> Wire::ping(Context ctx, std::span<const std::byte> payload)
{
    std::string text{reinterpret_cast<const char*>(payload.data()), payload.size()};
    note(ctx, "ping");
    co_await pass(ctx, ping_, 0, true);
    if (!is_good() && random_.percent(plan_.ping_fails)) // the write goes on
        throw boost::system::system_error{asio::error::broken_pipe};
    if (plan_.pong_delay >= 0 || is_good())
        add({.text = std::move(text), .is_pong = true},
            is_good() ? Duration{} : milliseconds(plan_.pong_delay), ctx.now());
}

Task<> Wire::close(Context ctx, sidecar::CloseReason reason)
{
    note(ctx, fmt::format("close {}", reason.code));
    peer_->model.closes(*link_, number_);
    co_await pass(ctx, close_, plan_.close_delay, false);
}

} // namespace simulation
