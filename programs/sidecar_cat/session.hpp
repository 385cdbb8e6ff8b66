// Session: one run of the program, from connecting to the exit status.
#pragma once

#include "input.hpp"
#include "options.hpp"
#include "output.hpp"

#include <sidecar/sidecar.hpp>
#include <sidecar/signals.hpp>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace sidecar_cat {

/// Prints what the feed gives, on the main thread, while Input sends on a thread: neither a slow
/// reader nor a slow peer keeps the other direction waiting. Owned by main().
class Session {
public:
    explicit Session(const Settings& settings);
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;
    ~Session();

    /// Returns the exit status.
    [[nodiscard]] int run() noexcept;

private:
    /// False: it could not connect.
    bool connect();
    void wait();
    [[nodiscard]] bool is_reader_gone();
    void take_events();
    void take(const sidecar::Event& event);
    void note_failure(const sidecar::Failure& failure);
    void stop_listening();
    void write();
    void finish();

    const Settings& settings_;
    std::unique_ptr<sidecar::Feed> feed_;
    std::string endpoint_;
    sidecar::SignalGuard signals_;
    Printer printer_;
    Output output_;
    std::string text_{};           // to be written
    std::optional<Input> input_{}; // once it is up
    int descriptor_ = -1;          // the feed's
    int status_ = exit_status::could_not_connect;
    std::uint64_t received_ = 0;
    bool is_muted_ = false; // what still comes is not printed
    bool is_over_ = false;
};

} // namespace sidecar_cat
