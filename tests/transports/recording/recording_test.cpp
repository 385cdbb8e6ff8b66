// What a recording holds, and what happens where it cannot be written.
#include "format.hpp"
#include "recorded.hpp"
#include "support/footprint.hpp"
#include "support/minimal_transport.hpp"
#include "transports/tcp/tcp_peer.hpp"

#include <algorithm>
#include <atomic>
#include <csignal>
#include <latch>
#include <mutex>
#include <numeric>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

#include <fcntl.h>

using namespace sidecar;
using namespace std::chrono_literals;

namespace {

/// While it is true, the disk takes nothing.
std::atomic<bool> disk_hangs{false};

} // namespace

/// In place of the system's: a disk that hangs.
extern "C" ssize_t writev(int fd, const iovec* parts, int count)
{
    while (disk_hangs)
        std::this_thread::sleep_for(1ms);
    return ::syscall(SYS_writev, fd, parts, count);
}

namespace {

using TcpOptions = Tcp<LengthPrefix>::Options;

struct Log {
    [[nodiscard]] Options options(Options its = {})
    {
        its.log = [this](LogLevel level, std::string_view text) {
            const std::lock_guard lock{mutex};
            if (level >= LogLevel::warning)
                lines.emplace_back(text);
        };
        return its;
    }
    [[nodiscard]] std::size_t count(std::string_view part)
    {
        const std::lock_guard lock{mutex};
        return static_cast<std::size_t>(
            std::count_if(lines.begin(), lines.end(),
                          [&](const std::string& line) { return line.find(part) != line.npos; }));
    }
    std::mutex mutex;
    std::vector<std::string> lines; // guarded by mutex
};

std::string sum_of(std::span<const std::byte> bytes)
{
    return fmt::format("{} bytes, {:08x}", bytes.size(), recording::crc32c(bytes));
}

/// How many entries of a kind a file has; of `lost` their sum.
std::uint64_t count_of(const std::string& file, RecordingEntry::Kind kind)
{
    auto reader = RecordingReader::open(file).value();
    std::uint64_t count = 0;
    while (const auto entry = reader.next().value())
        if (entry->kind == kind)
            count += kind == RecordingEntry::Kind::lost ? entry->lost : 1;
    return count;
}

} // namespace

TEST_CASE(
    "recording: holds connections, refusals, messages of both directions and ends, with times")
{
    const TemporaryFile file;
    (void)record_everything(file.name());
    const auto entries = entries_of(file.name());
    CHECK(entries.error == "");
    const std::vector<std::string> expected{
        "0.000 1 connecting mock",
        "0.020 1 connected mock",
        "0.020 1 received at once",
        "0.020 1 sent hello",
        "1.020 1 received ",
        "2.520 1 received drop",
        "2.520 1 ended cannot read (mock): the connection broke: End of file",
        "3.520 2 connecting mock",
        "3.540 2 ended cannot connect (mock): the connection could not be made: Connection refused",
        "4.540 2 connecting mock",
        "4.540 2 connected mock",
        std::string{"4.540 2 received binary \0\1", 26},
        "8.540 2 received close",
        "8.540 2 ended cannot read (mock): the peer closed the connection, close code 4001 "
        "\"enough\"",
        "9.540 3 connecting mock",
        "9.540 3 ended cannot connect (mock): the connection could not be made: Connection refused",
    };
    CHECK(lines(entries.texts) == lines(expected));
}

TEST_CASE("recording: on virtual time the same run gives the same entries")
{
    const TemporaryFile first, second;
    (void)record_everything(first.name());
    (void)record_everything(second.name());
    CHECK(lines(entries_of(first.name()).texts) == lines(entries_of(second.name()).texts));
}

