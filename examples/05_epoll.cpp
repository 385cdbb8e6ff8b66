// Your epoll loop: the sidecar's descriptor is readable while there is something to take.
//   05_epoll ws://host:port/path
#include <sidecar/sidecar.hpp>
#include <sidecar/transports/websocket.hpp>

#include <fmt/format.h>

#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

using namespace std::chrono_literals;

int main(int argc, char** argv)
{
    sidecar::Sidecar<sidecar::WebSocket> feed{
        {.url = argc == 2 ? argv[1] : "ws://localhost:8080/feed"}};
    feed.start(5s).value();

    const int feed_fd = feed.native_handle().value();
    const int timer_fd = ::timerfd_create(CLOCK_MONOTONIC, 0);
    const itimerspec every_100_ms{.it_interval = {0, 100'000'000}, .it_value = {0, 100'000'000}};
    ::timerfd_settime(timer_fd, 0, &every_100_ms, nullptr);
    const int epoll_fd = ::epoll_create1(0);
    for (const int fd : {feed_fd, timer_fd}) {
        epoll_event interest{.events = EPOLLIN, .data = {.fd = fd}};
        ::epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &interest);
    }

    for (int ticks = 0; ticks < 3;) {
        epoll_event event{};
        if (::epoll_wait(epoll_fd, &event, 1, 5000) != 1)
            return fmt::print(stderr, "nothing happened for 5 s\n"), 1;
        if (event.data.fd == timer_fd) {
            std::uint64_t count = 0;
            (void)!::read(timer_fd, &count, sizeof count);
            feed.send(fmt::format("tick {}", ++ticks)).value();
            continue;
        }
        const auto taken =
            feed.poll([](const auto& message) { fmt::print("{}\n", message.text()); });
        if (!taken && !taken.error().will_retry())
            return fmt::print(stderr, "{}\n", taken.error()), 1;
    }
    ::close(epoll_fd);
    ::close(timer_fd);
}
