#include "witness.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <utility>

namespace sidecar::conformance {
namespace {

/// No peer of the kit sends so many messages; a read that puts more would never end.
constexpr std::size_t max_puts = 100'000;

constexpr std::size_t lent_bytes = 64u << 10;

std::string to_string(std::span<const std::byte> bytes)
{
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

} // namespace

std::string show(std::string_view payload)
{
    constexpr std::size_t shown = 24;
    std::string text;
    for (const unsigned char c : payload.substr(0, shown))
        text += c < 0x20 || c >= 0x7f ? fmt::format("\\x{:02x}", c)
                                      : std::string(1, static_cast<char>(c));
    return fmt::format("\"{}\"{} ({} bytes)", text, payload.size() > shown ? "..." : "",
                       payload.size());
}

// --- the verdict

void Verdict::record(int rule, std::string saw)
{
    std::lock_guard lock{mutex_};
    if (!first_)
        first_ = RuleBroken{rule, std::move(saw)};
}

void Verdict::check() const
{
    std::lock_guard lock{mutex_};
    if (first_)
        throw RuleBroken{*first_};
}

bool Verdict::is_foreign(const char* call)
{
    const bool is_foreign = std::this_thread::get_id() != thread_;
    if (is_foreign)
        record(7, fmt::format("{} on another thread than the loop's", call));
    return is_foreign;
}

// --- the sink

bool WitnessSink::must_be_reading(const char* call)
{
    if (verdict_.is_foreign(call))
        return false;
    if (!read_.is_inside())
        verdict_.record(7, fmt::format("{} while no read() runs", call));
    return read_.is_inside();
}

bool WitnessSink::put(MessageKind kind, std::span<const std::byte> payload)
{
    if (!must_be_reading("Sink::put()"))
        return false;
    auto text = to_string(payload);
    if (++puts_ > max_puts) {
        verdict_.record(19, fmt::format("one read() put more than {} messages", max_puts));
        throw Abandoned{};
    }
    if (prepared_)
        verdict_.record(9, "Sink::put() after prepare() and before commit()");
    if (text.size() > max_message_bytes_)
        throw Exception{Failure{Error::too_big,
                                {.attempted = "take in a message",
                                 .explanation = fmt::format("{} bytes; the limit is {}",
                                                            text.size(), max_message_bytes_)}}};
    if (was_refused_) {
        verdict_.record(6, fmt::format("read() put {} after a put was refused", show(text)));
        return false;
    }
    if (!has_room_
        || (refuse_at != 0 && refusals_left != 0 && puts_ >= std::max<std::size_t>(refuse_at, 2))) {
        if (refusals_left != 0)
            --refusals_left;
        ++refusals_;
        has_room_ = false;
        was_refused_ = true;
        owed_ = Sample{kind, std::move(text)};
        return false;
    }
    const auto* const at = payload.data();
    const bool is_in_lent = is_lent_ && !payload.empty() && std::less_equal<>{}(lent_.data(), at)
                            && std::less<>{}(at, lent_.data() + lent_.size());
    if (is_in_lent)
        in_lent_[static_cast<std::size_t>(at - lent_.data())] = text;
    take(kind, std::move(text));
    return true;
}

void WitnessSink::take(MessageKind kind, std::string payload)
{
    Sample sample{kind, std::move(payload)};
    if (const auto owed = std::exchange(owed_, std::nullopt); owed && *owed != sample)
        verdict_.record(6, fmt::format("after a refused put of {}, the next put was {}",
                                       show(owed->payload), show(sample.payload)));
    taken.push_back(std::move(sample));
}

std::span<std::byte> WitnessSink::receive_buffer(std::size_t at_least)
{
    if (!must_be_reading("Sink::receive_buffer()"))
        return {};
    check_lent("at the next receive_buffer()");
    if (!lends_memory)
        return {};
    lent_.assign(std::max(at_least, lent_bytes), std::byte{0});
    is_lent_ = true;
    return lent_;
}

/// Ends the life of the lent memory.
void WitnessSink::check_lent(const char* when)
{
    if (!std::exchange(is_lent_, false))
        return;
    for (const auto& [at, text] : std::exchange(in_lent_, {}))
        if (to_string(std::span{lent_}.subspan(at, text.size())) != text)
            verdict_.record(9, fmt::format("{}: {} in the memory of receive_buffer() was changed "
                                           "after its put()",
                                           when, show(text)));
    std::fill(lent_.begin(), lent_.end(), static_cast<std::byte>(scrambled));
}

std::span<std::byte> WitnessSink::prepare(std::size_t payload_bytes)
{
    if (!must_be_reading("Sink::prepare()"))
        return {};
    if (payload_bytes > max_message_bytes_)
        throw Exception{Failure{Error::too_big, {.attempted = "take in a message"}}};
    if (!prepares || !has_room_)
        return {};
    if (prepared_) {
        verdict_.record(9, "Sink::prepare() twice without a commit() between");
        return {};
    }
    return prepared_.emplace(payload_bytes);
}

void WitnessSink::commit(MessageKind kind)
{
    if (!must_be_reading("Sink::commit()"))
        return;
    if (!prepared_)
        return verdict_.record(9, "Sink::commit() without memory from prepare()");
    ++puts_;
    take(kind, to_string(*std::exchange(prepared_, std::nullopt)));
}

void WitnessSink::on_pong(std::span<const std::byte> payload)
{
    if (must_be_reading("Sink::on_pong()"))
        pongs.push_back(to_string(payload));
}

Task<bool> WitnessSink::wait_for_room(Context ctx, TimePoint deadline)
{
    if (!must_be_reading("Sink::wait_for_room()"))
        co_return true;
    struct Waiting {
        bool& flag;
        ~Waiting() { flag = false; }
    };
    const Waiting waiting{waits_for_room_};
    while (!has_room_) {
        waits_for_room_ = true;
        if (!co_await ctx.wait(room_, deadline) && !has_room_)
            co_return false;
    }
    was_refused_ = false;
    co_return true;
}

void WitnessSink::begin_read()
{
    puts_ = 0;
    was_refused_ = false;
    has_room_ = true;
}

void WitnessSink::make_room()
{
    has_room_ = true;
    room_.set();
}

void WitnessSink::between_handlers()
{
    check_lent("when read() waited or returned");
    if (read_.is_inside() && !waits_for_room_ && puts_ != 0)
        verdict_.record(
            was_refused_ ? 6 : 5,
            fmt::format("read() waits after {} of {}", was_refused_ ? "the refused put" : "the put",
                        was_refused_ ? show(owed_ ? owed_->payload : "")
                                     : show(taken.empty() ? "" : taken.back().payload)));
}

// --- batches

MessageView WitnessBatch::read(std::uint64_t& position) const
{
    const auto index = static_cast<std::size_t>((position - first) / step);
    position += step;
    static const std::string nothing(1, scrambled);
    const auto view = [](MessageKind kind, const std::string& text) {
        return MessageView{{}, kind, std::as_bytes(std::span{text})};
    };
    if (verdict_.is_foreign("Batch"))
        return view(MessageKind::binary, nothing);
    if (is_over_) {
        verdict_.record(11, "the batch was read after its write() had ended");
    } else if (index >= messages_.size()) {
        verdict_.record(11, "the batch was read behind its end");
        return view(MessageKind::binary, nothing);
    } else if (index < marked_) {
        verdict_.record(
            11, fmt::format("message {} of the batch was read after mark_written()", index + 1));
    }
    return index < messages_.size() ? view(messages_[index].kind, messages_[index].payload)
                                    : view(MessageKind::binary, nothing);
}

void WitnessBatch::mark_written(std::size_t count, std::uint64_t end)
{
    if (verdict_.is_foreign("Batch::mark_written()"))
        return;
    if (is_over_)
        return verdict_.record(11, "mark_written() after the write() had ended");
    const auto last = static_cast<std::size_t>((end - first) / step);
    if (count > last - std::min(marked_, last))
        verdict_.record(12, fmt::format("mark_written({}) with {} messages left to mark", count,
                                        last - std::min(marked_, last)));
    const auto until = std::min(last, marked_ + count);
    scramble(marked_, until);
    marked_ = std::max(marked_, until);
}

void WitnessBatch::end()
{
    is_over_ = true;
    scramble(0, messages_.size());
}

void WitnessBatch::scramble(std::size_t from, std::size_t to)
{
    for (auto i = from; i < to; ++i)
        std::fill(messages_[i].payload.begin(), messages_[i].payload.end(), scrambled);
}

} // namespace sidecar::conformance
