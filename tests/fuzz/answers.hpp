// Answers over HTTP, as a fuzzer gives them to whoever judges them: whole, in pieces, by the octet.
#pragma once

#include "require.hpp"

#include <answer.hpp>

#include <sidecar/error.hpp>

#include <algorithm>
#include <cstddef>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

struct Verdict {
    bool is_there = false;
    std::size_t head_bytes = 0; ///< until it came, if it was a yes
    std::optional<sidecar::Failure> failure{};
};

inline void require_printable(const sidecar::Failure& failure)
{
    const auto text = failure.message();
    require(std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c < 0x7f; }),
            "a failure is fit for a line");
    require(text.size() < 4000, "a failure is a short text");
}

inline Verdict hear_answer(std::string_view answer, std::size_t segment_bytes,
                           sidecar::http::Exchange& exchange)
{
    for (std::size_t at = 0; at < answer.size(); at += segment_bytes) {
        const auto segment = answer.substr(at, segment_bytes);
        const auto verdict = exchange.take(std::as_bytes(std::span{segment}));
        if (verdict && *verdict)
            return {true, at + **verdict, {}};
        if (verdict)
            return {true, 0, verdict->error()};
    }
    require_printable(exchange.ended());
    return {};
}

inline void require_same(const Verdict& whole, const Verdict& other)
{
    require(whole.is_there == other.is_there, "a verdict or none");
    require(whole.head_bytes == other.head_bytes, "where the head ends");
    require(whole.failure.has_value() == other.failure.has_value(), "a yes or a no");
    if (!whole.failure)
        return;
    require(whole.failure->code() == other.failure->code(), "the code");
    require(whole.failure->http_status() == other.failure->http_status(), "the status");
    require(whole.failure->location() == other.failure->location(), "the location");
}
