#include "protocol.hpp"

namespace sidecar::websocket {

void Protocol::append_answer(Buffer& out)
{
    if (receiver_.has_ping())
        sender_.append_pong(out, receiver_.take_ping());
    if (ending())
        sender_.append_close(out, ending()->close_code, {});
}

} // namespace sidecar::websocket
