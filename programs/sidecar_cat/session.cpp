#include "session.hpp"

#include "input.hpp"
#include "output.hpp"

#include <sidecar/format.hpp>
#include <sidecar/sidecar.hpp>
#include <sidecar/signals.hpp>

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <future>
#include <memory>
#include <new>
#include <poll.h>
#include <string>
#include <string_view>
#include <thread>
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

/// The peer ended the connection instead of answering our close, after it got everything.
bool has_peer_left(sidecar::StopReport report)
{
    if (report.close.verdict == sidecar::Verdict::failed && report.unsent_messages == 0)
        report.close.verdict = sidecar::Verdict::ok;
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

std::unique_ptr<sidecar::Feed> make_feed(const Settings& settings)
{
    if (settings.tcp)
        return std::make_unique<sidecar::Sidecar<sidecar::Tcp<sidecar::Lines>>>(
            *settings.tcp, feed_options(settings));
    return std::make_unique<sidecar::Sidecar<sidecar::WebSocket>>(settings.websocket,
                                                                  feed_options(settings));
}

/// One run of the program. Owned by run_session(). Side: the main thread.
class Session {
public:
    explicit Session(const Settings& settings)
        : settings_{settings},
          feed_{make_feed(settings)},
          endpoint_{settings.tcp ? sidecar::Tcp<sidecar::Lines>::endpoint(*settings.tcp)
                                 : sidecar::WebSocket::endpoint(settings.websocket)},
          signals_{sidecar::stop_on_signals(*feed_)},
          printer_{settings},
          input_{STDIN_FILENO, *feed_, settings}
    {
    }
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

    /// Runs to the end and returns the exit status.
    [[nodiscard]] int run() noexcept
    {
        try {
            if (connect()) {
                status_ = exit_status::clean;
                for (take_events(); !is_over_; take_events())
                    wait();
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
        return descriptor_ < 0 ? exit_status::could_not_connect : exit_status::stopped_uncleanly;
    }

private:
    /// Starts the feed and the input's thread. False: it could not connect.
    bool connect()
    {
        // On a thread: start() waits for the peer only, and meanwhile the reader of our output may
        // leave.
        auto starting =
            std::async(std::launch::async, [this] { return feed_->start(settings_.timeout); });
        while (starting.wait_for(std::chrono::milliseconds{100}) == std::future_status::timeout)
            if (is_reader_gone() || signals_.signal() != 0)
                feed_->request_stop();
        const auto started = starting.get();
        const auto handle =
            started ? feed_->native_handle() : sidecar::Result<int>{started.error()};
        printer_.set_time(std::chrono::system_clock::now());
        if (!handle && output_.is_gone()) {
            status_ = exit_status::clean;
            return false;
        }
        if (!handle) {
            const auto& why = handle.error();
            const bool is_usage =
                why == sidecar::Error::bad_address || why == sidecar::Error::bad_options;
            status_ = is_usage ? exit_status::usage : exit_status::could_not_connect;
            if (settings_.is_json)
                printer_.down(text_, why);
            complain(settings_, why.message());
            return false;
        }
        descriptor_ = *handle;
        std::thread{[this] { input_.run(); }}.detach();
        return true;
    }

    void wait()
    {
        // With reconnecting: an `up` or a `retry` alone does not make the feed's descriptor
        // readable.
        const int timeout = settings_.feed.link.reconnect ? 100 : -1;
        ::pollfd entries[] = {{descriptor_, POLLIN, 0},
                              {output_.is_gone() ? -1 : STDOUT_FILENO, 0, 0}};
        if (::poll(entries, 2, timeout) > 0 && is_reader_gone())
            stop_listening();
    }

    bool is_reader_gone()
    {
        ::pollfd entry{STDOUT_FILENO, 0, 0};
        if (::poll(&entry, 1, 0) > 0)
            output_.set_gone();
        return output_.is_gone() && !is_muted_;
    }

    void take_events()
    {
        constexpr std::size_t batch_bytes = std::size_t{64} << 10;
        printer_.set_time(std::chrono::system_clock::now());
        while (!is_over_) {
            const auto event = feed_->next_event({});
            if (event)
                take(*event);
            else if (event.error() == sidecar::Error::timed_out)
                break;
            else
                record_failure(event.error());
            if (text_.size() >= batch_bytes)
                write();
        }
        write();
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
        if (event.kind == Kind::message) {
            printer_.message(text_, event.message.view());
            if (++received_ == settings_.count)
                stop_listening();
        } else if (event.kind == Kind::up && settings_.is_json) {
            printer_.up(text_, endpoint_, event.protocol);
        } else if (event.next_attempt && event.failure) {
            if (settings_.is_json)
                printer_.down(text_, *event.failure);
            complain(settings_, event.failure->message() + "; it is tried again");
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
        // With TLS 1.3 a server may refuse our certificate after our handshake has ended (RFC 8446
        // section 4.4.4), when we expect a message.
        const bool is_refusal =
            failure == sidecar::Error::tls_failed && !settings_.feed.link.reconnect;
        status_ = is_refusal ? exit_status::could_not_connect : exit_status::link_lost;
        complain(settings_, failure.message());
    }

    void stop_listening()
    {
        is_muted_ = true;
        feed_->request_stop();
    }

    void write()
    {
        output_.write(text_, [this] { return signals_.signal() != 0; });
        if (output_.is_gone() && !is_muted_)
            stop_listening();
        printer_.set_time(std::chrono::system_clock::now());
    }

    void finish()
    {
        const auto report = feed_->stop();
        const auto stats = feed_->stats();
        if (input_.has_failed())
            status_ = std::max(status_, exit_status::stopped_uncleanly);
        // A peer that leaves after the last requested message may be faster than our close.
        const bool is_clean = report.clean() || (is_muted_ && has_peer_left(report));
        if (status_ == exit_status::clean && !is_clean && !output_.is_gone()) {
            status_ = exit_status::stopped_uncleanly;
            complain(settings_, fmt::format("stopped uncleanly: {}", report));
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
    sidecar::SignalGuard signals_;
    Printer printer_;
    Output output_{STDOUT_FILENO};
    Input input_;         // its thread begins when the link is up
    std::string text_{};  // waits to be written
    int descriptor_ = -1; // the feed's
    int status_ = exit_status::could_not_connect;
    std::uint64_t received_ = 0;
    bool is_muted_ = false; // no longer prints messages and failures
    bool is_over_ = false;
};

} // namespace

void run_session(const Settings& settings)
{
    Session session{settings};
    std::_Exit(session.run()); // without destructors: the input's thread may still use the session
}

} // namespace sidecar_cat
