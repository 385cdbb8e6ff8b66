#include "jetstream.hpp"

#include "subjects.hpp"
#include "text.hpp"
#include "uri.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <utility>

namespace sidecar::nats {

namespace {

using std::chrono::nanoseconds;

/// The server says that it lives at this interval while it has no message.
constexpr Duration idle_heartbeat = std::chrono::seconds{2};
/// A request for messages ends after this time, and another follows.
constexpr Duration pull_time = std::chrono::seconds{30};
/// Requests that make the consumer may remain without a responder for so long: a cluster elects.
constexpr Duration answer_time = std::chrono::seconds{10};
/// A consumer that nobody asks for so long goes.
constexpr Duration forgotten_after = std::chrono::minutes{5};

constexpr std::uint64_t consumer_not_found = 10014; // JetStream's err_code

constexpr std::string_view acknowledgement_prefix = "$JS.ACK.";

Failure refused(std::string what, std::string_view why, std::optional<bool> is_passing = {})
{
    return {Error::handshake_refused,
            {.attempted = std::move(what),
             .explanation = fmt::format("JetStream says {}", http::quote(why, 200)),
             .is_passing = is_passing}};
}

/// An answer of JetStream, parsed once.
class Answer {
public:
    explicit Answer(std::string_view json)
        : is_json_{parser_.parse(json.data(), json.size()).get(root_) == simdjson::SUCCESS}
    {
    }
    Answer(const Answer&) = delete;
    Answer& operator=(const Answer&) = delete;

