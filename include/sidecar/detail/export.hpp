// Macros that export symbols from the shared libraries, or hide them.
#pragma once

#include <sidecar/detail/requirements.hpp>

/// Exports a declaration as part of a library's interface. All other symbols are hidden
/// (-fvisibility=hidden): they can change, and cannot clash with equal names in the same process.
#define SIDECAR_API __attribute__((visibility("default")))
/// Hides a nested type of an exported class, because it is an implementation detail.
#define SIDECAR_LOCAL __attribute__((visibility("hidden")))
