// A word from a test to the script of its peer.
#pragma once

#include "raw_peer.hpp"

#include <chrono>
#include <semaphore>

/// Given once, waited for once. A script does not wait for ever for what a failed test never says.
class SignalOnce {
public:
    void give() { semaphore_.release(); }
    void wait()
    {
        if (!semaphore_.try_acquire_for(std::chrono::seconds{20}))
            throw PeerGone{"the test has not gone on"};
    }

private:
    std::binary_semaphore semaphore_{0};
};
