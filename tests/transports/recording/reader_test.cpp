// Files that are cut or damaged in every way: what was whole is read, then comes an error with the
// offset.
#include "format.hpp"
#include "recorded.hpp"

#include <algorithm>
#include <fcntl.h>
#include <unistd.h>

using namespace sidecar;
using namespace std::chrono_literals;

namespace {

using Bytes = std::vector<std::byte>;

std::string text_of(std::span<const std::byte> bytes)
{
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// An entry as a recording has it; `fields` puts what depends on the kind.
template <class Fields>
Bytes entry(unsigned kind, std::int64_t time, Fields fields)
{
    Bytes content;
    recording::Encoder out{content};
    out.number(static_cast<std::uint8_t>(kind));
    out.number(time);
    fields(out);
    Bytes whole;
    recording::Encoder{whole}.number(static_cast<std::uint32_t>(content.size()));
    whole.insert(whole.end(), content.begin(), content.end());
    return whole;
}
Bytes connecting(std::int64_t wall = 0)
{
    return entry(1, 0, [&](auto& out) {
        out.number(wall);
        out.text("peer");
    });
}

/// A file with these blocks, each right by its checksum.
std::string file_of(const std::vector<Bytes>& blocks)
{
    auto file = text_of(recording::file_header());
    for (const auto& content : blocks) {
        const recording::BlockHeader header{.content_bytes =
                                                static_cast<std::uint32_t>(content.size()),
                                            .content_crc = recording::crc32c(content)};
        const auto head = recording::encode_header(header, file.size());
        file += text_of(head) + text_of(content);
        Bytes footer;
        recording::Encoder{footer}.number(static_cast<std::uint32_t>(header.block_bytes()));
        file += text_of(footer);
    }
    return file;
}

/// Where the blocks of a file begin, and its end.
std::vector<std::size_t> borders_of(const std::string& file)
{
    std::vector<std::size_t> borders{recording::file_header_bytes};
    while (borders.back() < file.size()) {
        const auto at = borders.back();
        const auto header = recording::decode_header(
            std::as_bytes(std::span{file}).subspan(at, recording::block_header_bytes), at);
        REQUIRE(header);
        borders.push_back(at + header->block_bytes());
    }
    return borders;
}

} // namespace

TEST_CASE("crc32c: has the value of RFC 3720, appendix B.4")
{
    CHECK(recording::crc32c(std::as_bytes(std::span{"123456789", 9})) == 0xe3069283);
    const std::vector<std::byte> zeros(32);
    CHECK(recording::crc32c(zeros) == 0x8a9136aa);
    CHECK(recording::crc32c({}) == 0);
}

TEST_CASE("reader: of a file cut at any byte it reads the whole blocks, and names the offset")
{
    const TemporaryFile file;
    (void)record_everything(file.name());
    const auto whole = file.content();
    const auto all = entries_of(file.name()).texts;
    const auto borders = borders_of(whole);
    REQUIRE(borders.size() > 3);
    std::size_t last_count = all.size();
    for (auto size = whole.size(); size-- != 0;) {
        CAPTURE(size);
        std::filesystem::resize_file(file.name(), size);
        const auto entries = entries_of(file.name());
        const auto border =
            std::upper_bound(borders.begin(), borders.end(), size) - borders.begin();
        if (border == 0) {
            const auto why = size == 0  ? "it is empty"
                             : size < 8 ? "it is no recording"
                                        : "it is truncated in its first 16 bytes";
            CHECK(entries.error.ends_with(why));
            continue;
        }
        const auto begin = borders[static_cast<std::size_t>(border) - 1];
        if (size == begin)
            CHECK(entries.error == "");
        else
            CHECK(
                entries.error.ends_with(fmt::format("the file is truncated at offset {}", begin)));
        CHECK(entries.texts.size() <= last_count);
        last_count = entries.texts.size();
        CHECK(std::equal(entries.texts.begin(), entries.texts.end(), all.begin()));
    }
    CHECK(last_count == 0);
}

TEST_CASE(
    "reader: of a file with any byte changed it reads the blocks before, and names the offset")
{
    const TemporaryFile file;
    (void)record_everything(file.name());
    const auto whole = file.content();
    const auto all = entries_of(file.name()).texts;
    const auto borders = borders_of(whole);
    const int fd = ::open(file.name().c_str(), O_WRONLY | O_CLOEXEC);
    const auto put = [&](std::size_t at, char byte) {
        return ::pwrite(fd, &byte, 1, static_cast<off_t>(at)) == 1;
    };
    for (std::size_t at = 0; at < whole.size(); ++at) {
        for (const char change : {'\x01', '\x80'}) {
            CAPTURE(at);
            REQUIRE(put(at, static_cast<char>(whole[at] ^ change)));
            const auto entries = entries_of(file.name());
            const auto border =
                std::upper_bound(borders.begin(), borders.end(), at) - borders.begin();
            REQUIRE(entries.error != "");
            CHECK(std::equal(entries.texts.begin(), entries.texts.end(), all.begin()));
            if (border != 0) {
                const auto begin = borders[static_cast<std::size_t>(border) - 1];
                CHECK(entries.error.ends_with(fmt::format(" at offset {}", begin)));
            }
        }
        REQUIRE(put(at, whole[at]));
    }
    ::close(fd);
}

TEST_CASE("reader: refuses what is wrong though its checksums are right")
{
    struct Wrong {
        const char* what;
        std::vector<Bytes> blocks;
        const char* why; ///< empty: it is read
        std::size_t entries = 0;
    };
    const auto nothing = [](auto&) {};
    const auto joined = [](std::initializer_list<Bytes> entries) {
        Bytes all;
        for (const auto& one : entries)
            all.insert(all.end(), one.begin(), one.end());
        return all;
    };
    const auto far = std::int64_t{1} << 61;
    constexpr auto wrong = "the file is damaged: an entry is wrong in the block at offset 16";
    const Wrong cases[] = {
        {"no block", {}, ""},
        {"an empty block", {{}, connecting()}, "", 1},
        {"a kind of a later version", {joined({connecting(), entry(99, 5, nothing)})}, "", 1},
        {"fields of a later version",
         {joined({connecting(), entry(9, 5,
                                      [](auto& out) {
                                          out.number(std::uint64_t{7});
                                          out.text("more");
                                      })})},
         "",
         2},
        {"kind 0", {joined({connecting(), entry(0, 5, nothing)})}, "", 1},
        {"no beginning", {entry(2, 0, [](auto& out) { out.text(""), out.text(""); })}, wrong},
        {"a length beyond the block", {{std::byte{200}, {}, {}, {}, std::byte{1}}}, wrong},
        {"a length of the largest size", {Bytes(4, std::byte{0xff})}, wrong},
        {"half a length", {Bytes(3, std::byte{1})}, wrong},
        {"no kind", {Bytes(4)}, wrong},
        {"a time before the connection", {joined({connecting(), entry(5, -1, nothing)})}, wrong, 1},
        {"a time in the far future",
         {joined({connecting(), entry(5, far + 1, nothing)})},
         wrong,
         1},
        {"times whose sum is",
         {joined({connecting(), entry(5, far, nothing), connecting(far), entry(5, far, nothing)})},
         wrong,
         3},
        {"a date before 1970", {connecting(-1)}, wrong},
        {"a date in the far future", {connecting(std::int64_t{1} << 62)}, wrong},
        {"a message of no kind", {joined({connecting(), entry(3, 0, nothing)})}, wrong, 1},
        {"a message of another kind",
         {joined({connecting(), entry(3, 0, [](auto& out) { out.number(std::uint8_t{2}); })})},
         wrong,
         1},
        {"a text beyond the entry",
         {entry(1, 0,
                [](auto& out) {
                    out.number(std::int64_t{0});
                    out.number(std::uint32_t{1000});
                })},
         wrong},
        {"an end of another kind",
         {joined({connecting(), entry(8, 0, [](auto& out) { out.number(std::uint8_t{3}); })})},
         wrong,
         1},
        {"half a failure",
         {joined({connecting(), entry(8, 0, [](auto& out) { out.number(std::uint32_t{0}); })})},
         wrong,
         1},
        {"a failure that is none",
         {joined({connecting(), entry(8, 0,
                                      [](auto& out) {
                                          out.number(std::uint8_t{0});
                                          recording::encode(out, Failure{});
                                      })})},
         wrong,
         1},
    };
    const TemporaryFile file;
    for (const auto& one : cases) {
        CAPTURE(one.what);
        file.write(file_of(one.blocks));
        const auto entries = entries_of(file.name());
        CHECK(entries.error.ends_with(one.why));
        CHECK(entries.error.empty() == (*one.why == '\0'));
        CHECK(entries.texts.size() == one.entries);
    }
}

TEST_CASE("reader: says what a file is that it cannot read")
{
    const TemporaryFile file;
    const auto error_of = [&](const std::string& content) {
        file.write(content);
        return entries_of(file.name()).error;
    };
    const auto text = [&](const char* why) {
        return fmt::format("cannot read the recording ({}): the options make no sense{}",
                           file.name(), why);
    };
    CHECK(entries_of(file.name()).error == text(": No such file or directory"));
    CHECK(error_of("") == text(": it is empty"));
    CHECK(error_of("a text, and no recording at all") == text(": it is no recording"));
    const auto header = recording::file_header();
    Bytes newer(header.begin(), header.begin() + 8);
    recording::Encoder out{newer};
    out.number(std::uint32_t{2});
    out.number(recording::crc32c(newer));
    CHECK(error_of(text_of(newer))
          == text(": its format has version 2, and this program reads version 1"));
    auto damaged = text_of(header);
    damaged[9] = '\1';
    CHECK(error_of(damaged) == text(": its first 16 bytes are damaged"));
    CHECK(entries_of("/tmp").error
          == "cannot read the recording (/tmp): the options make no sense: Is a directory");
    CHECK(RecordingReader::open(std::string{"a\0b", 3}) == Error::bad_options);
}

TEST_CASE("reader: a length that a damaged block claims takes no memory beyond the file")
{
    const TemporaryFile file;
    const recording::BlockHeader header{.content_bytes = 0xffff'fff0};
    file.write(text_of(recording::file_header())
               + text_of(recording::encode_header(header, recording::file_header_bytes))
               + std::string(1000, 'x'));
    CHECK(entries_of(file.name()).error.ends_with("the file is truncated at offset 16"));
}

TEST_CASE("failure: comes back from a recording as it was")
{
    using boost::asio::error::misc_errors;
    const Failure failures[] = {
        Error::timed_out,
        {Error::disconnected,
         {.attempted = "read", .endpoint = "mock", .cause = boost::asio::error::eof}},
        {Error::connect_failed, {.cause = boost::asio::error::connection_refused}},
        {Error::lookup_failed, {.cause = boost::asio::error::host_not_found}},
        {Error::closed_by_peer, {.close_code = 4001, .close_reason = "enough"}},
        {Error::handshake_refused,
         {.explanation = "no",
          .http_status = 503,
          .retry_after = std::chrono::seconds{17},
          .is_passing = true}},
        {Error::tls_failed, {.cause = make_error_code(Error::bad_address), .is_passing = false}},
    };
    for (const auto& failure : failures) {
        Bytes bytes;
        recording::Encoder out{bytes};
        recording::encode(out, failure);
        recording::Decoder in{bytes};
        const auto decoded = recording::decode_failure(in);
        CHECK(!in.is_bad());
        CHECK(in.rest().empty());
        CHECK(decoded.message() == failure.message());
        CHECK(decoded.code() == failure.code());
        CHECK(decoded.cause() == failure.cause());
        CHECK(decoded.close_code() == failure.close_code());
        CHECK(decoded.http_status() == failure.http_status());
        CHECK(decoded.retry_after() == failure.retry_after());
        CHECK(decoded.is_passing() == failure.is_passing());
        for (std::size_t size = 0; size < bytes.size(); ++size) {
            recording::Decoder cut{std::span{bytes}.first(size)};
            (void)recording::decode_failure(cut);
            CHECK(cut.is_bad());
        }
    }
}
