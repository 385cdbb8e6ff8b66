#include "link/requests.hpp"

#include "base/failures.hpp"
#include "link/link.hpp"
#include "queue/stored_message.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>

namespace sidecar::detail {

/// The place of one request among those that wait.
class Requests::Place {
public:
    Place(Requests& requests, std::string prefix) : requests_{requests}
    {
        std::lock_guard lock{requests_.mutex_};
        reply_to = fmt::format("{}{}", prefix, ++requests_.last_);
        requests_.prefix_ = std::move(prefix);
        requests_.waiting_.emplace(reply_to, waiting);
    }
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;
    ~Place()
    {
        std::lock_guard lock{requests_.mutex_};
        requests_.waiting_.erase(reply_to);
        if (waiting->answer && !is_taken) // it came too late
            requests_.link_.services().discarded.fetch_add(1);
    }

    const std::shared_ptr<Waiting> waiting = std::make_shared<Waiting>(); // both
    std::string reply_to;                                                 // app side
    bool is_taken = false;                                                // app side

private:
    Requests& requests_; // both
};

Failure Requests::failed(Error code, std::string_view topic, std::string_view why) const
{
    const Failure failure{code,
                          {.attempted = fmt::format("request \"{}\"", topic),
                           .endpoint = link_.endpoint(),
                           .explanation = std::string{why}}};
    return failure.with_link(link_.id());
}

Result<Message> Requests::request(std::string_view topic, MessageKind kind,
                                  std::span<const std::byte> payload, Duration timeout,
                                  std::span<const Header> headers)
{
    auto& services = link_.services();
    if (services.loop.is_loop_thread())
        return called_on_loop("wait for an answer", link_.endpoint());
    const auto deadline = deadline_after(services.loop.now(), std::max(timeout, Duration{}));
    const auto connection = link_.link_state().connection();
    if (!link_.is_up())
        return link_.refusal("request");
    auto prefix = link_.note().connection_info().reply_prefix;
    if (prefix.empty())
        return failed(Error::misuse, topic, "the transport carries no requests");
    Place place{*this, std::move(prefix)};
    auto sent = link_.writer().send(kind, payload,
                                    {.timeout = timeout,
                                     .connection = connection,
                                     .topic = topic,
                                     .reply_to = place.reply_to,
                                     .headers = headers});
    if (sent.has_error() && sent.error() == Error::wrong_connection)
        return failed(Error::disconnected, topic, "the connection ended before it was sent")
            .with_retry(true);
    if (!sent)
        return sent.error();
    const auto& waiting = *place.waiting;
    const auto is_over = [&] {
        return services.stop.is_made() || !link_.is_up()
               || link_.link_state().connection() != connection;
    };
    const auto is_answered = [&] { return waiting.is_answered.load(std::memory_order_seq_cst); };
    (void)services.written.wait_until(services.loop, deadline,
                                      [&] { return is_answered() || is_over(); });
    if (!is_answered()) {
        if (services.stop.is_made())
            return link_.refusal("request");
        if (is_over())
            return failed(Error::disconnected, topic, "the connection ended before an answer came")
                .with_retry(true);
        return failed(Error::timed_out, topic, "no answer came").with_retry(true);
    }
    place.is_taken = true;
    auto& answer = *place.waiting->answer;
    if (answer.header("Status") == "503" && answer.size() == 0)
        return failed(Error::no_responders, topic, {}).with_retry(true);
    return std::move(answer);
}

bool Requests::offer(MessageKind kind, std::span<const std::byte> payload, const Envelope& envelope)
{
    auto& services = link_.services();
    {
        std::lock_guard lock{mutex_};
        const auto at = waiting_.find(envelope.topic);
        if (at == waiting_.end() && (prefix_.empty() || !envelope.topic.starts_with(prefix_)))
            return false;
        if (at == waiting_.end() || at->second->answer) {
            services.discarded.fetch_add(1);
            return true;
        }
        const StoredMessage message{kind, payload, envelope};
        at->second->answer.emplace(MessageView{link_.id(), message.kind(), message.bytes(),
                                               link_.link_state().connection(),
                                               services.loop.iteration_began()});
        at->second->is_answered.store(true, std::memory_order_seq_cst);
    }
    services.written.wake();
    return true;
}

} // namespace sidecar::detail
