// The C client of the NATS project, by its queue for synchronous subscribers.
#include "nats.hpp"

#include <fmt/format.h>
#include <nats/nats.h>

#include <stdexcept>

namespace bench {
namespace {

void check(natsStatus status)
{
    if (status != NATS_OK)
        throw std::runtime_error{natsStatus_GetText(status)};
}

class NatsC {
public:
    explicit NatsC(const Job& job)
    {
        natsOptions* options = nullptr;
        check(natsOptions_Create(&options));
        check(natsOptions_SetURL(options, fmt::format("nats://127.0.0.1:{}", job.port).c_str()));
        // Else a message waits for others for a millisecond, which pays in a stream only
        check(natsOptions_SetSendAsap(options, job.role == Role::echo));
        check(natsConnection_Connect(&connection_, options));
        natsOptions_Destroy(options);
        check(natsConnection_SubscribeSync(&subscription_, connection_, nats_from_generator));
        check(natsSubscription_SetPendingLimits(subscription_, -1, -1));
        send(bytes_of(nats_go));
    }
    NatsC(const NatsC&) = delete;
    NatsC& operator=(const NatsC&) = delete;
    ~NatsC()
    {
        natsConnection_Close(connection_);
        natsSubscription_Destroy(subscription_);
        natsConnection_Destroy(connection_);
    }

    template <class Handler>
    void receive_while(Handler&& handler)
    {
        for (bool go_on = true; go_on;) {
            natsMsg* message = nullptr;
            check(natsSubscription_NextMsg(&message, subscription_, 60'000));
            go_on = handler(bytes_of({natsMsg_GetData(message),
                                      static_cast<std::size_t>(natsMsg_GetDataLength(message))}));
            natsMsg_Destroy(message);
        }
    }
    void send(Bytes message)
    {
        check(natsConnection_Publish(connection_, nats_to_generator, message.data(),
                                     static_cast<int>(message.size())));
    }
    void stop() { natsConnection_Close(connection_); }

private:
    natsConnection* connection_ = nullptr;
    natsSubscription* subscription_ = nullptr;
};

const NatsRegistration<NatsC> registered{"nats.c"};

} // namespace
} // namespace bench
