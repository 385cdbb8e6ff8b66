// Any bytes of a NATS server, cut in any way, with a sink that has room or not: the same messages and
// lines, the same verdict. The first byte of an input chooses the limit, the second how the rest is
// cut.
#include "require.hpp"

#include "nats/protocol.hpp"

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

using namespace sidecar;

namespace {

std::string text_of(std::span<const std::byte> bytes)
{
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

struct Heard final : Sink, nats::Control {
    bool put(MessageKind, std::span<const std::byte>) override { return false; }
    bool put_envelope(MessageKind, std::span<const std::byte> payload,
                      const Envelope& envelope) override
    {
        if (refuses) {
            refuses = false;
            return false;
        }
        require(payload.size() <= limit, "no message above the limit");
        auto line = std::string{envelope.topic} + '\n' + std::string{envelope.reply_to};
        for (const auto& [name, value] : envelope.headers) {
            require(!name.empty(), "a header has a name");
            line.append("\n").append(name).append(":").append(value);
        }
        lines.push_back(line + '\n' + text_of(payload));
        return true;
    }
    using Sink::on_pong;
    void on_ping() override { lines.emplace_back("ping"); }
    void on_pong(Sink&) override { lines.emplace_back("pong"); }
    void on_info(nats::ServerInfo info) override
    {
        lines.push_back("info " + std::to_string(info.max_payload));
    }
    void on_error(std::string_view text) override
    {
        (void)nats::judge_error(text);
        lines.emplace_back(text);
    }

    std::size_t limit = 0;
    bool refuses = false;
    std::vector<std::string> lines;
    error_code error;
};

/// As a reader drives it: what is not consumed is shown again, moved, with more behind it.
void hear(Heard& heard, std::string_view bytes, std::size_t segment_bytes, bool refuses)
{
    nats::Decoder decoder{heard.limit, heard};
    std::string unread;
    try {
        while (!bytes.empty()) {
            unread += bytes.substr(0, segment_bytes);
            bytes.remove_prefix(std::min(segment_bytes, bytes.size()));
            for (bool again = true; again;) {
                // memory of exactly that size, so that a sanitizer sees each look beyond it
                std::vector<char> shown(unread.begin(), unread.end());
                heard.refuses = refuses;
                const auto pass = decoder.decode(std::as_bytes(std::span{shown}), heard);
                heard.refuses = false;
                again = pass.refused.has_value();
                require(pass.consumed_bytes + pass.refused_bytes <= shown.size(),
                        "no more is consumed than shown");
                require(pass.missing_bytes <= heard.limit + 2, "no more is missing than the limit");
                if (again) {
                    const auto payload = text_of(pass.refused->payload);
                    std::fill(shown.begin(), shown.end(), '?'); // the envelope is a copy
                    require(heard.put_envelope(pass.refused->kind,
                                               std::as_bytes(std::span{payload}),
                                               *pass.refused->envelope),
                            "the message is put again");
                }
                unread.erase(0, pass.consumed_bytes + pass.refused_bytes);
            }
        }
    } catch (const Exception& e) {
        require(e.failure().message().size() < 1000, "the failure is bounded");
        heard.error = e.failure().code();
    }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    constexpr std::size_t limits[] = {1, 16, 1000, 1u << 20};
    if (size < 2)
        return 0;
    std::string_view bytes{reinterpret_cast<const char*>(data), size};
    bytes.remove_prefix(2);
    Heard whole, cut, single;
    whole.limit = cut.limit = single.limit = limits[data[0] % std::size(limits)];
    hear(whole, bytes, std::max<std::size_t>(bytes.size(), 1), false);
    hear(cut, bytes, 1u + data[1], true);
    hear(single, bytes, 1, false);
    require(whole.lines == cut.lines && whole.error == cut.error, "cut, with a sink that refuses");
    require(whole.lines == single.lines && whole.error == single.error, "byte by byte");
    for (const auto use : {nats::SubjectUse::publish, nats::SubjectUse::subscribe})
        if (!nats::fault_of_subject(bytes, use))
            require(bytes.find_first_of(std::string_view{" \t\r\n\0", 5}) == bytes.npos,
                    "a subject is one word of a line");
    return 0;
}
