// Whether the calling thread is one of the library's.
#pragma once

#include <sidecar/detail/export.hpp>

namespace sidecar::detail {

/// True on threads that the library started. Such a thread must not call getenv(), which the
/// application's setenv() may disturb at any moment. Side: any thread.
[[nodiscard]] SIDECAR_API bool is_library_thread() noexcept;

} // namespace sidecar::detail
