// Threads that a stop left alone: they end later, and a test that made one waits for that.
#pragma once

#include <sidecar/sidecar.hpp>

#include <chrono>
#include <thread>

/// Waits until so many are left; false after 10 s.
inline bool wait_for_orphans(std::size_t count)
{
    for (const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds{10};
         sidecar::orphan_count() != count && std::chrono::steady_clock::now() < give_up;)
        std::this_thread::yield();
    return sidecar::orphan_count() == count;
}
