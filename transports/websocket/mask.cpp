#include "mask.hpp"

#include <boost/system/error_code.hpp>
#include <boost/system/system_error.hpp>

#include <pthread.h>
#include <sys/random.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>

namespace sidecar::websocket {

namespace {

std::atomic<unsigned> fork_count{0}; // both: atomic; of this process and its ancestors

void count_forks()
{
    static const int registered =
        ::pthread_atfork(nullptr, nullptr, [] { fork_count.fetch_add(1); });
    static_cast<void>(registered);
}

/// Keys that one thread has in store. Invariant: the first left_ of them have not been given out, and
/// were drawn after the last fork.
class KeyStore {
public:
    [[nodiscard]] MaskKey take()
    {
        if (left_ == 0 || forks_ != fork_count.load(std::memory_order_relaxed))
            refill();
        return keys_[--left_];
    }

private:
    void refill()
    {
        count_forks();
        left_ = 0;
        forks_ = fork_count.load();
        const auto bytes = std::as_writable_bytes(std::span{keys_});
        for (std::size_t at = 0; at < bytes.size();) {
            const auto got = ::getrandom(bytes.data() + at, bytes.size() - at, 0);
            if (got < 0 && errno != EINTR)
                throw boost::system::system_error{errno, boost::system::system_category(),
                                                  "getrandom"};
            at += got < 0 ? 0 : static_cast<std::size_t>(got);
        }
        left_ = keys_.size();
    }

    std::array<MaskKey, 256> keys_{}; // the thread's own
    std::size_t left_ = 0;            // the thread's own
    unsigned forks_ = 0;              // the thread's own; when the keys were drawn
};

using Word = std::uint64_t;

void mask_word(std::byte* at, Word key) noexcept
{
    Word word;
    std::memcpy(&word, at, sizeof word); // payloads stand at any address
    word ^= key;
    std::memcpy(at, &word, sizeof word);
}

} // namespace

MaskKey new_mask_key()
{
    constinit thread_local static KeyStore store;
    return store.take();
}

void mask(std::span<std::byte> bytes, MaskKey key, std::size_t offset) noexcept
{
    std::array<std::byte, sizeof(Word)> pattern;
    for (std::size_t i = 0; i < pattern.size(); ++i)
        pattern[i] = key[(offset + i) % key.size()];
    Word word;
    std::memcpy(&word, pattern.data(), sizeof word);

    auto* at = bytes.data();
    auto left = bytes.size();
    for (; left >= 4 * sizeof word; left -= 4 * sizeof word, at += 4 * sizeof word) {
        mask_word(at, word);
        mask_word(at + sizeof word, word);
        mask_word(at + 2 * sizeof word, word);
        mask_word(at + 3 * sizeof word, word);
    }
    for (; left >= sizeof word; left -= sizeof word, at += sizeof word)
        mask_word(at, word);
    for (std::size_t i = 0; i < left; ++i)
        at[i] ^= pattern[i];
}

} // namespace sidecar::websocket
