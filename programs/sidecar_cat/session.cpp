#include "session.hpp"

#include "input.hpp"
#include "output.hpp"

#include <sidecar/format.hpp>
#include <sidecar/server.hpp>
#include <sidecar/sidecar.hpp>
#include <sidecar/signals.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <fcntl.h>
#include <memory>
#include <new>
#include <optional>
#include <poll.h>
#include <string>
#include <string_view>
#include <unistd.h>
#include <utility>

namespace sidecar_cat {
namespace {

/// The peer closed without an error (RFC 6455 section 7.4.1: 1000, or no code at all).
bool is_orderly_close(const sidecar::Failure& failure)
{
    const auto code = failure.close_code();
    return failure == sidecar::Error::closed_by_peer && (code == 0 || code == 1000 || code == 1005);
}

/// Whether nothing went wrong but the peer's part of the close, after it got everything. `may_leave`:
/// it may end the connection instead. A stream's peer may keep its side open.
bool has_ended_well(sidecar::StopReport report, bool may_leave, bool is_stream)
{
    using sidecar::Verdict;
    auto& close = report.close.verdict;
    const bool is_fine =
        (may_leave && close == Verdict::failed) || (is_stream && close == Verdict::timed_out);
    if (is_fine && report.unsent_messages == 0)
        close = Verdict::ok;
    return report.clean();
}

sidecar::Options feed_options(const Settings& settings)
{
    auto options = settings.feed;
    options.log = [&settings](sidecar::LogLevel level, std::string_view text) {
        if (settings.is_verbose || level >= sidecar::LogLevel::warning)
            complain(settings, fmt::format("{}: {}", sidecar::to_string(level), text));
    };
    return options;
}

template <class T>
std::unique_ptr<sidecar::Feed> make_feed(const Settings& settings,
                                         const typename T::Options& options)
{
    using sidecar::Recording, sidecar::Sidecar;
    if (settings.record_file.empty())
        return std::make_unique<Sidecar<T>>(options, feed_options(settings));
    const typename Recording<T>::Options recording{
        .transport = options, .file = settings.record_file, .counts = settings.recorded};
    return std::make_unique<Sidecar<Recording<T>>>(recording, feed_options(settings));
}

/// Calls `function` with the transport that --listen or --relay serves, and its options.
template <class Function>
auto with_listener(const Settings& settings, Function function)
{
    const auto& listen = settings.listen;
    return listen.tcp ? function.template operator()<sidecar::Tcp<sidecar::Lines>>(*listen.tcp)
                      : function.template operator()<sidecar::WebSocket>(listen.websocket);
}

/// Finds the listener of --listen, or opens that of --relay, and prints where it is.
sidecar::Result<sidecar::Listener> open_listener(sidecar::Feed& feed, const Settings& settings,
                                                 std::string& endpoint)
{
    return with_listener(
        settings, [&]<class T>(auto options) -> sidecar::Result<sidecar::Listener> {
            // Clients of a relay send for nobody
            const sidecar::Overflow nothing{.policy = sidecar::OverflowPolicy::drop_newest,
                                            .queue_messages = 1};
            auto listener = settings.listen.is_relay
                                ? feed.listen<T>(options, settings.timeout, {.overflow = nothing})
                                : static_cast<sidecar::Server<T>&>(feed).listener();
            if (!listener)
                return listener;
            options.port = listener->port(); // it may have been 0
            endpoint = T::Acceptor::endpoint(options);
            if (settings.listen.tcp && options.unix_path.empty())
                endpoint.insert(0, options.tls ? "tls://" : "tcp://");
            complain(settings, fmt::format("listening on {}", endpoint));
            return listener;
        });
}

std::unique_ptr<sidecar::Feed> make_feed(const Settings& settings)
{
    if (settings.listen.is_server())
        return with_listener(settings, [&]<class T>(const auto& options) {
            return std::unique_ptr<sidecar::Feed>{
                new sidecar::Server<T>{options, feed_options(settings)}};
        });
    if (settings.replay)
        return std::make_unique<sidecar::Sidecar<sidecar::Replay>>(*settings.replay,
                                                                   feed_options(settings));
    if (settings.nats)
        return std::make_unique<sidecar::Sidecar<sidecar::Nats>>(*settings.nats,
                                                                 feed_options(settings));
    if (settings.tcp)
        return make_feed<sidecar::Tcp<sidecar::Lines>>(settings, *settings.tcp);
    return make_feed<sidecar::WebSocket>(settings, settings.websocket);
}

std::string endpoint_of(const Settings& settings)
{
    return settings.url.empty() ? ""
           : settings.replay    ? settings.replay->file
           : settings.nats      ? sidecar::Nats::endpoint(*settings.nats)
           : settings.tcp       ? sidecar::Tcp<sidecar::Lines>::endpoint(*settings.tcp)
                                : sidecar::WebSocket::endpoint(settings.websocket);
}

/// Makes the file to record into, or empties it. Returns why it cannot; empty: it is there.
std::string make_record_file(const Settings& settings)
{
    const auto* const name = settings.record_file.c_str();
    const int flags = settings.replaces_record ? O_TRUNC : O_EXCL;
    const int descriptor = ::open(name, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOCTTY | flags, 0600);
    if (descriptor >= 0)
        ::close(descriptor);
    if (descriptor < 0 && errno == EEXIST)
        return fmt::format("--record: the file {} exists; --force replaces it", name);
    return descriptor >= 0 ? "" : fmt::format("--record: {}: {}", name, std::strerror(errno));
}

/// One run of the program. Owned by run_session(). Side: the main thread.
class Session {
public:
    explicit Session(const Settings& settings)
        : settings_{settings},
          feed_{make_feed(settings)},
          endpoint_{endpoint_of(settings)},
          signals_{sidecar::stop_on_signals(*feed_)},
          printer_{settings},
          input_{STDIN_FILENO, [this](const sidecar::Payload& line) { return send(line); },
                 settings}
    {
    }
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

