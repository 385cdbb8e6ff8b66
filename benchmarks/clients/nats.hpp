// What the NATS clients share: the subjects, and the cases.
#pragma once

#include "../cases.hpp"

namespace bench {

inline constexpr const char *nats_to_generator = "to.generator",
                            *nats_from_generator = "from.generator";
/// The first message of a client, once it has subscribed.
inline constexpr std::string_view nats_go = "go";

/// A server for the run, and the generator as one of its clients.
void serve_nats(const Job& job, const std::function<void(std::uint16_t)>& listening);

/// Registers a competitor for the cases of NATS.
template <Client C>
class NatsRegistration {
public:
    explicit NatsRegistration(std::string_view competitor)
    {
        add_cases("nats_", competitor, serve_nats,
                  {{"subscribe", measure_ingest<C>},
                   {"publish", measure_send<C>},
                   {"round_trip", measure_round_trip<C>}});
    }
};

} // namespace bench