TEST_CASE("recording: the program's own close and drop are no failures of the peer")
{
    const TemporaryFile file;
    MockPeer peer;
    const RecordedMock::Options options{.transport = {.peer = peer}, .file = file.name()};
    {
        Sidecar<RecordedMock> feed{options, silent_options()};
        REQUIRE(feed.start(1s));
        REQUIRE(feed.stop({.code = 1001, .reason = "bye"}).clean());
        REQUIRE(feed.start(1s));
        peer.delay_close(Duration::max());
        CHECK(!feed.stop().clean());
        peer.delay_connect(Duration::max());
        CHECK(feed.start(3s) == Error::timed_out);
    }
    const auto entries = entries_of(file.name());
    CHECK(entries.error == "");
    const std::vector<std::string> expected{"0.000 1 connecting mock", "0.000 1 connected mock",
                                            "0.000 1 closing 1001bye", "0.000 1 ended closed",
                                            "0.000 2 connecting mock", "0.000 2 connected mock",
                                            "0.000 2 closing 1000",    "1.500 2 ended closed",
                                            "1.500 3 connecting mock", "4.500 3 ended dropped"};
    CHECK(lines(entries.texts) == lines(expected));
}

TEST_CASE("recording: pings, their answers, and an application's failure")
{
    const TemporaryFile file;
    MockPeer peer;
    Sidecar<RecordedMock> feed{
        {.transport = {.peer = peer}, .file = file.name()},
        silenced({.overflow = {.policy = OverflowPolicy::fail, .queue_messages = 2},
                  .ping_interval = 10s})};
    REQUIRE(feed.start(1s));
    (void)feed.sleep_for(15s);
    for (int i = 0; i < 10; ++i)
        peer.deliver("x");
    (void)feed.sleep_for(1s);
    (void)feed.stop();
    const auto texts = entries_of(file.name()).texts;
    REQUIRE(texts.size() >= 5);
    CHECK(texts[2] == "10.000 1 ping");
    CHECK(texts[3] == "10.000 1 pong");
    CHECK(texts.back() == "15.000 1 ended dropped");
}

TEST_CASE("recording: a link that fails to write ends with that failure")
{
    const TemporaryFile file;
    MockPeer peer;
    Sidecar<RecordedMock> feed{{.transport = {.peer = peer}, .file = file.name()},
                               silent_options()};
    REQUIRE(feed.start(1s));
    peer.fail_write(boost::asio::error::broken_pipe, 1);
    REQUIRE(feed.send("written"));
    REQUIRE(feed.flush(1s));
    REQUIRE(feed.send("lost"));
    (void)events_of(feed);
    (void)feed.stop();
    const auto texts = entries_of(file.name()).texts;
    REQUIRE(texts.size() == 4);
    CHECK(texts[2] == "0.000 1 sent written");
    CHECK(texts[3].find("ended cannot write (mock): the connection broke: Broken pipe")
          != std::string::npos);
}

TEST_CASE("recording: has those optional members that its transport has")
{
    using OfMock = detail::TransportTraits<Recording<Mock>>;
    CHECK((OfMock::has_clock && OfMock::has_mock_clock && OfMock::has_endpoint && OfMock::has_ping
           && OfMock::has_default_liveness && OfMock::has_connection_info));
    CHECK(!OfMock::has_check_send);
    using OfTcp = detail::TransportTraits<Recording<Tcp<Lines>>>;
    CHECK((OfTcp::has_check_send && OfTcp::has_endpoint));
    CHECK((!OfTcp::has_clock && !OfTcp::has_ping && !OfTcp::has_default_liveness));
    using OfMinimal = detail::TransportTraits<Recording<MinimalTransport>>;
    CHECK((!OfMinimal::has_clock && !OfMinimal::has_endpoint && !OfMinimal::has_ping));
    CHECK(Recording<MinimalTransport>::max_message_bytes({}) == 1024);
    const detail::TransportConfig<Recording<MinimalTransport>> config{{.file = "x"}};
    CHECK(config.max_message_bytes() == 1024);
    CHECK(config.endpoint() == "");
    // A recording of a recording
    CHECK(detail::TransportTraits<Recording<Recording<Mock>>>::has_clock);
    // The transport's own check comes first
    CHECK(Recording<Tcp<Lines>>::check({.file = "/nowhere/x"}) == Error::bad_address);
}

