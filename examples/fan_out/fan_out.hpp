// The roles of the fan-out: each runs on any machine that reaches the cluster. Each returns its exit
// code, or throws the reason why it cannot go on.
#pragma once

#include <cstdint>
#include <string>

/// Makes the two streams, or empties them. `replicas`: each message is stored on so many nodes.
int make_streams(const std::string& url, std::uint64_t replicas);
/// Takes `count` quotes of a WebSocket feed (empty: it starts one), and publishes each to the first
/// stream; at the end to the second one how many there were, and the true sum.
int publish(const std::string& url, std::string feed, std::uint64_t count);
/// Shares the quotes with all other workers, and publishes price x size of each to the second stream.
int work(const std::string& url, const std::string& name);
/// Adds up the second stream until it has all, and compares the sum with the publisher's. Prints a
/// line after each `every` results.
int sum(const std::string& url, std::uint64_t every);
/// Returns which of "n0", "n1" and "n2" serves neither the workers nor sum().
std::string node_without_consumer(const std::string& url);
