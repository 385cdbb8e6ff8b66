// What the values of options mean.
#pragma once

#include "parsed.hpp"
#include "settings.hpp"

#include <sidecar/clock.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sidecar_cat {

/// Where secrets that do not stand in the command line come from; a parameter, so that all this is
/// pure.
struct SecretSources {
    /// What a file holds; empty: it cannot be read.
    std::function<std::optional<std::string>(const std::string& path)> file;
    /// What a variable of the environment holds; empty: it is not set.
    std::function<std::optional<std::string>(const std::string& name)> environment;
};

/// A whole number from 1 on.
[[nodiscard]] Parsed<std::uint64_t> parse_count(std::string_view text);
/// A number of bytes from 1 on to 1 GiB; k, M and G behind it stand for 1024, its square and cube.
[[nodiscard]] Parsed<std::size_t> parse_size(std::string_view text);
/// Seconds, with a fraction if need be: 10, 0.5. At most a hundred million.
[[nodiscard]] Parsed<sidecar::Duration> parse_seconds(std::string_view text);
/// lines, raw, length1, length2, length4, length8, fixed:N.
[[nodiscard]] Parsed<FramingChoice> parse_framing(std::string_view text);
/// hex, base64, raw.
[[nodiscard]] Parsed<BinaryFormat> parse_binary(std::string_view text);

using HeaderField = std::pair<std::string, std::string>;
/// "Name: value"; with @ the file behind it holds such lines.
[[nodiscard]] Parsed<std::vector<HeaderField>> parse_header(std::string_view text,
                                                            const SecretSources& sources);
/// "user:password" (basic, RFC 7617), "bearer:token" (RFC 6750);
/// "@file" and "env:NAME" hold one of these.
[[nodiscard]] Parsed<Credentials> parse_credentials(std::string_view text,
                                                    const SecretSources& sources);
/// A proxy's URL (the transport judges it), "env", or "@file" that holds the URL.
[[nodiscard]] Parsed<std::string> parse_proxy(std::string_view text, const SecretSources& sources);
/// `names` and those that `text` holds, separated by commas.
[[nodiscard]] Parsed<std::vector<std::string>> append_names(std::vector<std::string> names,
                                                            std::string_view text);
/// A whole number from 0 to 100.
[[nodiscard]] Parsed<unsigned> parse_redirects(std::string_view text);
/// Whether a header's name is Authorization, in either case of letters.
[[nodiscard]] bool is_authorization(std::string_view name);

} // namespace sidecar_cat