TEST_CASE("recording: messages of any size, with the bytes that came")
{
    const TemporaryFile file;
    constexpr std::size_t limit = 3u << 20;
    const std::size_t sizes[] = {0, 1, 31, 4096, 65535, 65536, 70'000, 1u << 20, limit};
    std::vector<std::string> sent;
    for (const auto size : sizes) {
        auto& message = sent.emplace_back(size, '\0');
        std::iota(message.begin(), message.end(), static_cast<char>(size));
    }
    RawPeer peer{[&](RawConnection& c) {
        for (const auto& message : sent)
            c.send(framed(message));
        for (const auto& message : sent)
            if (read_message(c) != message)
                return;
    }};
    const RecordingCounts counts;
    std::vector<std::string> expected;
    {
        Sidecar<Recording<Tcp<LengthPrefix>>> feed{
            {.transport = {.host = "127.0.0.1", .port = peer.port(), .max_message_bytes = limit},
             .file = file.name(),
             .counts = counts},
            silent_options()};
        REQUIRE(feed.start(10s));
        for (const auto& message : sent) {
            REQUIRE(feed.send(std::as_bytes(std::span{message}), 10s));
            const auto received = feed.receive(10s);
            REQUIRE(received.has_value());
            CHECK(received->text() == message);
            expected.push_back(sum_of(std::as_bytes(std::span{message})));
        }
        CHECK(feed.receive(10s) == Error::disconnected);
        (void)feed.stop();
    }
    std::vector<std::string> received, written;
    auto reader = RecordingReader::open(file.name()).value();
    while (const auto entry = reader.next().value()) {
        if (entry->kind == RecordingEntry::Kind::received)
            received.push_back(sum_of(entry->payload));
        if (entry->kind == RecordingEntry::Kind::sent)
            written.push_back(sum_of(entry->payload));
        CHECK(entry->message_kind
              == (entry->payload.data() ? MessageKind::binary : MessageKind::text));
    }
    CHECK(received == expected);
    CHECK(written == expected);
    CHECK(counts.bytes() == file.content().size());
    CHECK(counts.entries() == 3 + 2 * std::size(sizes));
    CHECK(counts.lost() == 0);
    CHECK(!counts.failure());
}

TEST_CASE("recording: one that too large a message ended is played to the same end")
{
    const TemporaryFile file;
    MockPeer peer;
    Sidecar<RecordedMock> feed{
        {.transport = {.peer = peer, .max_message_bytes = 10}, .file = file.name()},
        silent_options()};
    peer.deliver("small");
    peer.deliver("too large a message");
    REQUIRE(feed.start(1s));
    const auto events = events_of(feed);
    Sidecar<VirtualReplay> replay{{.file = file.name()}, silent_options()};
    REQUIRE(replay.start(1s));
    CHECK(lines(events_of(replay)) == lines(events));
}

TEST_CASE("recording: one file records one link at a time")
{
    const TemporaryFile file;
    MockPeer first, second;
    Sidecar<RecordedMock> feed{{.transport = {.peer = first}, .file = file.name()},
                               silent_options()};
    REQUIRE(feed.start(1s));
    const auto opened =
        feed.open<RecordedMock>({.transport = {.peer = second}, .file = file.name()}, 1s);
    REQUIRE(opened == Error::bad_options);
    CHECK(opened.error().message()
          == fmt::format("cannot write the recording ({}): the options make no sense: another link "
                         "of this program records into this file; each needs its own",
                         file.name()));
    // Another name of the file is the same file
    const auto other = file.name() + "2";
    std::filesystem::create_symlink(file.name(), other);
    Sidecar<RecordedMock> second_feed{{.transport = {.peer = second}, .file = other},
                                      silent_options()};
    CHECK(second_feed.start(1s) == Error::bad_options);
    CHECK(feed.open<RecordedMock>({.transport = {.peer = second}, .file = file.name() + "3"}, 1s));
    (void)feed.stop();
    CHECK(second_feed.start(1s));
    (void)second_feed.stop();

    const int fd = ::open(file.name().c_str(), O_RDWR | O_CLOEXEC);
    REQUIRE(::flock(fd, LOCK_EX) == 0); // as another program does
    const auto started = feed.start(1s);
    REQUIRE(started == Error::bad_options);
    CHECK(started.error().explanation() == "another program records into this file");
    ::close(fd);
    CHECK(feed.start(1s));
}

TEST_CASE("recording: a file that cannot be one is refused before anything begins, and kept")
{
    const TemporaryFile file;
    const auto start = [](const std::string& name) {
        MockPeer peer;
        Sidecar<RecordedMock> feed{{.transport = {.peer = peer}, .file = name}, silent_options()};
        const auto started = feed.start(1s);
        CHECK(peer.connect_count() == 0);
        return started.has_error()
                   ? started.error().explanation()
                         + (started.error().cause() ? started.error().cause().message() : "")
                   : "it started";
    };
    CHECK(start("") == "the option file is empty, or has a zero byte");
    CHECK(start("/nowhere/x.sidecar") == "No such file or directory");
    CHECK(start("/tmp") == "Is a directory");
    REQUIRE(::mkfifo((file.name() + ".fifo").c_str(), 0600) == 0);
    CHECK(start(file.name() + ".fifo") == "it is no regular file");
    const std::string text = "a text that somebody needs\n";
    file.write(text);
    CHECK(start(file.name()) == "it is no recording");
    CHECK(file.content() == text);
    file.write("x");
    CHECK(start(file.name()) == "it is no recording");
    CHECK(file.content() == "x");
}

TEST_CASE("recording: only its owner can read it")
{
    const TemporaryFile file;
    (void)record_everything(file.name());
    using std::filesystem::perms;
    CHECK(std::filesystem::status(file.name()).permissions()
          == (perms::owner_read | perms::owner_write));
}

TEST_CASE("recording: wherever a kill cut the file, what was whole is kept and continued")
{
    const TemporaryFile file;
    (void)record_everything(file.name());
    const auto whole = file.content();
    const auto all = entries_of(file.name()).texts;
    REQUIRE(whole.size() < 4096);
    // Sparse, for each of these starts a feed; reader_test.cpp reads each
    for (std::size_t size = 0; size <= whole.size(); size += size < 20 ? 1 : 7) {
        CAPTURE(size);
        file.write(whole.substr(0, size));
        auto before = size < 16 ? std::vector<std::string>{} : entries_of(file.name()).texts;
        MockPeer peer;
        peer.deliver("continued");
        Sidecar<RecordedMock> feed{{.transport = {.peer = peer}, .file = file.name()},
                                   silent_options()};
        REQUIRE(feed.start(1s));
        REQUIRE(feed.receive(1s).has_value());
        (void)feed.stop();
        const auto after = entries_of(file.name());
        CHECK(after.error == "");
        REQUIRE(after.texts.size() == before.size() + 5);
        CHECK(std::equal(before.begin(), before.end(), after.texts.begin()));
        CHECK(std::equal(before.begin(), before.end(), all.begin()));
        CHECK(after.texts[before.size() + 2].ends_with("received continued"));
    }
}

TEST_CASE("recording: a damaged file is not continued, and stays as it is")
{
    const TemporaryFile file;
    (void)record_everything(file.name());
    const auto whole = file.content();
    const auto damage = [&](std::size_t at) {
        auto content = whole;
        content[at] = static_cast<char>(content[at] ^ 0x10);
        file.write(content);
        MockPeer peer;
        Sidecar<RecordedMock> feed{{.transport = {.peer = peer}, .file = file.name()},
                                   silent_options()};
        CHECK(feed.start(1s) == Error::bad_options);
        CHECK(file.content() == content);
    };
    damage(3);                 // the magic
    damage(8);                 // the version
    damage(13);                // the header's checksum
    damage(whole.size() - 40); // the content of the last block
    damage(whole.size() - 1);  // its last byte
}

TEST_CASE("recording: what was recorded a second before a kill is in the file")
{
    const TemporaryFile file;
    const auto child = ::fork();
    if (child == 0) {
        MockPeer peer;
        for (int i = 0; i < 10; ++i)
            peer.deliver(fmt::format("message {}", i));
        Sidecar<RecordedMock> feed{{.transport = {.peer = peer}, .file = file.name()},
                                   silent_options()};
        (void)feed.start(1s);
        for (int i = 0; i < 10; ++i)
            (void)feed.receive(1s);
        for (int i = 0; i < 1000 && std::filesystem::file_size(file.name()) == 0; ++i)
            std::this_thread::sleep_for(10ms);
        ::kill(::getpid(), SIGKILL);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK((WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL));
    const auto entries = entries_of(file.name());
    CHECK(entries.error == "");
    REQUIRE(entries.texts.size() == 12);
    CHECK(entries.texts[11] == "0.000 1 received message 9");
    Sidecar<VirtualReplay> replay{{.file = file.name()}, silent_options()};
    REQUIRE(replay.start(1s));
    const auto events = events_of(replay);
    CHECK(events.size() == 13); // up, ten messages, down, and the end
    CHECK(events.back().find("the recording is over") != std::string::npos);
}

TEST_CASE(
    "recording: a full disk ends the recording, is logged once and counted, and the feed goes on")
{
    Log log;
    MockPeer peer;
    const RecordingCounts counts;
    Sidecar<RecordedMock> feed{{.transport = {.peer = peer}, .file = "/dev/full", .counts = counts},
                               log.options()};
    REQUIRE(feed.start(1s));
    for (int i = 0; i < 1000; ++i) {
        peer.deliver(std::string(1000, 'x'));
        REQUIRE(feed.receive(10s).has_value());
    }
    REQUIRE(feed.send("still there"));
    CHECK(feed.stop().clean());
    CHECK(peer.sent() == std::vector<std::string>{"still there"});
    CHECK(counts.entries() == 0);
    CHECK(counts.bytes() == 0);
    CHECK(counts.lost() == 2 + 1000 + 1 + 2); // connecting, connected, sent, closing, ended
    REQUIRE(counts.failure());
    CHECK(counts.failure()->cause() == boost::system::errc::no_space_on_device);
    CHECK(log.count("the recording ends, the link goes on") == 1);
    CHECK(log.lines.size() == 1);
}

TEST_CASE("recording: at the limit of a file's size it ends well, and goes on once there is space")
{
    const TemporaryFile file;
    Log log;
    MockPeer peer;
    const RecordingCounts counts;
    Sidecar<RecordedMock> feed{{.transport = {.peer = peer}, .file = file.name(), .counts = counts},
                               log.options()};
    const auto receive = [&](int messages) {
        REQUIRE(feed.start(1s));
        for (int i = 0; i < messages; ++i) {
            peer.deliver(std::string(1000, 'x'));
            REQUIRE(feed.receive(10s).has_value());
        }
        CHECK(feed.stop().clean());
    };
    ::rlimit before{};
    REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
    ::rlimit low = before;
    low.rlim_cur = 200'000;
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &low) == 0); // its signal would end the process
    receive(1000);
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &before) == 0);
    REQUIRE(counts.failure());
    CHECK(counts.failure()->cause() == boost::system::errc::file_too_large);
    const auto lost = counts.lost();
    CHECK(lost > 0);
    CHECK(file.content().size() <= 200'000);
    CHECK(entries_of(file.name()).error == "");
    CHECK(count_of(file.name(), RecordingEntry::Kind::received) > 50);

    receive(10);
    CHECK(!counts.failure());
    CHECK(counts.lost() == lost);
    CHECK(entries_of(file.name()).error == "");
    using Kind = RecordingEntry::Kind;
    CHECK(count_of(file.name(), Kind::lost) == lost);
    CHECK(count_of(file.name(), Kind::received) + count_of(file.name(), Kind::connecting)
              + count_of(file.name(), Kind::connected) + count_of(file.name(), Kind::closing)
              + count_of(file.name(), Kind::ended) + lost
          == 1010 + 2 * 4);
    CHECK(counts.entries() + lost == 1010 + 2 * 4);
    CHECK(log.lines.size() == 1);
}

