// Task: the type of the library's coroutines.
#pragma once

#include <sidecar/detail/requirements.hpp>

#include <boost/asio/awaitable.hpp>

namespace sidecar {

/// Asio's own coroutine type, so every Asio operation can be awaited in it.
template <class T = void>
using Task = boost::asio::awaitable<T>;

namespace detail {
template <class T>
inline constexpr bool is_task = false;
template <class T>
inline constexpr bool is_task<Task<T>> = true;
} // namespace detail

} // namespace sidecar
