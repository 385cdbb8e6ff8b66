#include "link/session.hpp"

#include "link/link.hpp"

#include <utility>

namespace sidecar::detail {

SessionImpl::SessionImpl(LinkImpl& link, std::uint32_t connection, Continuity continuity)
    : link_{link}, connection_{connection}, continuity_{continuity}
{
    link_.sink().watch(*this);
}

SessionImpl::~SessionImpl() { link_.sink().unwatch(*this); }

std::string SessionImpl::protocol() const { return link_.note().protocol(); }

ConnectionInfo SessionImpl::connection_info() const { return link_.note().connection_info(); }

void SessionImpl::refuse(std::string why) const
{
    throw Exception{Failure{
        Error::login_refused,
        {.attempted = "log in", .endpoint = link_.endpoint(), .explanation = std::move(why)}}};
}

// --- receiving

MessageWatcher::Verdict SessionImpl::offer(const MessageView& message)
{
    unread_.emplace_back(message);
    unread_bytes_ += Stored{message}.bytes.size();
    arrived_.set();
    return Verdict::taken;
}

bool SessionImpl::is_full() const
{
    constexpr std::size_t record = 64; // empty messages count too
    return !unread_.empty() && unread_bytes_ + record * unread_.size() >= max_unread_bytes;
}

Task<Message> SessionImpl::receive()
{
    while (unread_.empty()) {
        if (ended_)
            throw Exception{*ended_};
        co_await arrived_.wait();
    }
    const bool was_full = is_full();
    auto message = std::move(unread_.front());
    unread_.pop_front();
    unread_bytes_ -= stored_bytes(message);
    if (was_full && !is_full())
        link_.sink().space_came();
    link_.writer().acknowledge_taken(message.view());
    co_return message;
}

Task<> SessionImpl::pass_on(Message message)
{
    link_.sink().validate_fits_inbox(stored_bytes(message));
    link_.announce_up(continuity_);
    struct ShowWait {
        explicit ShowWait(PhaseTracker& note) : note_{note}
        {
            note_.set_detail(Phase::restoring, "while pass_on() waits for room in the inbox");
        }
        ~ShowWait() { note_.set_detail(Phase::restoring, {}); }
        PhaseTracker& note_;
    };
    const ShowWait until_it_is_in{link_.note()};
    co_await link_.sink().pass_on(std::move(message));
}

// --- sending

Task<> SessionImpl::send(MessageKind kind, std::span<const std::byte> payload)
{
    return send_message(Message{MessageView{{}, kind, payload}});
}

Task<> SessionImpl::send_message(Message message)
{
    const auto view = message.view();
    const Stored stored{view};
    if (auto checked = link_.config().check_send(stored.kind, stored.bytes); !checked)
        throw Exception{checked.error()};
    const auto outgoing = std::make_shared<Outgoing>();
    std::erase_if(waited_for_, [](const auto& waited_for) { return waited_for.expired(); });
    waited_for_.push_back(outgoing);
    (void)link_.outbox().push_priority(
        {.message = std::move(message),
         .origin = PriorityMessage::Origin::session,
         .on_step = [outgoing](std::uint64_t, PriorityMessage::Step step) {
             if (step != PriorityMessage::Step::written)
                 return;
             outgoing->is_written = true;
             outgoing->done.set();
         }});
    link_.wake_writer();
    while (!outgoing->is_written) {
        if (ended_)
            throw Exception{*ended_};
        co_await outgoing->done.wait();
    }
}

void SessionImpl::end(Failure why)
{
    ended_ = std::move(why);
    arrived_.set();
    for (const auto& waited_for : waited_for_)
        if (const auto outgoing = waited_for.lock())
            outgoing->done.set();
}

} // namespace sidecar::detail