TEST_CASE("recording: entries that find no space in the buffer are counted, in the file too")
{
    const TemporaryFile file;
    Log log;
    MockPeer peer;
    const RecordingCounts counts;
    Sidecar<RecordedMock> feed{
        {.transport = {.peer = peer}, .file = file.name(), .buffer_bytes = 1, .counts = counts},
        log.options()};
    for (int i = 0; i < 10'000; ++i)
        peer.deliver("a message that is larger than the buffer");
    REQUIRE(feed.start(1s));
    for (int i = 0; i < 10'000; ++i)
        REQUIRE(feed.receive(10s).has_value());
    CHECK(feed.stop().clean());
    using Kind = RecordingEntry::Kind;
    const auto received = count_of(file.name(), Kind::received);
    CHECK(counts.lost() > 0);
    CHECK(count_of(file.name(), Kind::lost) == counts.lost());
    CHECK(received + counts.lost() == 10'000);
    CHECK(count_of(file.name(), Kind::ended) == 1); // small entries have a reserve
    CHECK(log.count("too slow") == 1);
}

TEST_CASE("recording: a disk that hangs delays the end of one connection by a quarter of a second")
{
    const TemporaryFile file;
    Log log;
    MockPeer peer;
    const RecordingCounts counts;
    Sidecar<RecordedMock> feed{{.transport = {.peer = peer}, .file = file.name(), .counts = counts},
                               log.options()};
    disk_hangs = true;
    const auto began = std::chrono::steady_clock::now();
    REQUIRE(feed.start(1s));
    for (int i = 0; i < 1000; ++i) {
        peer.deliver(std::string(1000, 'x'));
        REQUIRE(feed.receive(10s).has_value());
    }
    CHECK(feed.stop().joined);
    // The thread still has the file; so this connection is not recorded
    peer.deliver("not recorded");
    REQUIRE(feed.start(1s));
    CHECK(feed.receive(1s).has_value());
    CHECK(feed.stop().joined);
    CHECK(log.count("this connection is not recorded") == 1);
    CHECK(std::chrono::steady_clock::now() - began < 10s);
    disk_hangs = false;
    for (int i = 0; i < 1000 && counts.entries() < 1004; ++i)
        std::this_thread::sleep_for(10ms);
    CHECK(counts.entries() == 1004);
    CHECK(entries_of(file.name()).texts.size() == 1004);
    CHECK(counts.lost() == 5); // connecting, connected, received, closing, ended
}

TEST_CASE("recording: a link that reconnects while the disk hangs goes on without")
{
    const TemporaryFile file;
    Log log;
    MockPeer peer;
    const RecordingCounts counts;
    Sidecar<RecordedMock> feed{{.transport = {.peer = peer}, .file = file.name(), .counts = counts},
                               log.options({.reconnect = steady()})};
    disk_hangs = true;
    REQUIRE(feed.start(1s));
    peer.drop();
    CHECK(feed.receive(10s) == Error::disconnected);
    peer.deliver("on the next connection");
    CHECK(feed.receive(10s).has_value());
    CHECK(log.count("this connection is not recorded") == 1);
    REQUIRE(counts.failure());
    disk_hangs = false;
    (void)feed.stop();
    CHECK(counts.lost() == 5); // connecting, connected, received, closing, ended
}

TEST_CASE("recording: a stop leaves no thread and no descriptor")
{
    const TemporaryFile file;
    MockPeer peer;
    Sidecar<RecordedMock> feed{{.transport = {.peer = peer}, .file = file.name()},
                               silent_options()};
    const auto cycle = [&](int times) {
        for (int i = 0; i < times; ++i) {
            REQUIRE(feed.start(1s));
            REQUIRE(feed.stop().clean());
        }
        return Footprint::now();
    };
    const auto before = cycle(3);
    const auto after = cycle(20);
    CHECK(after.threads <= before.threads);
    CHECK(after.descriptors <= before.descriptors);
    CHECK(count_of(file.name(), RecordingEntry::Kind::connected) == 23);
}

TEST_CASE("recording: the options of each attempt may be new, and one recording has them all")
{
    const TemporaryFile file;
    MockPeer peer;
    Sidecar<RecordedMock> feed{{.file = file.name()},
                               silenced({.reconnect = steady()}),
                               [&](Context, const Attempt&) -> Task<RecordedMock::Options> {
                                   co_return RecordedMock::Options{.transport = {.peer = peer},
                                                                   .file = file.name()};
                               }};
    REQUIRE(feed.start(1s));
    for (int i = 0; i < 3; ++i) {
        peer.drop();
        CHECK(feed.receive(10s) == Error::disconnected);
        peer.deliver("x");
        CHECK(feed.receive(10s).has_value());
    }
    (void)feed.stop();
    CHECK(count_of(file.name(), RecordingEntry::Kind::connected) == 4);
}