    /// Runs to the end and returns the exit status.
    [[nodiscard]] int run() noexcept
    {
        try {
            for (start(); !is_over_;) {
                wait();
                if (text_.empty())
                    take_events();
            }
            finish();
            return status_;
        } catch (const std::bad_alloc&) {
            complain(settings_, "out of memory");
        } catch (const std::exception& error) {
            complain(settings_, error.what());
        }
        try {
            (void)feed_->stop();          // sends a close
        } catch (const std::exception&) { // no memory
        }
        return was_up_ ? exit_status::stopped_uncleanly : exit_status::could_not_connect;
    }

private:
    void start()
    {
        printer_.set_time(std::chrono::system_clock::now());
        // With --reconnect the time is that of an attempt
        const bool reconnects = settings_.feed.reconnect.has_value();
        const auto timeout = reconnects ? sidecar::Duration::max() : settings_.timeout;
        const auto begun = settings_.listen.is_server() ? feed_->start(timeout)
                                                        : feed_->start_in_background(timeout);
        const auto handle = begun ? feed_->native_handle() : sidecar::Result<int>{begun.error()};
        if (!handle)
            return record_failure(handle.error());
        descriptor_ = *handle;
        if (settings_.listen.address.empty())
            return;
        auto listener = open_listener(*feed_, settings_, listens_on_);
        if (!listener)
            return record_failure(listener.error());
        listener_ = *std::move(listener);
        // A link that failed before the listener was up makes no event
        if (const auto started = feed_->wait_started({});
            !started && started.error() != sidecar::Error::timed_out)
            record_failure(started.error());
    }

    /// Sends a line of the input. --listen waits for a first client, so that its lines are not lost.
    sidecar::Result<void> send(const sidecar::Payload& line)
    {
        if (!settings_.listen.is_server())
            return feed_->send(line);
        if (!had_client_)
            return sidecar::Failure{sidecar::Error::not_connected};
        const auto sent = listener_->broadcast(line);
        return sent ? sidecar::Result<void>{} : sent.error();
    }

