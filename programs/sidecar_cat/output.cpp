#include "output.hpp"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

namespace sidecar_cat {

Output::Output(int descriptor) : descriptor_{descriptor}, kind_{Kind::other}
{
    struct ::stat status {};
    if (::fstat(descriptor, &status) != 0)
        return;
    if (S_ISREG(status.st_mode))
        kind_ = Kind::file;
    else if (S_ISSOCK(status.st_mode))
        kind_ = Kind::socket;
}

short Output::poll_events() const noexcept
{
    return static_cast<short>(pending_bytes() != 0 ? POLLOUT : 0);
}

void Output::note_poll(short events) noexcept
{
    if ((events & (POLLERR | POLLHUP | POLLNVAL)) != 0 && kind_ != Kind::file)
        is_gone_ = true;
}

bool Output::is_ready() const noexcept
{
    if (kind_ != Kind::other)
        return true;
    ::pollfd entry{descriptor_, POLLOUT, 0};
    return ::poll(&entry, 1, 0) == 1;
}

/// The descriptor may be shared with other programs, so it stays blocking. A pipe that is ready
/// takes PIPE_BUF bytes without waiting, and a terminal does.
long Output::write_some(const char* data, std::size_t size) const noexcept
{
    if (kind_ == Kind::socket)
        return ::send(descriptor_, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (kind_ == Kind::other)
        size = std::min(size, std::size_t{PIPE_BUF});
    return ::write(descriptor_, data, size);
}

void Output::write()
{
    while (!is_gone_ && pending_bytes() != 0 && is_ready()) {
        const auto wrote = write_some(text_.data() + written_, pending_bytes());
        if (wrote >= 0)
            written_ += static_cast<std::size_t>(wrote);
        else if (errno == EAGAIN)
            break;
        else if (errno != EINTR)
            give_up(errno);
    }
    if (pending_bytes() == 0 || is_gone_) {
        constexpr std::size_t usual_bytes = std::size_t{1} << 20;
        text_.clear();
        written_ = 0;
        if (text_.capacity() > usual_bytes) // a large message made it grow
            text_.shrink_to_fit();
    }
}

void Output::give_up(int error)
{
    is_gone_ = true;
    if (error != EPIPE && error != ECONNRESET)
        error_ = std::strerror(error);
}

} // namespace sidecar_cat
