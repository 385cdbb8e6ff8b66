// Handoffs from one thread to another within a process, 64 bytes each: our inbox as the loop uses
// it, and queues that could replace it.
#include "handoff.hpp"

#include "clients/handoff_queue.hpp"

#include "queue/inbox.hpp"

#include <atomic>
#include <cstring>
#include <memory>
#include <thread>

namespace bench {
namespace {

/// Yields at times: the other side may need this very core.
void relax(unsigned& patience)
{
    if (++patience % 64 == 0)
        std::this_thread::yield();
}

/// The minimum: one producer, one consumer, bytes, and two counters. Each side reads the other's
/// counter only when it must.
class ByteRing {
public:
    void push(Bytes message)
    {
        const auto record = message.size() + 8;
        for (unsigned patience = 0; tail_ + record - head_seen_ > size; relax(patience))
            head_seen_ = head_published_.load(std::memory_order_acquire);
        const std::uint64_t length = message.size();
        std::memcpy(at(tail_), &length, sizeof length);
        std::memcpy(at(tail_) + 8, message.data(), message.size());
        tail_ += record;
    }
    void publish() { tail_published_.store(tail_, std::memory_order_release); }
    template <class Handler>
    void pop_while(Handler&& handler)
    {
        for (unsigned patience = 0;; relax(patience)) {
            const auto end = tail_published_.load(std::memory_order_acquire);
            while (head_ != end) {
                std::uint64_t length = 0;
                std::memcpy(&length, at(head_), sizeof length);
                const bool go_on = handler(Bytes{at(head_) + 8, static_cast<std::size_t>(length)});
                head_ += length + 8;
                if (!go_on)
                    return;
            }
            head_published_.store(head_, std::memory_order_release);
        }
    }

private:
    // A multiple of every record size here, so that none wraps: this is a floor, not a queue for
    // use.
    static constexpr std::size_t size = 72u << 14;
    [[nodiscard]] std::byte* at(std::uint64_t position) { return memory_.get() + position % size; }

    std::unique_ptr<std::byte[]> memory_{new std::byte[size]};
    alignas(64) std::uint64_t tail_ = 0, head_seen_ = 0;
    alignas(64) std::atomic<std::uint64_t> tail_published_{0};
    alignas(64) std::uint64_t head_ = 0;
    alignas(64) std::atomic<std::uint64_t> head_published_{0};
};

/// Bounded, because a fast producer would fill the memory.
class MutexQueue {
public:
    void push(Bytes message)
    {
        for (unsigned patience = 0; pushed_ - popped_.load(std::memory_order_relaxed) > 65536;
             relax(patience)) {
        }
        queue_.push({reinterpret_cast<const char*>(message.data()), message.size()});
        ++pushed_;
    }
    void publish() {}
    template <class Handler>
    void pop_while(Handler&& handler)
    {
        queue_.pop_while([&](Bytes message) {
            popped_.store(popped_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
            return handler(message);
        });
    }

private:
    HandoffQueue queue_;
    std::uint64_t pushed_ = 0;
    alignas(64) std::atomic<std::uint64_t> popped_{0};
};

class OurInbox {
public:
    OurInbox()
    {
        inbox_.on_space = [] {};
    }
    void push(Bytes message)
    {
        for (unsigned patience = 0;
             !inbox_.push(sidecar::LinkId{0}, sidecar::MessageKind::binary, message);
             relax(patience))
            inbox_.publish();
    }
    void publish() { inbox_.publish(); }
    template <class Handler>
    void pop_while(Handler&& handler)
    {
        for (bool go_on = true; go_on;) {
            const auto hand_over = [&](const auto& message) {
                if (go_on)
                    go_on = handler(message.bytes());
            };
            if (inbox_.poll(sidecar::detail::MessageHandler{hand_over}, 4096).value() == 0 && go_on)
                hand_over(inbox_.receive(sidecar::Duration::max()).value());
        }
    }

private:
    class RealClock final : public sidecar::detail::AppClock {
    public:
        [[nodiscard]] sidecar::TimePoint now() const noexcept override { return Clock::now(); }
        // A load, as in a loop, but of the time at which this object was made
        [[nodiscard]] sidecar::TimePoint iteration_began() const noexcept override { return made_; }

    private:
        const sidecar::TimePoint made_ = Clock::now();
    };
    RealClock clock_;
    sidecar::detail::Inbox inbox_{{.bytes = 8u << 20, .messages = 1u << 17}, {}, clock_};
};

const bool registered = [] {
    registry().push_back({"handoff", "byte ring", measure_handoff<ByteRing>, {}});
    registry().push_back({"handoff", "mutex and queue", measure_handoff<MutexQueue>, {}});
    registry().push_back({"handoff", "sidecar inbox", measure_handoff<OurInbox>, {}});
    return true;
}();

} // namespace
} // namespace bench