    [[nodiscard]] bool is_flushed()
    {
        if (!settings_.listen.is_server())
            return feed_->flush({}).has_value();
        auto clients = listener_->clients();
        return std::none_of(clients.begin(), clients.end(), [](auto& client) {
            const auto flushed = client.flush({});
            return !flushed && flushed.error() == sidecar::Error::timed_out;
        });
    }

    /// Waits until one of the three descriptors is ready, and reads or writes what is.
    void wait()
    {
        if (signals_.signal() != 0 && !text_.empty())
            return write();
        const bool is_flushing = settings_.closes_at_eof && input_.is_done();
        if (is_flushing && is_flushed())
            feed_->request_stop();
        const bool is_writing = !text_.empty();
        ::pollfd entries[] = {{is_writing ? -1 : descriptor_, POLLIN, 0},
                              {output_.is_gone() ? -1 : STDOUT_FILENO,
                               static_cast<short>(is_writing ? POLLOUT : 0), 0},
                              {input_.wants_more() && !is_muted_ ? STDIN_FILENO : -1, POLLIN, 0}};
        // A signal may come in the middle of an output; no event says that all is written.
        ::poll(entries, 3, is_writing ? 100 : is_flushing ? 10 : -1);
        if ((entries[1].revents & ~POLLOUT) != 0)
            output_.set_gone();
        if (entries[1].revents != 0)
            output_.write_some(text_);
        if (output_.is_gone())
            stop_without_reader();
        if (entries[2].revents != 0)
            input_.read();
        else if (is_writing) // `writable` may be behind messages that the reader does not take
            input_.resume();
    }

    void take_events()
    {
        constexpr std::size_t batch_bytes = std::size_t{64} << 10;
        printer_.set_time(std::chrono::system_clock::now());
        while (!is_over_ && text_.size() < batch_bytes) {
            const auto event = feed_->next_event({});
            if (event)
                take(*event);
            else if (event.error() == sidecar::Error::timed_out)
                break;
            else
                record_failure(event.error());
        }
    }

    void take(const sidecar::Event& event)
    {
        using Kind = sidecar::Event::Kind;
        if (settings_.is_verbose && event.kind != Kind::message)
            complain(settings_, fmt::format("{}", event));
        if (event.kind == Kind::stopped)
            is_over_ = true;
        if (is_muted_)
            return;
        if (is_over_ && !was_up_)
            complain(settings_, "stopped before the link was up");
        if (event.link != sidecar::LinkId{0}
            && (settings_.listen.is_relay || event.kind != Kind::message)) {
            take_from_client(event);
        } else if (event.kind == Kind::message) {
            if (settings_.listen.is_relay)
                relay(event.message);
            printer_.message(text_, event.message.view());
            if (++received_ == settings_.count)
                stop_listening();
        } else if (event.kind == Kind::up || event.kind == Kind::writable) {
            was_up_ = true;
            status_ = exit_status::clean;
            if (event.kind == Kind::up && settings_.is_json)
                printer_.up(text_, settings_.url.empty() ? listens_on_ : endpoint_, event);
            input_.resume();
        } else if (event.next_attempt && event.failure) {
            if (settings_.is_json)
                printer_.down(text_, *event.failure, event.link);
            complain(settings_,
                     event.failure->message() + (settings_.replay ? "" : "; it is tried again"));
        } else if (settings_.listen.is_relay
                   && (event.kind == Kind::down || event.kind == Kind::retry)) {
            record_failure(*event.failure); // next_event() goes on: the listener is still up
        }
    }

    void relay(const sidecar::Message& message)
    {
        if (const auto sent = listener_->broadcast(message); !sent)
            complain(settings_, fmt::format("a message is not relayed: {}", sent.error()));
    }

