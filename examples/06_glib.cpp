// A GLib main loop (GTK's): the sidecar's descriptor is one more event source.
//   06_glib ws://host:port/path
#include <sidecar/sidecar.hpp>
#include <sidecar/transports/websocket.hpp>

#include <fmt/format.h>
#include <glib-unix.h>

using namespace std::chrono_literals;

namespace {

struct Application {
    sidecar::Feed& feed;
    GMainLoop* loop;
    int left = 3;
};

gboolean on_readable(gint, GIOCondition, gpointer data)
{
    auto& application = *static_cast<Application*>(data);
    const auto taken = application.feed.poll([&](const auto& message) {
        fmt::print("{}\n", message.text());
        --application.left;
    });
    const bool goes_on = taken || taken.error().will_retry();
    if (goes_on && application.left > 0)
        return G_SOURCE_CONTINUE;
    if (!goes_on)
        fmt::print(stderr, "{}\n", taken.error());
    g_main_loop_quit(application.loop);
    return G_SOURCE_REMOVE;
}

gboolean on_timer(gpointer data)
{
    auto& application = *static_cast<Application*>(data);
    return application.feed.send("tick") ? G_SOURCE_CONTINUE : G_SOURCE_REMOVE;
}

} // namespace

int main(int argc, char** argv)
{
    sidecar::Sidecar<sidecar::WebSocket> feed{
        {.url = argc == 2 ? argv[1] : "ws://localhost:8080/feed"}};
    feed.start(5s).value();
    Application application{.feed = feed, .loop = g_main_loop_new(nullptr, FALSE)};
    g_unix_fd_add(feed.native_handle().value(), G_IO_IN, on_readable, &application);
    g_timeout_add(50, on_timer, &application);
    g_main_loop_run(application.loop);
    g_main_loop_unref(application.loop);
}
