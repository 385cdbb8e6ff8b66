#include "tell.hpp"

#include <cerrno>
#include <unistd.h>

namespace sidecar_cat {

void tell(std::string_view text) noexcept
{
    while (!text.empty()) {
        const auto wrote = ::write(STDERR_FILENO, text.data(), text.size());
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote <= 0)
            return;
        text.remove_prefix(static_cast<std::size_t>(wrote));
    }
}

} // namespace sidecar_cat
