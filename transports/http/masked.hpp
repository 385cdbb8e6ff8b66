// URLs as they may appear in texts. Private to the transports.
#pragma once

#include <string>
#include <string_view>

namespace sidecar::http {

/// The URL as it may appear in any text: user information, the values of the query and the fragment
/// become "***", the names in the query stay, and so does the path of a Unix-domain socket. Of what
/// is no well-formed URL everything that could be one of these is masked: all behind the first '?',
/// and all before the last '@'.
[[nodiscard]] std::string masked(std::string_view url);

/// Masks whatever could be a secret in a text whose parts cannot be told for sure, and escapes what
/// does not print.
[[nodiscard]] std::string masked_with_care(std::string_view text);

} // namespace sidecar::http
