// Batch: the messages for a transport's write().
#pragma once

#include <sidecar/detail/export.hpp>
#include <sidecar/detail/shared_message.hpp>
#include <sidecar/message.hpp>

#include <cstddef>
#include <cstdint>
#include <iterator>

namespace sidecar {

/// Holds the messages of a batch. A sidecar's source is the link's outbox; a program that drives a
/// transport without a sidecar derives another. Positions are the source's: they grow from message
/// to message. Side: the loop's thread.
class SIDECAR_API BatchSource {
public:
    BatchSource() = default;
    BatchSource(const BatchSource&) = delete;
    BatchSource& operator=(const BatchSource&) = delete;
    virtual ~BatchSource() = default;

    /// Returns the message at `position`, and moves `position` to the next one or the batch's end.
    [[nodiscard]] virtual MessageView read(std::uint64_t& position) const = 0;
    /// Returns what the message at `position` shares with the batches of other links; null: nothing.
    [[nodiscard]] virtual detail::SharedMessage* shared(std::uint64_t position) const
    {
        (void)position;
        return nullptr;
    }
    /// See Batch::mark_written. The messages behind `end` do not belong to the batch.
    virtual void mark_written(std::size_t count, std::uint64_t end) = 0;
    /// See Batch::mark_rest_unwritten.
    virtual void mark_rest_unwritten() noexcept {}
};

/// The messages queued for sending, oldest first. Lifetime: borrowed until write() returns.
class Batch {
public:
    class iterator {
    public:
        using value_type = MessageView;
        using difference_type = std::ptrdiff_t;
        iterator() = default;
        iterator(const BatchSource& source, std::uint64_t position, std::uint64_t end)
            : source_{&source}, position_{position}, next_{position}, end_{end}
        {
            read();
        }
        [[nodiscard]] const MessageView& operator*() const noexcept { return message_; }
        [[nodiscard]] const MessageView* operator->() const noexcept { return &message_; }
        /// Where a transport keeps the encoding of a message that goes to many clients; null: it
        /// goes to this link only.
        [[nodiscard]] detail::SharedMessage* shared() const { return source_->shared(position_); }
        iterator& operator++()
        {
            position_ = next_;
            read();
            return *this;
        }
        iterator operator++(int)
        {
            auto old = *this;
            ++*this;
            return old;
        }
        friend class Batch;
        friend bool operator==(const iterator& a, const iterator& b) noexcept
        {
            return a.position_ == b.position_;
        }

    private:
        void read()
        {
            if (position_ != end_)
                message_ = source_->read(next_);
        }

        const BatchSource* source_ = nullptr;
        std::uint64_t position_ = 0;
        std::uint64_t next_ = 0;
        std::uint64_t end_ = 0;
        MessageView message_;
    };

    /// Lifetime: `source` outlives the batch.
    Batch(BatchSource& source, std::uint64_t from, std::uint64_t to) noexcept
        : source_{&source}, from_{from}, to_{to}
    {
    }

    [[nodiscard]] iterator begin() const { return {*source_, from_, to_}; }
    [[nodiscard]] iterator end() const { return {*source_, to_, to_}; }

    /// The messages before `last`, an iterator of this batch.
    [[nodiscard]] Batch until(const iterator& last) const noexcept
    {
        return {*source_, from_, last.position_};
    }

    /// The messages behind `first`, which is an until() of this batch.
    [[nodiscard]] Batch after(const Batch& first) const noexcept
    {
        return {*source_, first.to_, to_};
    }
    [[nodiscard]] bool empty() const noexcept { return from_ == to_; }
    /// The positions of its first message and behind its last one, as its source counts.
    [[nodiscard]] std::uint64_t begin_position() const noexcept { return from_; }
    [[nodiscard]] std::uint64_t end_position() const noexcept { return to_; }
    /// The holder of the messages, for a transport that wraps another one: it derives a source that
    /// calls this one.
    [[nodiscard]] BatchSource& source() const noexcept { return *source_; }

    /// Optional: reports that the system has taken the `count` oldest messages not yet marked, so
    /// that a later failure of this write is counted exactly. A write() that returns normally has
    /// written all. Lifetime: ends that of the marked messages, and of iterators at them.
    void mark_written(std::size_t count) const { source_->mark_written(count, to_); }
    /// Optional: reports before a failure of this write that no byte of the messages not yet marked
    /// was written, or that the protocol drops doubles. So OnDisconnect::keep sends all of them on the next connection.
    void mark_rest_unwritten() const noexcept { source_->mark_rest_unwritten(); }

private:
    BatchSource* source_;
    std::uint64_t from_;
    std::uint64_t to_;
};

} // namespace sidecar
