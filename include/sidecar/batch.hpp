// Batch: the messages that a transport is to write.
#pragma once

#include <sidecar/detail/export.hpp>
#include <sidecar/message.hpp>

#include <cstddef>
#include <cstdint>
#include <iterator>

namespace sidecar {

/// Where a batch's messages stand. A sidecar's is the link's outbox; whoever drives a transport
/// without a sidecar writes his own. Positions are the source's: they grow from message to message.
/// Side: the loop's thread.
class SIDECAR_API BatchSource {
public:
    BatchSource() = default;
    BatchSource(const BatchSource&) = delete;
    BatchSource& operator=(const BatchSource&) = delete;
    virtual ~BatchSource() = default;

    /// The message at `position`, which moves on to the next one's, or to the batch's end.
    [[nodiscard]] virtual MessageView read(std::uint64_t& position) const = 0;
    /// See Batch::mark_written. Nothing behind `end` is of this batch.
    virtual void mark_written(std::size_t count, std::uint64_t end) = 0;
};

/// All messages that are queued for sending, oldest first. Lifetime: borrowed until write()
/// returns.
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

    /// The messages before `last`, which stands in this batch.
    [[nodiscard]] Batch until(const iterator& last) const noexcept
    {
        return {*source_, from_, last.position_};
    }

    /// What stands behind `first`, which is until() of this batch.
    [[nodiscard]] Batch after(const Batch& first) const noexcept
    {
        return {*source_, first.to_, to_};
    }
    [[nodiscard]] bool empty() const noexcept { return from_ == to_; }
    /// Behind its last message, as its source counts.
    [[nodiscard]] std::uint64_t end_position() const noexcept { return to_; }

    /// Optional: says that the `count` oldest messages not yet marked have been handed to the
    /// system, so that a failure later in this write is counted exactly. A write() that returns
    /// normally has written all. Lifetime: the marked messages, and iterators that stand on them,
    /// are gone.
    void mark_written(std::size_t count) const { source_->mark_written(count, to_); }

private:
    BatchSource* source_;
    std::uint64_t from_;
    std::uint64_t to_;
};

} // namespace sidecar
