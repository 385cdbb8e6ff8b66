// libwebsockets on its own thread: the messages are in one list, each session has its place in it,
// as in its example for messages of other threads.
#include "../harness.hpp"
#include "subjects.hpp"

#include <libwebsockets.h>

#include <atomic>
#include <deque>
#include <mutex>
#include <stdexcept>

namespace bench {
namespace {

class Libwebsockets final : public Subject {
public:
    Libwebsockets()
    {
        lws_set_log_level(0, nullptr);
        lws_context_creation_info info{};
        info.port = 0;
        info.iface = "127.0.0.1";
        info.protocols = protocols;
        info.user = this;
        info.fd_limit_per_thread = static_cast<unsigned>(raise_descriptor_limit() - 64);
        info.count_threads = 1;
        context_ = lws_create_context(&info);
        if (!context_)
            throw std::runtime_error{"no context"};
        port_ = static_cast<std::uint16_t>(
            lws_get_vhost_listen_port(lws_get_vhost_by_name(context_, "default")));
        std::thread{[this] {
            for (;;)
                lws_service(context_, 0);
        }}.detach(); // ends with the process
    }

    std::uint16_t port() override { return port_; }
    std::size_t count() override { return count_; }
    void broadcast(std::string_view payload) override
    {
        {
            std::lock_guard lock{mutex_};
            pushed_.push_back(std::string(LWS_PRE, '\0').append(payload)); // space for the head
        }
        lws_cancel_service(context_);
    }

private:
    struct Session {
        std::size_t next; // message
        bool owes_answer;
    };
    struct Message {
        std::string bytes;
        std::size_t left; // sessions that do not have it yet
    };

    static int on_event(lws* link, lws_callback_reasons reason, void* session, void* data,
                        std::size_t size)
    {
        auto* self = static_cast<Libwebsockets*>(lws_context_user(lws_get_context(link)));
        return self ? self->on_event(link, reason, static_cast<Session*>(session), data, size) : 0;
    }
    int on_event(lws* link, lws_callback_reasons reason, Session* session, void* data,
                 std::size_t size)
    {
        switch (reason) {
        case LWS_CALLBACK_ESTABLISHED:
            *session = {first_ + messages_.size(), false};
            ++count_;
            break;
        case LWS_CALLBACK_CLOSED:
            --count_;
            for (; session->next != first_ + messages_.size(); ++session->next)
                --messages_[session->next - first_].left;
            forget();
            break;
        case LWS_CALLBACK_RECEIVE:
            answer_.assign(LWS_PRE, '\0').append(static_cast<const char*>(data), size);
            session->owes_answer = true;
            lws_callback_on_writable(link);
            break;
        case LWS_CALLBACK_EVENT_WAIT_CANCELLED:
            take();
            lws_callback_on_writable_all_protocol(context_, protocols);
            break;
        case LWS_CALLBACK_SERVER_WRITEABLE: write_one(link, *session); break;
        default: break;
        }
        return 0;
    }
    void take()
    {
        std::lock_guard lock{mutex_};
        for (auto& bytes : pushed_)
            if (count_ != 0)
                messages_.push_back({std::move(bytes), count_});
        pushed_.clear();
    }
    void forget()
    {
        for (; !messages_.empty() && messages_.front().left == 0; ++first_)
            messages_.pop_front();
    }
    static void write(lws* link, std::string& bytes)
    {
        lws_write(link, reinterpret_cast<unsigned char*>(bytes.data()) + LWS_PRE,
                  bytes.size() - LWS_PRE, LWS_WRITE_BINARY);
    }
    /// Writes one message: the library allows one write per callback.
    void write_one(lws* link, Session& session)
    {
        if (std::exchange(session.owes_answer, false))
            return write(link, answer_);
        if (session.next == first_ + messages_.size())
            return;
        auto& message = messages_[session.next++ - first_];
        write(link, message.bytes);
        --message.left;
        forget();
        if (session.next != first_ + messages_.size())
            lws_callback_on_writable(link);
    }

    static constexpr lws_protocols protocols[] = {
        {"bench", on_event, sizeof(Session), 4096, 0, nullptr, 0},
        {nullptr, nullptr, 0, 0, 0, nullptr, 0}};
    lws_context* context_ = nullptr;
    std::uint16_t port_ = 0;
    std::atomic<std::size_t> count_{0};
    std::deque<Message> messages_; // of the service's thread
    std::size_t first_ = 0;        // the number of the first of them
    std::string answer_;
    std::mutex mutex_;
    std::vector<std::string> pushed_;
};

const bool is_added = add_subject<Libwebsockets>("libwebsockets");

} // namespace
} // namespace bench
