// What must appear in no text, even if the peer repeats it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace sidecar::http {

/// The secrets of one request. A refusal's body may well quote the token that it refuses. Owned by
/// the handshake; sidecar side.
class Secrets {
public:
    /// Short ones are no secrets: a text without any "1" in it says nothing.
    void add(std::string_view secret);
    /// A field's value: in whole, and each longer word of it ("Bearer <token>").
    void add_field(std::string_view value);
    /// The text with "***" in place of each secret, and of one that is cut off at its end.
    [[nodiscard]] std::string hide(std::string text) const;

private:
    std::vector<std::string> secrets_; // sidecar side; the longest first
};

} // namespace sidecar::http
