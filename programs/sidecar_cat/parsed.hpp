// Parsed<T>: a value that a text stands for, or what is wrong with the text.
#pragma once

#include <boost/system/result.hpp>

#include <string>
#include <utility>

namespace sidecar_cat {

/// What is wrong, for a line on stderr. It never repeats a text that may hold a secret. Made by
/// because() only, so that a Parsed<std::string> takes no text for a mistake.
class Wrong {
public:
    Wrong() = default; ///< nothing; what Parsed::error() gives when there is a value
    [[nodiscard]] const std::string& why() const noexcept { return why_; }

private:
    friend Wrong because(std::string why);
    explicit Wrong(std::string why) : why_{std::move(why)} {}

    std::string why_;
};

[[nodiscard]] inline Wrong because(std::string why) { return Wrong{std::move(why)}; }

template <class T>
using Parsed = boost::system::result<T, Wrong>;

} // namespace sidecar_cat