    [[nodiscard]] bool is_json() const noexcept { return is_json_; }
    /// Leaves `to` as it is, and returns false, if the field is missing or of another type.
    template <class Value>
    [[nodiscard]] bool get(const char* pointer, Value& to) const
    {
        return is_json_ && root_.at_pointer(pointer).get(to) == simdjson::SUCCESS;
    }
    /// Returns the description if it is an error; empty: it is none.
    [[nodiscard]] std::string error() const
    {
        simdjson::dom::element error;
        if (!get("/error", error))
            return {};
        std::string_view text;
        return get("/error/description", text) && !text.empty()
                   ? std::string{text}
                   : std::string{"an error without a description"};
    }

private:
    simdjson::dom::parser parser_; // before root_, which is in it
    simdjson::dom::element root_{};
    const bool is_json_;
};

/// Whether a stream says that it has the message.
bool is_confirmation(const Answer& answer)
{
    std::string_view stream;
    std::uint64_t sequence = 0;
    return answer.get("/stream", stream) && answer.get("/seq", sequence) && answer.error().empty();
}

std::string_view header_in(const Envelope& envelope, std::string_view name)
{
    const auto at = std::find_if(envelope.headers.begin(), envelope.headers.end(),
                                 [&](const Header& header) { return header.name == name; });
    return at == envelope.headers.end() ? std::string_view{} : at->value;
}

/// The part of the JSON that says where the consumer begins.
std::string policy_of(const Consumer& consumer, std::optional<std::uint64_t> last_sequence)
{
    if (last_sequence)
        return fmt::format(R"("deliver_policy":"by_start_sequence","opt_start_seq":{})",
                           *last_sequence + 1);
    switch (consumer.begin) {
    case Begin::first: break;
    case Begin::last: return R"("deliver_policy":"last")";
    case Begin::next: return R"("deliver_policy":"new")";
    case Begin::sequence:
        return fmt::format(R"("deliver_policy":"by_start_sequence","opt_start_seq":{})",
                           consumer.sequence);
    case Begin::time: {
        const auto second = std::chrono::floor<std::chrono::seconds>(consumer.time);
        return fmt::format(
            R"("deliver_policy":"by_start_time","opt_start_time":"{:%Y-%m-%dT%H:%M:%S}.{:09}Z")",
            second, nanoseconds{consumer.time - second}.count());
    }
    }
    return R"("deliver_policy":"all")";
}

bool is_name(std::string_view text)
{
    return std::none_of(text.begin(), text.end(), [](char c) {
        return static_cast<unsigned char>(c) <= 0x20 || c == 0x7f || c == '.' || c == '*'
               || c == '>' || c == '/' || c == '\\' || c == '"';
    });
}

} // namespace

Position::Position() : state_{std::make_shared<State>()} {}

std::optional<Delivery> delivery(const MessageView& message) noexcept
{
    return parse_delivery(message.reply_to());
}

std::optional<Delivery> parse_delivery(std::string_view rest) noexcept
{
    // $JS.ACK.[domain.account.]stream.consumer.delivered.sequence.sequence.time.pending[.token]
    if (!rest.starts_with(acknowledgement_prefix))
        return std::nullopt;
    rest.remove_prefix(acknowledgement_prefix.size());
    std::array<std::string_view, 10> tokens;
    std::size_t count = 0;
    for (; count != tokens.size() && !rest.empty(); ++count) {
        tokens[count] = rest.substr(0, rest.find('.'));
        rest.remove_prefix(std::min(rest.size(), tokens[count].size() + 1));
    }
    if (count != 7 && count < 9)
        return std::nullopt;
    const auto* token = tokens.data() + (count == 7 ? 0 : 2);
    std::array<std::uint64_t, 5> numbers{};
    for (std::size_t i = 0; i < numbers.size(); ++i) {
        const auto number = parse_number(token[2 + i]);
        if (!number)
            return std::nullopt;
        numbers[i] = *number;
    }
    using std::chrono::system_clock;
    return Delivery{.stream = token[0],
                    .consumer = token[1],
                    .delivered = numbers[0],
                    .stream_sequence = numbers[1],
                    .consumer_sequence = numbers[2],
                    .stored =
                        system_clock::time_point{std::chrono::duration_cast<system_clock::duration>(
                            nanoseconds{numbers[3]})},
                    .pending = numbers[4]};
}

Result<void> validate(const Consumer& consumer)
{
    const auto refuse = [](std::string why) {
        return http::refuse(Error::bad_options, std::move(why));
    };
    if (consumer.stream.empty())
        return refuse("consumer: it names no stream");
    if (!is_name(consumer.stream))
        return refuse("consumer: this cannot be a stream's name: "
                      + http::quote(consumer.stream, 100));
    if (!is_name(consumer.durable))
        return refuse("consumer: this cannot be a consumer's name: "
                      + http::quote(consumer.durable, 100));
    if (!consumer.filter.empty())
        if (const auto* why = fault_of_subject(consumer.filter, SubjectUse::subscribe))
            return refuse(fmt::format("consumer: the filter: {}", why));
    if ((consumer.begin == Begin::sequence) != (consumer.sequence != 0))
        return refuse("consumer: a sequence belongs to Begin::sequence, and is not 0");
    if (consumer.max_pending == 0)
        return refuse("consumer: max_pending is 0");
    if (consumer.acknowledge_within < std::chrono::milliseconds{1})
        return refuse("consumer: acknowledge_within is too short");
    if (consumer.durable.empty() && consumer.acknowledge_by_hand)
        return refuse("consumer: an ordered one, without a name, has no acknowledgements");
    return {};
}

// --- the consumer

Puller::Puller(Consumer consumer, std::shared_ptr<Position::State> position, std::string inbox)
    : consumer_{std::move(consumer)}, position_{std::move(position)}, inbox_{std::move(inbox)}
{
}

/// Appends a request to JetStream, answered to the subject `reply` of the inbox.
void Puller::request(std::string& out, std::string_view call, std::string_view reply,
                     std::string_view json) const
{
    fmt::format_to(std::back_inserter(out), "PUB $JS.API.CONSUMER.{} {}{} {}\r\n{}\r\n", call,
                   inbox_, reply, json.size(), json);
}

Puller::Whose Puller::whose(const Delivery& delivery) const noexcept
{
    if (delivery.stream != consumer_.stream || delivery.consumer.empty())
        return Whose::others;
    return delivery.consumer == name_     ? Whose::ours
           : delivery.consumer == former_ ? Whose::former
                                          : Whose::others;
}

void Puller::begin(std::string& out, TimePoint now)
{
    heard_ = now;
    if (!began_)
        began_ = now;
    asked_ = 0;
    is_creating_ = consumer_.durable.empty();
    if (!is_creating_) {
        name_.clear();
        return request(out, fmt::format("INFO.{}.{}", consumer_.stream, consumer_.durable), "made",
                       {});
    }
    if (!name_.empty()) {
        former_ = std::exchange(name_, {});
        sequence_ = 0;
    }
    create(out);
}

void Puller::create(std::string& out)
{
    // A durable one that exists keeps its beginning
    const auto last_sequence =
        consumer_.durable.empty() ? position_->stream_sequence : std::nullopt;
    std::string json = fmt::format(R"({{"stream_name":"{}","config":{{{})", consumer_.stream,
                                   policy_of(consumer_, last_sequence));
    if (!consumer_.filter.empty()) {
        json += R"(,"filter_subject":)";
        append_json(json, consumer_.filter);
    }
    const auto append = [&](auto text, const auto&... values) {
        fmt::format_to(std::back_inserter(json), fmt::runtime(text), values...);
    };
    if (consumer_.durable.empty()) {
        append(R"(,"ack_policy":"none","max_deliver":1,"mem_storage":true,"num_replicas":1,)"
               R"("inactive_threshold":{}}}}})",
               nanoseconds{forgotten_after}.count());
        return request(out, "CREATE." + consumer_.stream, "made", json);
    }
    append(R"(,"durable_name":"{}","ack_policy":"explicit","ack_wait":{},"max_ack_pending":{}}}}})",
           consumer_.durable, nanoseconds{consumer_.acknowledge_within}.count(),
           consumer_.max_pending);
    request(out, fmt::format("DURABLE.CREATE.{}.{}", consumer_.stream, consumer_.durable), "made",
            json);
}

/// Takes the facts of the consumer, or why there are none.
void Puller::made(std::string& out, std::string_view json)
{
    const Answer answer{json};
    std::uint64_t code = 0;
    if (!is_creating_ && answer.get("/error/err_code", code) && code == consumer_not_found) {
        is_creating_ = true;
        return create(out);
    }
    if (!answer.is_json())
        throw Exception{refused("make the consumer", "something that is no JSON")};
    if (const auto error = answer.error(); !error.empty())
        throw Exception{refused("make the consumer", error)};
    std::string_view name, text;
    if (!answer.get("/name", name))
        throw Exception{refused("make the consumer", json)};
    if (answer.get("/config/deliver_subject", text))
        throw Exception{refused("use the consumer", "that it pushes its messages")};
    if (!consumer_.durable.empty() && answer.get("/config/ack_policy", text) && text != "explicit")
        throw Exception{refused("use the consumer", "that it has no explicit acknowledgements")};
    std::uint64_t delivered = 0;
    if (!position_->stream_sequence && answer.get("/delivered/stream_seq", delivered))
        position_->stream_sequence = delivered;
    name_ = name;
    began_.reset();
    pull(out);
}

/// Asks for as many messages as may be on their way.
void Puller::pull(std::string& out)
{
    const auto batch = consumer_.max_pending - std::min<std::size_t>(asked_, consumer_.max_pending);
    if (name_.empty() || batch == 0)
        return;
    request(out, fmt::format("MSG.NEXT.{}.{}", consumer_.stream, name_), "next",
            fmt::format(R"({{"batch":{},"expires":{},"idle_heartbeat":{}}})", batch,
                        nanoseconds{pull_time}.count(), nanoseconds{idle_heartbeat}.count()));
    asked_ += batch;
}

void Puller::answered(std::string& out, const Envelope& envelope,
                      std::span<const std::byte> payload, TimePoint now)
{
    if (const auto status = header_in(envelope, "Status"); !status.empty())
        return obey(out, envelope, status, now);
    heard_ = now;
    if (name_.empty())
        made(out, text_of(payload));
}

std::uint64_t Puller::missing_before(const Delivery& delivery) const noexcept
{
    if (!consumer_.durable.empty())
        return 0;
    if (sequence_ != 0)
        return delivery.consumer_sequence - std::min(delivery.consumer_sequence, sequence_ + 1);
    const auto last = position_->stream_sequence;
    // The stream no longer has what is between; with a filter nobody knows how much that was
    return last && consumer_.filter.empty()
               ? delivery.stream_sequence - std::min(delivery.stream_sequence, *last + 1)
               : 0;
}

void Puller::gap_told(const Delivery& delivery) noexcept
{
    sequence_ = delivery.consumer_sequence - 1;
    position_->stream_sequence = delivery.stream_sequence - 1;
}

void Puller::put(std::string& out, const Delivery& delivery, TimePoint now)
{
    heard_ = now;
    sequence_ = delivery.consumer_sequence;
    position_->stream_sequence = delivery.stream_sequence;
    asked_ -= std::min<std::size_t>(asked_, 1);
    if (asked_ <= consumer_.max_pending / 2)
        pull(out);
}

/// Takes the server's word about a request.
void Puller::obey(std::string& out, const Envelope& envelope, std::string_view status,
                  TimePoint now)
{
    const auto description = header_in(envelope, "Description");
    const auto says = [&](std::string_view part) {
        return description.find(part) != description.npos;
    };
    if (status == "100" || status == "404" || status == "408")
        heard_ = now; // of the others a consumer that is gone has some, too
    if (status == "100")
        return;
    if (status == "408" || status == "404") {
        // The request is over; so many of its messages do not come
        const auto rest = parse_number(header_in(envelope, "Nats-Pending-Messages"));
        asked_ -= std::min<std::size_t>(asked_, rest.value_or(asked_));
        return pull(out);
    }
    if (status == "503" && name_.empty() && now - began_.value_or(now) > answer_time)
        throw Exception{refused("make the consumer", "that nobody answers")};
    if (status == "409" && says("Deleted")) {
        if (consumer_.durable.empty())
            return begin(out, now); // it is made again, behind the last message
        // A new one of this name would begin anew: the user decides
        throw Exception{refused("get messages", description, false)};
    }
    if (status == "400" || (status == "409" && (says("push based") || says("MaxRequest"))))
        throw Exception{refused("get messages", description)};
    asked_ = 0; // the next tick asks again: no leader, a server that goes, too many requests
}

void Puller::tick(std::string& out, TimePoint now)
{
    if (name_.empty() || now - heard_ > 3 * idle_heartbeat) {
        if (now - heard_ >= idle_heartbeat)
            begin(out, now);
        return;
    }
    if (asked_ == 0)
        pull(out);
}

// --- publications

std::string_view Publications::add(bool needs_acknowledgement)
{
    waiting_.push_back(needs_acknowledgement ? State::waiting : State::acknowledged);
    if (!needs_acknowledgement)
        return {};
    reply_ = fmt::format("{}{}", inbox_, first_ + waiting_.size() - 1);
    return reply_;
}

void Publications::answered(const Envelope& envelope, std::span<const std::byte> payload)
{
    const auto number = parse_number(envelope.topic.substr(inbox_.size()));
    if (!number || *number < first_ || *number - first_ >= waiting_.size())
        return;
    auto& state = waiting_[static_cast<std::size_t>(*number - first_)];
    if (header_in(envelope, "Status") == "503") {
        state = State::refused;
        refusal_ = "no stream takes the subject now";
        return;
    }
    const Answer answer{text_of(payload)};
    if (is_confirmation(answer)) {
        state = State::acknowledged;
    } else if (auto error = answer.error(); !error.empty()) {
        state = State::refused;
        refusal_ = std::move(error);
    } // else somebody who is no stream answers
}

Publications::Taken Publications::take_acknowledged()
{
    Taken taken;
    for (; !waiting_.empty() && waiting_.front() == State::acknowledged; ++taken.count, ++first_)
        waiting_.pop_front();
    if (!waiting_.empty() && waiting_.front() == State::refused)
        taken.refusal = refused("publish to a stream", refusal_);
    return taken;
}

} // namespace sidecar::nats
