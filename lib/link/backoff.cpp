#include <sidecar/reconnect.hpp>

namespace sidecar {

bool can_heal(const Failure& failure) noexcept
{
    const auto status = failure.http_status();
    if (status >= 400 && status <= 499)
        return status == 408 || status == 425 || status == 429;
    for (const auto permanent : {Error::bad_address, Error::bad_options, Error::misuse,
                                 Error::forked, Error::link_closed, Error::tls_failed})
        if (failure == permanent)
            return false;
    return true;
}

} // namespace sidecar
