#include <sender.hpp>

#include <doctest/doctest.h>

#include <sys/wait.h>
#include <unistd.h>

#include <set>
#include <thread>
#include <vector>

namespace mask_test {

using namespace sidecar::websocket;

TEST_CASE("mask: is RFC 6455's exclusive or, at any address, length and offset")
{
    const MaskKey key{std::byte{0x37}, std::byte{0xfa}, std::byte{0x21}, std::byte{0x3d}};
    for (std::size_t begin = 0; begin < 9; ++begin) {
        for (std::size_t size = 0; size < 90; ++size) {
            for (std::size_t offset = 0; offset < 5; ++offset) {
                std::vector<std::byte> bytes(begin + size + 8, std::byte{0x55});
                mask(std::span{bytes}.subspan(begin, size), key, offset);
                bool is_right = true;
                for (std::size_t i = 0; i < bytes.size(); ++i) {
                    const bool is_inside = i >= begin && i < begin + size;
                    const auto expected = is_inside
                                              ? std::byte{0x55} ^ key[(offset + i - begin) % 4]
                                              : std::byte{0x55};
                    is_right = is_right && bytes[i] == expected;
                }
                REQUIRE(is_right);
            }
        }
    }
}

TEST_CASE("mask: ten thousand keys differ, as do those of two threads")
{
    std::set<MaskKey> keys;
    const auto draw = [&] {
        for (int i = 0; i < 10'000; ++i)
            keys.insert(new_mask_key());
    };
    draw();
    std::thread{draw}.join();
    CHECK(keys.size()
          > 19'900); // of four billion: the chance of ten pairs is below one in a million
}

TEST_CASE("mask: a process that forks shares no key with its child")
{
    (void)new_mask_key(); // what is in store is copied
    constexpr int count = 100;
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    const auto child = ::fork();
    if (child == 0) {
        for (int i = 0; i < count; ++i) {
            const auto key = new_mask_key();
            if (::write(ends[1], key.data(), key.size()) != static_cast<ssize_t>(key.size()))
                ::_exit(1);
        }
        ::_exit(0);
    }
    std::set<MaskKey> keys;
    for (int i = 0; i < count; ++i)
        keys.insert(new_mask_key());
    int status = -1;
    REQUIRE(::waitpid(child, &status, 0) == child);
    REQUIRE(status == 0);
    for (int i = 0; i < count; ++i) {
        MaskKey key;
        REQUIRE(::read(ends[0], key.data(), key.size()) == static_cast<ssize_t>(key.size()));
        keys.insert(key);
    }
    ::close(ends[0]);
    ::close(ends[1]);
    CHECK(keys.size() >= 2 * count - 1);
}

} // namespace mask_test
