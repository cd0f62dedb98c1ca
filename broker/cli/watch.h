// What `up` waits for while it is in front: news of its session, a signal, or a moment. One thread,
// one event loop, which runs only inside wait(): between two waits the caller may block as it
// likes, and nothing is lost.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "broker/cli/session_object.h"
#include "broker/transport/broker_address.h"

namespace jitwg::cli {

class SessionWatch {
 public:
  // From now on SIGINT, SIGTERM and SIGHUP are events, not deaths.
  SessionWatch(http::BrokerAddress broker, SessionId id, std::string token);
  ~SessionWatch();

  enum class Kind {
    session,  // another state than the one known
    signal,
    failure,  // the broker is away or refuses; asked again after a pause
    moment,   // at_most has passed
  };
  struct Event {
    Kind kind = Kind::moment;
    std::optional<SessionObject> session;
    std::optional<Error> error;
  };
  // `known` is the state the caller has already seen.
  Event wait(State known, std::chrono::milliseconds at_most);
  // A signal came while the caller was busy. It stays an event of the next wait().
  bool is_signalled();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace jitwg::cli
