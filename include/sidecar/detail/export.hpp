// What the shared libraries export.
#pragma once

/// Marks a declaration as part of a library's interface. All else is hidden (-fvisibility=hidden), so
/// that the insides can change, and meet no others' of the same name in one process.
#define SIDECAR_API __attribute__((visibility("default")))
/// Takes a part of an exported class out again: what is nested in it, and nobody else's business.
#define SIDECAR_LOCAL __attribute__((visibility("hidden")))
