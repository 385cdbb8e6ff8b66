#include "protocol.hpp"

namespace sidecar::websocket {

void Protocol::append_answer(Buffer& out)
{
    if (receiver_.pings().is_waiting())
        sender_.append_pong(out, receiver_.pings().take());
    if (ending())
        sender_.append_close(out, ending()->close_code, {});
}

} // namespace sidecar::websocket
