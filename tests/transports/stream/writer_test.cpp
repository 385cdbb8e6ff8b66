// Batches, answers and the last word through an encoder into a stream of the test's own.
#include "fakes.hpp"
#include "writer.hpp"

#include <chrono>

namespace writer_test {

using namespace fakes;
using namespace std::chrono_literals;
using stream::Writer;

/// "<payload>"
class Brackets final : public stream::Encoder {
public:
    void encode(stream::Chunk& chunk, Batch::iterator& at, const Batch::iterator& end) override
    {
        for (; at != end && !chunk.is_full(); ++at) {
            chunk.bytes().push_back(std::byte{'<'});
            if (at->size() >= stream::Chunk::min_borrowed_bytes)
                chunk.borrow(at->bytes());
            else
                chunk.bytes().insert(chunk.bytes().end(), at->bytes().begin(), at->bytes().end());
            chunk.bytes().push_back(std::byte{'>'});
            chunk.end_message();
        }
    }
};

struct Rig {
    boost::asio::io_context io;
    FakeContext context{io};
    std::shared_ptr<FakeStream> stream = std::make_shared<FakeStream>(io);
    std::shared_ptr<Writer> writer = std::make_shared<Writer>(stream);
    Brackets encoder;
    [[nodiscard]] Run write(FakeOutbox& outbox)
    {
        Run run{io, writer->write(outbox.batch(), encoder)};
        run_until_idle(io);
        return run;
    }
    void take(std::size_t bytes)
    {
        stream->take(bytes);
        run_until_idle(io);
    }
};

Task<> wait_written(std::shared_ptr<Writer> writer, Context ctx, TimePoint deadline,
                    bool& is_in_time)
{
    is_in_time = co_await writer->wait_written(ctx, deadline);
}

TEST_CASE("writer: marks messages as the stream takes them, wherever it stops")
{
    for (std::size_t piece = 1; piece < 12; ++piece) {
        CAPTURE(piece);
        Rig rig;
        FakeOutbox outbox{{"one", "", "three"}};
        rig.stream->window = 0;
        const auto run = rig.write(outbox);
        std::size_t total = 0;
        while (!run.is_over()) {
            rig.take(piece);
            total = std::min<std::size_t>(total + piece, 14);
            CHECK(rig.stream->taken.size() == total);
            CHECK(outbox.marked == (total >= 14 ? 3u : total >= 7 ? 2u : total >= 5 ? 1u : 0u));
        }
        CHECK(run.is_good());
        CHECK(rig.stream->taken == "<one><><three>");
    }
}

TEST_CASE("writer: small batches are written at once, eight in a row before the loop goes on")
{
    Rig rig;
    rig.stream->can_try = true;
    std::string all;
    for (int i = 1; i <= 20; ++i) {
        CAPTURE(i);
        FakeOutbox outbox{{std::to_string(i)}};
        all += "<" + std::to_string(i) + ">";
        CHECK(rig.write(outbox).is_good());
        CHECK(outbox.marked == 1);
        CHECK(rig.stream->writes == static_cast<std::size_t>(i / 9));
    }
    CHECK(rig.stream->tries == 18);
    CHECK(rig.stream->taken == all);
    rig.writer->answer(std::as_bytes(std::span{"P", 1})); // in the background: with others
    FakeOutbox large{{std::string(20'000, 'x')}};
    CHECK(rig.write(large).is_good());
    CHECK(rig.stream->tries == 18);
}

TEST_CASE("writer: a batch that is not taken at once waits for its rest, or ends with the error")
{
    for (std::size_t piece = 1; piece < 12; ++piece) {
        CAPTURE(piece);
        Rig rig;
        rig.stream->can_try = true;
        rig.stream->window = piece;
        FakeOutbox outbox{{"one", "", "three"}};
        const auto run = rig.write(outbox);
        while (!run.is_over())
            rig.take(piece);
        CHECK(run.is_good());
        CHECK(outbox.marked == 3);
        CHECK(rig.stream->taken == "<one><><three>");
        CHECK(rig.stream->writes != 0);
    }
    Rig rig;
    rig.stream->can_try = true;
    rig.stream->write_error = boost::asio::error::broken_pipe;
    FakeOutbox outbox{{"one"}};
    const auto run = rig.write(outbox);
    CHECK(run.is_over());
    CHECK(!run.is_good());
    CHECK(rig.writer->error() == boost::asio::error::broken_pipe);
    CHECK(rig.stream->writes == 0);
}

TEST_CASE("writer: a large payload is written from where it stands")
{
    Rig rig;
    FakeOutbox outbox{{"small", std::string(100'000, 'L'), "small"}};
    const void* const where = outbox.messages[1].data();
    const auto all = "<small><" + outbox.messages[1] + "><small>";
    CHECK(rig.write(outbox).is_good());
    CHECK(rig.stream->taken == all);
    CHECK(rig.stream->writes == 1);
    CHECK(std::count(rig.stream->addresses.begin(), rig.stream->addresses.end(), where) == 1);
    CHECK(outbox.marked == 3);
}

TEST_CASE("writer: a batch of any size is written whole, in bounded pieces")
{
    std::vector<std::string> messages;
    std::string all;
    for (std::size_t i = 0; i < 400; ++i) {
        messages.emplace_back(i % 3 == 0 ? 50'000 : 700 + i, static_cast<char>('a' + i % 26));
        all += "<" + messages.back() + ">";
    }
    Rig rig;
    FakeOutbox outbox{messages};
    rig.stream->window = 0;
    const auto run = rig.write(outbox);
    for (std::size_t piece = 1; !run.is_over(); piece = piece * 7 % 99'991)
        rig.take(piece);
    CHECK(run.is_good());
    CHECK((rig.stream->taken == all));
    CHECK(outbox.marked == messages.size());
}

TEST_CASE("writer: keeps no memory of a batch")
{
    Rig rig;
    FakeOutbox outbox{{std::string(10'000, 'x'), std::string(200'000, 'y')}};
    rig.stream->window = 5000;
    const auto run = rig.write(outbox);
    CHECK(rig.writer->held_bytes() > 10'000);
    CHECK(rig.writer->held_bytes() < 200'000);
    rig.take(1'000'000);
    CHECK(run.is_good());
    CHECK(rig.writer->held_bytes() == 0);
    rig.writer->answer(bytes_of(std::string(10'000, 'a')));
    run_until_idle(rig.io);
    CHECK(rig.writer->held_bytes() < 1024);
}

TEST_CASE("writer: an answer goes out by itself, and between two messages of a batch")
{
    Rig rig;
    rig.writer->answer(bytes_of("[a]"));
    run_until_idle(rig.io);
    CHECK(rig.stream->taken == "[a]");
    CHECK(rig.writer->queued_bytes() == 0);

    FakeOutbox outbox{{"one", "two"}};
    rig.stream->window = 0;
    const auto run = rig.write(outbox);
    rig.take(2); // in the middle of the first
    rig.writer->answer(bytes_of("[b]"));
    rig.writer->answer(bytes_of("[c]"));
    rig.take(1000);
    CHECK(run.is_good());
    // The write under way was of the whole batch
    CHECK(rig.stream->taken == "[a]<one><two>[b][c]");
}

TEST_CASE("writer: sixteen answers wait in order, beyond that the last of them is the latest")
{
    for (int round = 0; round < 2; ++round) {
        Rig rig;
        rig.stream->window = 0;
        FakeOutbox outbox{{"one"}};
        const auto run = rig.write(outbox);
        std::string expected = "<one>";
        for (int i = 0; i < 100; ++i) {
            const auto answer =
                "[" + std::string(static_cast<std::size_t>(i % 7), 'a') + std::to_string(i) + "]";
            rig.writer->answer(bytes_of(answer));
            if (i < 15 || i == 99)
                expected += answer;
        }
        if (round == 1) {
            rig.writer->finish(bytes_of("[bye]"));
            expected += "[bye]";
        }
        CHECK(rig.writer->queued_bytes() == expected.size() - 5);
        rig.take(1000);
        CHECK(rig.stream->taken == expected);
        rig.writer->answer(bytes_of("[later]"));
        run_until_idle(rig.io);
        CHECK(rig.stream->taken == expected + (round == 1 ? "" : "[later]"));
    }
}

/// Each message in fragments of four bytes: "(" begins one, "|" goes on, ")" ends it.
class Fragments final : public stream::Encoder {
public:
    void encode(stream::Chunk& chunk, Batch::iterator& at, const Batch::iterator& end) override
    {
        for (; at != end; ++at) {
            const auto rest = at->bytes().subspan(offset_);
            const auto piece = rest.first(std::min<std::size_t>(4, rest.size()));
            chunk.bytes().push_back(offset_ == 0 ? std::byte{'('} : std::byte{'|'});
            chunk.bytes().insert(chunk.bytes().end(), piece.begin(), piece.end());
            offset_ += piece.size();
            if (offset_ < at->size())
                return;
            offset_ = 0;
            chunk.bytes().push_back(std::byte{')'});
            chunk.end_message();
        }
    }

private:
    std::size_t offset_ = 0;
};

TEST_CASE("writer: an answer and a question wait for a fragment, not for its message")
{
    Rig rig;
    Fragments encoder;
    rig.stream->window = 0;
    FakeOutbox outbox{{"aaaabbbbcccc", "dd"}};
    const Run run{rig.io, rig.writer->write(outbox.batch(), encoder)};
    run_until_idle(rig.io);
    rig.take(2); // in the middle of the first fragment
    rig.writer->answer(bytes_of("[1]"));
    rig.take(3 + 3 + 1); // its rest, the answer, and the beginning of the next one
    rig.writer->answer(bytes_of("[2]"));
    rig.writer->ask(bytes_of("[q]"));
    CHECK(outbox.marked == 0);
    rig.take(1000);
    CHECK(run.is_good());
    CHECK(rig.stream->taken == "(aaaa[1]|bbbb[2][q]|cccc)(dd)");
    CHECK(outbox.marked == 2);
}

TEST_CASE("writer: the last word waits for a fragment, and its message is not counted as written")
{
    Rig rig;
    Fragments encoder;
    rig.stream->window = 0;
    FakeOutbox outbox{{"aa", "bbbbccccdddd"}};
    const Run run{rig.io, rig.writer->write(outbox.batch(), encoder)};
    run_until_idle(rig.io);
    rig.take(6); // in the middle of the second message's first fragment
    rig.writer->finish(bytes_of("[bye]"));
    rig.take(1000);
    CHECK(rig.stream->taken == "(aa)(bbbb[bye]");
    CHECK(run.error() == boost::asio::error::operation_aborted);
    CHECK(outbox.marked == 1);
    CHECK_FALSE(outbox.is_rest_unwritten);
}

TEST_CASE("writer: an answer waits for the rest of one message, not of the batch")
{
    Rig rig;
    FakeOutbox outbox{{"one", "two", "three"}};
    rig.stream->window = 0;
    const auto run = rig.write(outbox);
    rig.writer->answer(bytes_of("[b]"));
    rig.take(7); // of the write that was under way
    CHECK(rig.stream->taken == "<one><t");
    rig.take(1000);
    CHECK(run.is_good());
    CHECK(rig.stream->taken == "<one><two>[b]<three>");
}

TEST_CASE("writer: nothing goes out behind the last word, and no message is cut")
{
    Rig rig;
    FakeOutbox outbox{{"one", "two", "three"}};
    rig.stream->window = 0;
    const auto run = rig.write(outbox);
    rig.writer->finish(bytes_of("[bye]"));
    rig.writer->answer(bytes_of("[late]"));
    rig.take(7);
    rig.take(1000);
    CHECK(rig.stream->taken == "<one><two>[bye]");
    CHECK(run.error() == boost::asio::error::operation_aborted);
    CHECK(outbox.marked == 2);
    CHECK(rig.write(outbox).error() == boost::asio::error::operation_aborted);
    rig.writer->finish(bytes_of("[again]"));
    run_until_idle(rig.io);
    CHECK(rig.stream->taken == "<one><two>[bye]");
    CHECK(outbox.is_rest_unwritten); // from the third message on
}

TEST_CASE("writer: a batch that comes behind the last word is reported as unwritten")
{
    Rig rig;
    FakeOutbox outbox{{"one", "two"}};
    rig.writer->finish(bytes_of("[bye]"));
    const auto run = rig.write(outbox);
    CHECK(run.error() == boost::asio::error::operation_aborted);
    CHECK(outbox.marked == 0);
    CHECK(outbox.is_rest_unwritten);
}

TEST_CASE("writer: a batch waits for an answer that is being written")
{
    Rig rig;
    rig.stream->window = 1;
    rig.writer->answer(bytes_of("[a]"));
    run_until_idle(rig.io);
    FakeOutbox outbox{{"one"}};
    const auto run = rig.write(outbox);
    CHECK(rig.stream->taken == "[");
    rig.take(1000);
    CHECK(run.is_good());
    CHECK(rig.stream->taken == "[a]<one>");
}

TEST_CASE("writer: who waits for the last word is told when it is out, or that it is late")
{
    Rig rig;
    rig.stream->window = 0;
    rig.writer->finish(bytes_of("[bye]"));
    bool is_in_time = true, is_out = false;
    const Context ctx{rig.context, TimePoint::max()};
    Run late{rig.io,
             wait_written(rig.writer, ctx, std::chrono::steady_clock::now() + 5ms, is_in_time)};
    Run patient{rig.io, wait_written(rig.writer, ctx, TimePoint::max(), is_out)};
    while (!late.is_over())
        rig.io.run_one_for(10s);
    CHECK_FALSE(is_in_time);
    CHECK_FALSE(patient.is_over());
    rig.take(1000);
    CHECK(patient.is_good());
    CHECK(is_out);
}

TEST_CASE("writer: an error ends the write, marks what was whole, and lets nothing out after it")
{
    const error_code broken = boost::asio::error::broken_pipe;
    Rig rig;
    FakeOutbox outbox{{"one", "two"}};
    rig.stream->window = 6;
    const auto run = rig.write(outbox);
    CHECK_FALSE(run.is_over());
    rig.stream->fail_writing(broken);
    run_until_idle(rig.io);
    CHECK(run.error() == broken);
    CHECK(outbox.marked == 1);
    CHECK(rig.writer->error() == broken);
    rig.stream->write_error = {};
    rig.writer->answer(bytes_of("[a]"));
    rig.writer->finish(bytes_of("[bye]"));
    rig.take(1000);
    CHECK(rig.stream->taken == "<one><");
    bool is_in_time = false;
    Run wait{rig.io, wait_written(rig.writer, {rig.context, TimePoint::max()}, TimePoint::max(),
                                  is_in_time)};
    run_until_idle(rig.io);
    CHECK(wait.error() == broken);
}

TEST_CASE("writer: an abort ends the write and an answer alike")
{
    Rig rig;
    rig.stream->window = 0;
    FakeOutbox outbox{{"one"}};
    const auto run = rig.write(outbox);
    rig.writer->answer(bytes_of("[a]"));
    rig.stream->abort();
    run_until_idle(rig.io);
    CHECK(run.error() == boost::asio::error::operation_aborted);
    CHECK(rig.writer->queued_bytes() == 0);
}

TEST_CASE("writer: goes on writing in the background when its transport lets go of it")
{
    Rig rig;
    rig.stream->window = 0;
    rig.writer->finish(bytes_of("[bye]"));
    run_until_idle(rig.io);
    rig.writer.reset();
    rig.take(1000);
    CHECK(rig.stream->taken == "[bye]");
}

TEST_CASE("writer: a question goes out by itself, and between two messages of a batch")
{
    Rig rig;
    rig.writer->ask(bytes_of("[q]"));
    run_until_idle(rig.io);
    CHECK(rig.stream->taken == "[q]");
    CHECK(rig.writer->queued_bytes() == 0);

    FakeOutbox outbox{{"one", "two", "three"}};
    rig.stream->window = 0;
    const auto run = rig.write(outbox);
    rig.writer->ask(bytes_of("[r]"));
    rig.take(7); // of the write that was under way
    CHECK(rig.stream->taken == "[q]<one><t");
    rig.take(1000);
    CHECK(run.is_good());
    CHECK(rig.stream->taken == "[q]<one><two>[r]<three>");
    CHECK(outbox.marked == 3);
}

TEST_CASE("writer: answers go before a question, and none takes its place")
{
    Rig rig;
    rig.stream->window = 0;
    FakeOutbox outbox{{"one", "two"}};
    const auto run = rig.write(outbox);
    rig.take(2);
    rig.writer->ask(bytes_of("[q]"));
    rig.writer->answer(bytes_of("[a]"));
    rig.writer->answer(bytes_of("[b]"));
    CHECK(rig.writer->queued_bytes() == 9);
    rig.take(1000);
    CHECK(run.is_good());
    CHECK(rig.stream->taken == "<one><two>[a][b][q]");
}

TEST_CASE("writer: who waits for a question is told when it is out, whatever is written besides")
{
    Rig rig;
    rig.stream->window = 0;
    FakeOutbox outbox{{"one"}};
    const auto run = rig.write(outbox);
    rig.writer->ask(bytes_of("[q]"));
    bool is_out = false;
    Run wait{rig.io,
             wait_written(rig.writer, {rig.context, TimePoint::max()}, TimePoint::max(), is_out)};
    rig.take(5 + 2);
    CHECK_FALSE(wait.is_over());
    rig.take(1);
    CHECK(wait.is_good());
    CHECK(is_out);
    CHECK(rig.stream->taken == "<one>[q]");
}

TEST_CASE("writer: a question that has begun is written whole before the last word, others not")
{
    Rig rig;
    rig.stream->window = 1;
    rig.writer->ask(bytes_of("[q]"));
    run_until_idle(rig.io);
    CHECK(rig.stream->taken == "[");
    rig.writer->ask(bytes_of("[r]")); // has not begun
    rig.writer->finish(bytes_of("[bye]"));
    rig.writer->ask(bytes_of("[late]"));
    rig.take(1000);
    CHECK(rig.stream->taken == "[q][bye]");
    CHECK(rig.writer->queued_bytes() == 0);
}

TEST_CASE("writer: after an error no question is kept, and who waits for one is told")
{
    const error_code broken = boost::asio::error::broken_pipe;
    Rig rig;
    rig.stream->window = 1;
    rig.writer->ask(bytes_of("[q]"));
    run_until_idle(rig.io);
    bool is_out = false;
    Run wait{rig.io,
             wait_written(rig.writer, {rig.context, TimePoint::max()}, TimePoint::max(), is_out)};
    rig.stream->fail_writing(broken);
    run_until_idle(rig.io);
    CHECK(wait.error() == broken);
    rig.stream->write_error = {};
    rig.writer->ask(bytes_of("[r]"));
    rig.take(1000);
    CHECK(rig.stream->taken == "[");
    CHECK(rig.writer->queued_bytes() == 0);
}

} // namespace writer_test
