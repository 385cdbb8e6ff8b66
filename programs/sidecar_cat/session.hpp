// Session: one run of the program, from connecting to the exit status.
#pragma once

#include "input.hpp"
#include "make_feed.hpp"
#include "output.hpp"
#include "printer.hpp"
#include "settings.hpp"
#include "starter.hpp"
#include "state_line.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/signals.hpp>

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace sidecar_cat {

/// The one loop of the program. It waits for the feed, standard input, standard output and signals
/// at once, and blocks in nothing else, so that a reader or a peer who stands still delays neither
/// each other nor a stop. What it takes from one side it has a place for on the other, or it does
/// not take it. Owned by main().
class Session {
public:
    /// Where the program prints, and how.
    struct Place {
        Style style{};
        bool shows_sent = false; ///< print what is sent too
        int state_line = -1;     ///< a terminal whose last line tells the state; -1: none
        int dump_signals = -1;   ///< a signalfd that asks for dumps; -1: none
    };
    Session(const Settings& settings, const Place& place);

    /// Gives the exit status.
    [[nodiscard]] int run();

private:
    enum class Phase { connecting, running, stopping, over };
    struct Kept { // what could not be sent yet
        sidecar::MessageKind kind;
        std::string payload;
        std::size_t line; // of the input; 0: it is an echo, or the input has none
    };

    void wait();
    [[nodiscard]] sidecar::Duration retry_after() const;
    [[nodiscard]] sidecar::Duration time_to_wait() const;
    void note_started(const sidecar::Result<void>& started);
    void note_failure(const sidecar::Failure& failure);
    void note_deadlines();
    void take_messages();
    void take_batch(std::size_t limit);
    void take_events(std::size_t limit);
    void take_event(const sidecar::Event& event);
    void note_received();
    void take_one(const sidecar::MessageView& message);
    void send_input();
    void send(sidecar::MessageKind kind, std::string_view payload, std::size_t line = 0);
    [[nodiscard]] bool try_send(sidecar::MessageKind kind, std::string_view payload,
                                std::size_t line);
    void send_kept();
    void note_input_end();
    void begin_stop();
    void draw_state();
    void answer_dump();
    void write_output();
    void write_rest();
    void judge_output(const sidecar::StopReport& report);
    [[nodiscard]] sidecar::TimePoint patience_end() const;
    int finish();
    void complain(std::string_view text) const;

    const Settings& settings_;
    const Place place_;
    MadeFeed made_;
    sidecar::SignalGuard signals_;
    std::optional<Starter> starter_{}; // while connecting
    Printer printer_;
    Input input_;
    Output output_;
    StateLine state_line_;

    Phase phase_ = Phase::connecting;
    int status_ = 0;
    int feed_descriptor_ = -1;
    std::uint64_t received_ = 0;
    bool is_muted_ = false; // what still comes is not wanted any more
    std::optional<Kept> kept_{};
    sidecar::TimePoint duration_end_ = sidecar::TimePoint::max();
    sidecar::TimePoint linger_end_ = sidecar::TimePoint::max();
    sidecar::TimePoint written_at_{}; // when standard output last took something
    sidecar::TimePoint drawn_at_{};
    sidecar::Stats drawn_stats_{};
};

} // namespace sidecar_cat
