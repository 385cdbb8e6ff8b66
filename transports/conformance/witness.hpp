// The sink and the batches of the kit: they record each use that breaks a rule.
#pragma once

#include "loop.hpp"

#include <sidecar/batch.hpp>
#include <sidecar/check_transport.hpp>
#include <sidecar/sink.hpp>

#include <cstddef>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace sidecar::conformance {

/// Memory that a transport must not use any longer gets this value.
constexpr char scrambled = '\xdd';

/// A message as the kit sends it.
struct Sample {
    MessageKind kind = MessageKind::text;
    std::string payload{};

    friend bool operator==(const Sample&, const Sample&) = default;
};

/// Shows the begin of a payload, and its size.
[[nodiscard]] std::string show(std::string_view payload);

/// Keeps the first violation that was seen inside a call of the transport. Side: any thread, since
/// a broken transport may use several.
class Verdict {
public:
    Verdict() noexcept : thread_{std::this_thread::get_id()} {}
    void record(int rule, std::string saw);
    /// Throws the violation, if there is one.
    void check() const;
    /// Records a call from another thread than the kit's; returns whether it is one.
    bool is_foreign(const char* call);

private:
    const std::thread::id thread_; // both: constant
    mutable std::mutex mutex_;
    std::optional<RuleBroken> first_; // both: guarded by mutex_
};

/// Takes messages as a link's sink does: the first put of a read is never refused.
class WitnessSink final : public Sink {
public:
    WitnessSink(const Operation& read, Verdict& verdict, std::size_t max_message_bytes)
        : read_{read}, verdict_{verdict}, max_message_bytes_{max_message_bytes}
    {
    }

    bool put(MessageKind kind, std::span<const std::byte> payload) override;
    std::span<std::byte> receive_buffer(std::size_t at_least) override;
    std::span<std::byte> prepare(std::size_t payload_bytes) override;
    void commit(MessageKind kind) override;
    void on_bytes() override { (void)must_be_reading("Sink::on_bytes()"); }
    void on_pong(std::span<const std::byte> payload) override;
    Task<bool> wait_for_room(Context ctx, TimePoint deadline) override;

    // --- for the driver
    void begin_read();
    /// Looks, between two handlers, whether a read waits after a put; ends the life of a lent
    /// buffer.
    void between_handlers();
    [[nodiscard]] bool has_room() const noexcept { return has_room_; }
    void make_room();
    [[nodiscard]] bool has_put() const noexcept { return puts_ != 0; }
    [[nodiscard]] std::size_t refusals() const noexcept { return refusals_; }

    std::vector<Sample> taken;      // sidecar side
    std::vector<std::string> pongs; // sidecar side
    std::size_t refuse_at = 0;      // sidecar side; the n-th put of each read; 0: none
    std::size_t refusals_left = 0;  // sidecar side; for refuse_at
    bool lends_memory = false;      // sidecar side; receive_buffer() returns some
    bool prepares = false;          // sidecar side; prepare() returns memory

private:
    bool must_be_reading(const char* call);
    void check_lent(const char* when);
    void take(MessageKind kind, std::string payload);

    const Operation& read_;                      // sidecar side
    Verdict& verdict_;                           // both
    const std::size_t max_message_bytes_;        // sidecar side
    std::size_t puts_ = 0;                       // sidecar side; of this read, refused ones too
    std::size_t refusals_ = 0;                   // sidecar side; of all reads
    bool has_room_ = true;                       // sidecar side
    bool was_refused_ = false;                   // sidecar side; in this read
    bool waits_for_room_ = false;                // sidecar side
    std::optional<Sample> owed_;                 // sidecar side; refused, and not put again yet
    LoopEvent room_;                             // sidecar side
    std::vector<std::byte> lent_;                // sidecar side; the memory of receive_buffer()
    bool is_lent_ = false;                       // sidecar side
    std::map<std::size_t, std::string> in_lent_; // sidecar side; messages put from there, by place
    std::optional<std::vector<std::byte>> prepared_; // sidecar side
};

/// The messages of one write. Their memory is scrambled as soon as the transport must not read it.
class WitnessBatch final : public BatchSource {
public:
    WitnessBatch(const std::vector<Sample>& messages, Verdict& verdict)
        : messages_{messages}, verdict_{verdict}
    {
    }

    MessageView read(std::uint64_t& position) const override;
    void mark_written(std::size_t count, std::uint64_t end) override;

    [[nodiscard]] Batch batch() { return {*this, position_of(0), position_of(messages_.size())}; }
    [[nodiscard]] std::size_t size() const noexcept { return messages_.size(); }
    [[nodiscard]] std::size_t marked() const noexcept { return marked_; }
    /// Called when its write has ended.
    void end();

private:
    /// No index, so that a transport cannot take it for one.
    static constexpr std::uint64_t first = 1000, step = 3;
    [[nodiscard]] static std::uint64_t position_of(std::size_t index) noexcept
    {
        return first + step * index;
    }
    void scramble(std::size_t from, std::size_t to);

    std::vector<Sample> messages_; // sidecar side
    Verdict& verdict_;             // both
    std::size_t marked_ = 0;       // sidecar side
    bool is_over_ = false;         // sidecar side
};

} // namespace sidecar::conformance
