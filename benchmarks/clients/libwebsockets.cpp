// libwebsockets on a separate thread, with a mutex and a condition variable as the handoff, as its
// users do.
#include "../cases.hpp"
#include "../tls.hpp"
#include "handoff_queue.hpp"

#include <libwebsockets.h>

#include <atomic>
#include <deque>
#include <thread>

namespace bench {
namespace {

class Libwebsockets {
public:
    explicit Libwebsockets(const Job& job)
    {
        lws_set_log_level(0, nullptr);
        lws_context_creation_info info{};
        info.port = CONTEXT_PORT_NO_LISTEN;
        info.protocols = protocols;
        info.user = this;
        if (job.is_secure) {
            info.options |= LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT;
            info.client_ssl_ca_mem = certificate().pem.data();
            info.client_ssl_ca_mem_len = static_cast<unsigned>(certificate().pem.size());
        }
        is_secure_ = job.is_secure;
        if (job.is_compressed)
            info.extensions = extensions;
        info.fd_limit_per_thread = static_cast<unsigned>(job.links) + 64;
        info.pt_serv_buf_size = 128u << 10;
        context_ = lws_create_context(&info);
        if (!context_)
            throw std::runtime_error{"no context"};
        thread_ = std::thread{[this] {
            while (!is_over_)
                lws_service(context_, 0);
        }};
        open(job);
    }
    Libwebsockets(const Libwebsockets&) = delete;
    Libwebsockets& operator=(const Libwebsockets&) = delete;
    ~Libwebsockets()
    {
        is_over_ = true;
        lws_cancel_service(context_);
        thread_.join();
        lws_context_destroy(context_);
    }

    /// Asks the loop's thread to connect, and waits; only that thread may connect.
    void open(const Job& job)
    {
        port_ = job.port;
        wants_link_ = true;
        lws_cancel_service(context_);
        if (events_.pop() != "open")
            throw std::runtime_error{"connect failed"};
    }
    template <class Handler>
    void receive_while(Handler&& handler)
    {
        inbox_.pop_while(handler);
    }
    void send(Bytes message)
    {
        {
            std::lock_guard lock{mutex_};
            std::string text(LWS_PRE, '\0'); // space for the frame head
            outbox_.push_back(std::move(
                text.append(reinterpret_cast<const char*>(message.data()), message.size())));
        }
        lws_cancel_service(context_);
    }
    void stop()
    {
        wants_close_ = true;
        lws_cancel_service(context_);
        (void)events_.pop();
    }

private:
    static int on_event(lws* link, lws_callback_reasons reason, void*, void* data, std::size_t size)
    {
        auto* self = static_cast<Libwebsockets*>(lws_context_user(lws_get_context(link)));
        return self ? self->on_event(link, reason, data, size) : 0;
    }
    int on_event(lws* link, lws_callback_reasons reason, void* data, std::size_t size)
    {
        switch (reason) {
        case LWS_CALLBACK_CLIENT_ESTABLISHED:
            if (!first_)
                first_ = link;
            events_.push("open");
            break;
        case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
        case LWS_CALLBACK_CLIENT_CLOSED: events_.push("closed"); break;
        case LWS_CALLBACK_CLIENT_RECEIVE:
            // One buffer is enough for all links: the generator writes whole messages.
            partial_.append(static_cast<const char*>(data), size);
            if (lws_is_final_fragment(link) && lws_remaining_packet_payload(link) == 0)
                inbox_.push(std::exchange(partial_, {}));
            break;
        case LWS_CALLBACK_EVENT_WAIT_CANCELLED:
            if (wants_link_.exchange(false))
                connect();
            if (first_)
                lws_callback_on_writable(first_);
            break;
        case LWS_CALLBACK_CLIENT_WRITEABLE: return write_one(link);
        default: break;
        }
        return 0;
    }
    /// Writes one message: the library allows one write per callback.
    int write_one(lws* link)
    {
        if (wants_close_) {
            lws_close_reason(link, LWS_CLOSE_STATUS_NORMAL, nullptr, 0);
            return -1;
        }
        std::string message;
        bool is_last = false;
        {
            std::lock_guard lock{mutex_};
            if (outbox_.empty())
                return 0;
            message = std::move(outbox_.front());
            outbox_.pop_front();
            is_last = outbox_.empty();
        }
        lws_write(link, reinterpret_cast<unsigned char*>(message.data()) + LWS_PRE,
                  message.size() - LWS_PRE, LWS_WRITE_BINARY);
        if (!is_last)
            lws_callback_on_writable(link);
        return 0;
    }
    void connect()
    {
        lws_client_connect_info info{};
        info.context = context_;
        info.address = info.host = info.origin = "127.0.0.1";
        info.port = port_;
        info.path = "/";
        info.local_protocol_name = "bench";
        if (is_secure_)
            info.ssl_connection = LCCSCF_USE_SSL;
        lws_client_connect_via_info(&info);
    }

    static constexpr lws_protocols protocols[] = {{"bench", on_event, 0, 64u << 10, 0, nullptr, 0},
                                                  {nullptr, nullptr, 0, 0, 0, nullptr, 0}};
    static constexpr lws_extension extensions[] = {{"permessage-deflate",
                                                    lws_extension_callback_pm_deflate,
                                                    "permessage-deflate; client_max_window_bits"},
                                                   {nullptr, nullptr, nullptr}};
    lws_context* context_ = nullptr;
    lws* first_ = nullptr;
    std::string partial_;
    std::atomic<bool> wants_link_{false}, wants_close_{false}, is_over_{false};
    std::atomic<int> port_{0};
    bool is_secure_ = false; // set before the thread begins
    std::mutex mutex_;
    std::deque<std::string> outbox_;
    HandoffQueue inbox_, events_;
    std::thread thread_;
};

const Registration<Libwebsockets> websocket{Protocol::websocket, "libwebsockets"};
const SecureRegistration<Libwebsockets> secure{"libwebsockets"};
// Sending compressed messages it takes gigabytes, and does not end
const DeflateRegistration<Libwebsockets> websocket_deflate{"libwebsockets", false};
const bool links_registered = [] {
    registry().push_back({"links", "libwebsockets", measure_links<Libwebsockets>, serve});
    return true;
}();

} // namespace
} // namespace bench