    /// An event of a client, or of the listener of --relay.
    void take_from_client(const sidecar::Event& event)
    {
        using Kind = sidecar::Event::Kind;
        const bool is_listener = event.link == listener_->id();
        if (event.kind == Kind::up && settings_.is_json)
            printer_.up(text_, is_listener ? listens_on_ : event.client->peer, event);
        if (event.kind == Kind::up && !is_listener) {
            had_client_ = true;
            input_.resume();
        } else if (event.kind == Kind::down && is_listener) {
            record_failure(*event.failure);
        } else if (event.kind == Kind::down && settings_.is_json) {
            printer_.down(text_, *event.failure, event.link);
        }
    }

    void record_failure(const sidecar::Failure& failure)
    {
        is_over_ = true;
        if (failure == sidecar::Error::stopped || is_muted_) // then any end of the peer is fine
            return;
        if (settings_.is_json)
            printer_.down(text_, failure);
        if (is_orderly_close(failure))
            return;
        complain(settings_, failure.message());
        // With TLS 1.3 a server may refuse our certificate after our handshake has ended (RFC 8446
        // section 4.4.4), when we expect a message.
        const bool is_refusal = failure == sidecar::Error::tls_failed && !settings_.feed.reconnect;
        const bool is_usage =
            failure == sidecar::Error::bad_address || failure == sidecar::Error::bad_options;
        status_ = was_up_ && !is_refusal ? exit_status::link_lost
                  : was_up_ || !is_usage ? exit_status::could_not_connect
                                         : exit_status::usage;
    }

    void stop_listening()
    {
        is_muted_ = true;
        feed_->request_stop();
    }

    /// That is no failure, not even while connecting.
    void stop_without_reader()
    {
        if (is_muted_)
            return;
        status_ = exit_status::clean;
        stop_listening();
    }

    void write()
    {
        output_.write(text_, [this] { return signals_.signal() != 0; });
        if (output_.is_gone())
            stop_without_reader();
    }

    void finish()
    {
        const auto report = feed_->stop();
        const auto stats = feed_->stats();
        const bool is_clean = has_ended_well(report, is_muted_, settings_.tcp.has_value());
        if (status_ == exit_status::clean && !is_clean && !output_.is_gone()) {
            status_ = exit_status::stopped_uncleanly;
            complain(settings_, fmt::format("stopped uncleanly: {}", report));
        }
        if (const auto lost = settings_.recorded.lost(); lost != 0) {
            status_ = std::max(status_, exit_status::stopped_uncleanly);
            complain(settings_, fmt::format("{} entries are missing in the recording {}", lost,
                                            settings_.record_file));
        }
        if (settings_.is_json)
            printer_.report(text_, status_, report, stats);
        write();
        if (!output_.error().empty()) {
            status_ = std::max(status_, exit_status::stopped_uncleanly);
            complain(settings_, output_.error());
        }
        if (settings_.prints_stats) {
            auto text = fmt::format("{}\n{}\n", stats, report);
            Output{STDERR_FILENO}.write(text, [] { return true; });
        }
    }

    const Settings& settings_;
    std::unique_ptr<sidecar::Feed> feed_;
    std::string endpoint_;
    std::optional<sidecar::Listener> listener_{}; // of --listen and --relay
    std::string listens_on_{};
    sidecar::SignalGuard signals_;
    Printer printer_;
    Output output_{STDOUT_FILENO};
    Input input_;
    std::string text_{};  // waits to be written
    int descriptor_ = -1; // the feed's
    int status_ = exit_status::could_not_connect;
    std::uint64_t received_ = 0;
    bool is_muted_ = false; // no longer prints messages and failures
    bool is_over_ = false, was_up_ = false, had_client_ = false;
};

} // namespace

int run_session(const Settings& settings)
{
    const auto why = settings.record_file.empty() ? std::string{} : make_record_file(settings);
    if (!why.empty()) {
        complain({}, why);
        return exit_status::usage;
    }
    return Session{settings}.run();
}

} // namespace sidecar_cat
