// A server that is measured, in a process of its own, and the commands that it gets from the load.
// C++17, for the servers that need it.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <thread>

#include <poll.h>
#include <unistd.h>

namespace bench {

/// One server. Its clients may connect once the constructor has returned.
class Subject {
public:
    Subject() = default;
    Subject(const Subject&) = delete;
    Subject& operator=(const Subject&) = delete;
    virtual ~Subject() = default;

    [[nodiscard]] virtual std::uint16_t port() = 0;
    /// The number of clients that get broadcasts.
    [[nodiscard]] virtual std::size_t count() = 0;
    /// Sends a binary message to each client. Side: the application's thread.
    virtual void broadcast(std::string_view payload) = 0;
    /// Takes what has arrived. Side: the application's thread; often.
    virtual void turn() {}
    /// Answers each message with itself, for ever, unless another thread does so anyway.
    virtual void echo() {}
};

/// Runs the commands on standard input until it ends:
/// - "wait N": answers "ready" once there are N clients;
/// - "burst COUNT WINDOW BYTES": broadcasts so many messages, at most WINDOW ahead of the dots that
///   arrive, and answers "done" with the mean time of a broadcast() in nanoseconds;
/// - "paced COUNT RATE BYTES": broadcasts so many, RATE in a second; the same answer;
/// - "echo".
/// A message begins with the time of its broadcast and its number, eight bytes each.
class Commands {
public:
    explicit Commands(Subject& subject) : subject_{subject} {}

    void run()
    {
        say(std::to_string(subject_.port()));
        for (std::string line; read_line(line);) {
            char name[16] = {};
            unsigned long count = 0, rate = 0, bytes = 0;
            std::sscanf(line.c_str(), "%15s %lu %lu %lu", name, &count, &rate, &bytes);
            if (line == "echo")
                subject_.echo();
            else if (std::string_view{name} == "wait")
                wait_for(count);
            else
                send(std::string_view{name} == "paced", count, rate, bytes);
        }
    }

private:
    using Clock = std::chrono::steady_clock;

    static void say(const std::string& text)
    {
        std::printf("%s\n", text.c_str());
        std::fflush(stdout);
    }
    /// False at the end of the input.
    bool read_some(int timeout)
    {
        pollfd ready{0, POLLIN, 0};
        if (::poll(&ready, 1, timeout) == 0)
            return true;
        char bytes[4096];
        const auto got = ::read(0, bytes, sizeof bytes);
        if (got <= 0)
            return false;
        input_.append(bytes, static_cast<std::size_t>(got));
        return true;
    }
    bool read_line(std::string& line)
    {
        for (;;) {
            take_dots(); // of the command before
            if (const auto end = input_.find('\n'); end != input_.npos) {
                line = input_.substr(0, end);
                input_.erase(0, end + 1);
                return true;
            }
            subject_.turn();
            if (!read_some(10))
                return false;
        }
    }
    void wait_for(std::size_t count)
    {
        while (subject_.count() < count) {
            subject_.turn();
            std::this_thread::sleep_for(std::chrono::milliseconds{1});
        }
        subject_.turn();
        say("ready");
    }
    void take_dots()
    {
        arrived_ += static_cast<unsigned long>(std::count(input_.begin(), input_.end(), '.'));
        input_.erase(std::remove(input_.begin(), input_.end(), '.'), input_.end());
    }
    void send(bool is_paced, unsigned long count, unsigned long rate, std::size_t bytes)
    {
        std::string payload(bytes, '\0');
        for (std::size_t i = 0; i < bytes; ++i)
            payload[i] = static_cast<char>('a' + i % 26);
        Clock::duration spent{};
        arrived_ = 0;
        const auto began = Clock::now();
        for (unsigned long i = 0; i < count; ++i) {
            if (is_paced)
                std::this_thread::sleep_until(began
                                              + std::chrono::nanoseconds{1'000'000'000 / rate * i});
            else
                for (take_dots(); i - arrived_ >= rate; take_dots())
                    if (!read_some(-1))
                        return;
            const auto from = Clock::now();
            const std::uint64_t head[2] = {
                static_cast<std::uint64_t>(from.time_since_epoch().count()), ++number_};
            std::memcpy(payload.data(), head, sizeof head);
            subject_.broadcast(payload);
            spent += Clock::now() - from;
            subject_.turn();
        }
        for (take_dots(); !is_paced && arrived_ < count; take_dots())
            if (!read_some(-1))
                return;
        say("done " + std::to_string(spent.count() / static_cast<long>(count)));
    }

    Subject& subject_;
    std::string input_;
    unsigned long arrived_ = 0;
    std::uint64_t number_ = 0;
};

} // namespace bench
