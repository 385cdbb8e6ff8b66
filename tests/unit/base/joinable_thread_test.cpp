#include "base/joinable_thread.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <memory>

namespace joinable_thread_test {

using namespace sidecar;
using namespace std::chrono_literals;

TEST_CASE(
    "JoinableThread: one that is orphaned before it starts is no joined one, and counts until "
    "it ends")
{
    const auto before = detail::JoinableThread::orphan_count();
    auto thread = std::make_shared<detail::JoinableThread>();
    CHECK(thread->orphan());
    CHECK_FALSE(thread->orphan());
    CHECK(detail::JoinableThread::orphan_count() == before + 1);
    thread->start([thread] { thread->mark_ended(); });
    CHECK(thread->wait_for_end(std::chrono::steady_clock::now() + 10s));
    CHECK(detail::JoinableThread::orphan_count() == before);
    CHECK_FALSE(thread->orphan());

    thread = std::make_shared<detail::JoinableThread>();
    CHECK(thread->orphan());
    thread.reset(); // it never starts
    CHECK(detail::JoinableThread::orphan_count() == before);

    thread = std::make_shared<detail::JoinableThread>();
    thread->start([thread] { thread->mark_ended(); });
    REQUIRE(thread->join_until(std::chrono::steady_clock::now() + 10s));
    CHECK_FALSE(thread->orphan());
    CHECK(detail::JoinableThread::orphan_count() == before);
}

} // namespace joinable_thread_test
