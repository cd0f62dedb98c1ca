// What gateway and jump host share: the subscription to the broker, verified grants and tombstones on disk, and
// reports. A node acts only on grants that the CA signed; the broker can only hand them over, or close.
//
// Works without a broker: started alone, it serves exactly the stored live grants and ends each at not_after, or at its
// end by the boot clock (clock_mark.h), whichever comes first.
#pragma once

#include <boost/asio/io_context.hpp>
#include <boost/json/value.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "broker/base/time.h"
#include "broker/session/grant.h"
#include "broker/session/state.h"
#include "broker/transport/broker_address.h"
#include "ssh-ca/format/private_key.h"

namespace jitwg::node {

// One session as this node is to have it.
struct Wanted {
  Grant grant;        // verified, names this node
  bool open = false;  // false: must be gone, for `reason`
  CloseReason reason = CloseReason::expired;
  BootTime ends = BootTime::max();  // by the boot clock; not_after ends it too, whichever comes first
};

struct Outcome {
  enum class State { open, closed, refused, unfinished };  // unfinished: say nothing yet, ask again soon
  SessionId session;
  State state = State::unfinished;
  Code refusal = Code::bug;               // refused only
  boost::json::value evidence = nullptr;  // closed only, read back from the kernel
};

// The enforcement point's own part. Called on the event loop, never concurrently.
class Enforcer {
 public:
  virtual ~Enforcer() = default;
  // A reason to refuse a verified grant that names this node (address outside the pool, …).
  virtual Result<void> admit(const Grant& grant) = 0;
  // Bring the machine to exactly `wanted`, removals first; idempotent. One outcome per wanted session. What the machine
  // holds beyond `wanted` and is ours goes away.
  virtual std::vector<Outcome> converge(const std::vector<Wanted>& wanted, WallTime now) = 0;
  // The first step of a close, before anything is written to disk: these sessions, which were open, end. Says nothing: a
  // converge follows, tries again what failed here, and proves it.
  virtual void cut(const std::vector<Wanted>& ending) { (void)ending; }
  // Opens `fresh`, when they are all that is new since a converge that left nothing undone: no look at anything else.
  // nullopt: nothing was done or not all of it, a converge is needed.
  virtual std::optional<std::vector<Outcome>> add(const std::vector<Wanted>& fresh, WallTime now) {
    (void)fresh, (void)now;
    return std::nullopt;
  }
  // For a session that is to be closed and whose grant this node does not have, asked after a converge without it:
  // the evidence of a closed Outcome, read back; null when something of it is left, or the machine cannot say.
  virtual boost::json::value evidence_of_absence(const SessionId& session) = 0;
};

// Injectable so that tests need no patience.
struct AgentTimings {
  std::chrono::milliseconds converge_every = std::chrono::seconds(30);
  std::chrono::milliseconds retry_first{200};  // while something is unfinished, doubling
  std::chrono::milliseconds retry_most = std::chrono::seconds(5);
  std::chrono::milliseconds silence = std::chrono::seconds(15);  // three heartbeats
  std::chrono::milliseconds call = std::chrono::seconds(10);
  std::chrono::milliseconds backoff_first{200};
  std::chrono::milliseconds backoff_most = std::chrono::seconds(10);
};

struct AgentConfig {
  http::BrokerAddress broker;  // the agent adds the node key
  std::string node;       // this node's name in policy
  std::string realm;
  ssh::CaKeys ca;
  std::string state_dir;  // grants/ID.json, tombstones/ID.json, boot.json
  AgentTimings timings = {};
  std::string boot_id = {};  // empty: the kernel's
};

class Agent {
 public:
  // `enforcer` and `clock` outlive the agent. `is_mine(grant, node)`: does the grant name this node in its role?
  Agent(boost::asio::io_context& io, AgentConfig config, ssh::PrivateKey node_key, Enforcer& enforcer,
        std::function<bool(const Grant&, const std::string& node)> is_mine, const Clock& clock);
  ~Agent();

  // Reads the stored grants (a damaged file is refused alone, loudly), converges once, then subscribes for ever.
  Result<void> start();
  // Where the broker is, from the configuration as it is now. What is connected moves there within a heartbeat.
  Result<void> reload(const Config& config);
  // Something changed under us (a login ended, a process died): converge soon.
  void poke();
  // Live grants that this node holds now, for lookups (hostd) and status.
  std::vector<Wanted> sessions() const;
  // Time since the broker was last heard; nullopt: never since start.
  std::optional<Seconds> silence() const;
  // Of what the broker last told; 0: nothing since start.
  int64_t revision() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace jitwg::node
