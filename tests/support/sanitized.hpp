// Whether this build has a sanitizer, which makes it several times slower and keeps memory of its
// own.
#pragma once

#include <chrono>

#ifndef __has_feature // g++ says by macros what clang says by this
#define __has_feature(feature) 0
#endif

#if defined(__SANITIZE_THREAD__) || __has_feature(thread_sanitizer)
inline constexpr bool is_thread_sanitized = true;
#else
inline constexpr bool is_thread_sanitized = false;
#endif
#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer)
inline constexpr bool is_sanitized = true;
#else
inline constexpr bool is_sanitized = is_thread_sanitized;
#endif

/// How late a stop may be beyond its total, and how long it may take where nothing needs waiting
/// for.
inline constexpr std::chrono::milliseconds promptly{is_sanitized ? 250 : 50};
