// The smallest transport: a Ticker that emits "1", "2", "3", ... Run it without arguments.
#include <sidecar/sidecar.hpp>

#include <fmt/format.h>

using namespace std::chrono_literals;
using sidecar::Batch, sidecar::CloseReason, sidecar::Context, sidecar::Sink, sidecar::Task;

/// One message per period; what is sent to it is thrown away.
class Ticker {
public:
    struct Options {
        std::chrono::milliseconds period{1000};
    };
    explicit Ticker(Options options) : options_{options} {}

    Task<> connect(Context) { co_return; }
    Task<> read(Context ctx, Sink& sink)
    {
        co_await ctx.sleep_for(options_.period);
        (void)sink.put_text(fmt::format("{}", ++count_)); // there is always room for one
    }
    Task<> write(Context, Batch) { co_return; }
    Task<> close(Context, CloseReason) { co_return; }
    void abort() noexcept {}

private:
    Options options_;
    int count_ = 0;
};
static_assert(sidecar::Transport<Ticker>);

int main()
{
    sidecar::Sidecar<Ticker> ticker{{.period = 10ms}};
    ticker.start(1s).value();
    for (int i = 0; i < 5; ++i)
        fmt::print("{}\n", ticker.receive(1s).value().text());
    fmt::print("{}\n", ticker.stop());
}
