// SharedMessage: one message that goes to many clients.
#pragma once

#include <sidecar/detail/export.hpp>
#include <sidecar/message.hpp>

#include <cstddef>
#include <cstring>
#include <memory>
#include <span>
#include <utility>
#include <vector>

namespace sidecar::detail {

/// The payload of a broadcast, and its encodings: each transport's connections encode it once. The
/// queues of the clients share it.
class SharedMessage {
public:
    using Encoding = std::vector<std::byte>;

    SharedMessage(StoredKind kind, std::span<const std::byte> payload)
        : kind_{kind}, size_{payload.size()}, payload_{new std::byte[payload.size()]}
    {
        if (size_ != 0)
            std::memcpy(payload_.get(), payload.data(), size_);
    }
    SharedMessage(const SharedMessage&) = delete;
    SharedMessage& operator=(const SharedMessage&) = delete;

    /// Side: any.
    [[nodiscard]] MessageView view(LinkId link = {}) const noexcept
    {
        return {link, kind_, {payload_.get(), size_}};
    }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    /// Returns the encoding with this key, which the transport chooses; null: there is none yet.
    /// Side: the loop's thread.
    [[nodiscard]] const Encoding* find(unsigned key) const noexcept
    {
        for (const auto& [its_key, encoding] : encodings_)
            if (its_key == key)
                return encoding.get();
        return nullptr;
    }
    /// Keeps an encoding. Side: the loop's thread. Lifetime of the result: as this object.
    const Encoding& keep(unsigned key, Encoding encoding)
    {
        encodings_.emplace_back(key, std::make_unique<const Encoding>(std::move(encoding)));
        return *encodings_.back().second;
    }

private:
    const StoredKind kind_;                                                       // both: constant
    const std::size_t size_;                                                      // both: constant
    const std::unique_ptr<std::byte[]> payload_;                                  // both: constant
    std::vector<std::pair<unsigned, std::unique_ptr<const Encoding>>> encodings_; // sidecar side
};

} // namespace sidecar::detail
