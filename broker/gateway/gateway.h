// The enforcement point: brings the kernel to exactly the wanted sessions, and says what it read
// back.
//
// Access ends in the kernel by element timeouts, set from a millisecond clock so that the end is
// not_after to within a second, or the end by the boot clock should somebody set the wall clock back.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "broker/audit/event.h"
#include "broker/gateway/kernel.h"
#include "broker/gateway/usage.h"
#include "broker/node/agent.h"

namespace jitwg::gateway {

class Gateway final : public node::Enforcer {
 public:
  struct Settings {
    std::string node;
    wireguard::PublicKey own_key;
    std::vector<Prefix> pools;
    Capacity capacity = {};
  };
  // `kernel` and `events` outlive the gateway. `clock` is read once a converge, for whole seconds
  // are too coarse.
  Gateway(Settings settings, Kernel& kernel, EventSink& events, std::function<Instant()> clock)
      : settings_(std::move(settings)),
        kernel_(kernel),
        events_(events),
        clock_(std::move(clock)) {}

  Result<void> admit(const Grant& grant) override;
  // open: peer and every element read back. closed: no peer, no element, no conntrack entry; its
  // evidence tells the tunnel's usage, too.
  // refused: by admit(), address_taken or gateway_full. unfinished: the kernel refused something
  // (logged), something takes packets past the chains, or the end has come meanwhile.
  std::vector<node::Outcome> converge(const std::vector<node::Wanted>& wanted,
                                      WallTime now) override;
  // Of sessions that are open here: only then are the elements theirs. One transaction.
  void cut(const std::vector<node::Wanted>& ending) override;
  // open: acknowledged by the kernel, element by element new; the next converge reads it back.
  std::optional<std::vector<node::Outcome>> add(const std::vector<node::Wanted>& fresh,
                                                WallTime now) override;
  boost::json::value evidence_of_absence(const SessionId& session) override;

  // Tells tunnel.first_packet, once a session, of those that have had one let through by now. Costs
  // a listing of all elements while some session waits for it, otherwise nothing. After a restart a
  // session whose elements have counted packets is taken for told.
  void look_for_first_packets();

 private:
  struct Work;  // one converge
  Result<void> settle(Work& work);
  Result<void> carry_out(const Plan& plan);
  void remove_elements(std::span<const Element> elements);
  void judge(Work& work);
  void note_usage(Work& work);
  void tell_first_packets(const std::vector<Element>& elements);
  void tell(const Grant& grant, const node::Outcome& outcome, bool had_peer, bool was_used);

  Settings settings_;
  Kernel& kernel_;
  EventSink& events_;
  std::function<Instant()> clock_;
  std::set<IpAddress> live_;  // addresses of open sessions, as of the last converge
  std::set<wireguard::PublicKey> peers_;  // anybody's, likewise
  std::map<std::string, size_t> fill_;    // of the sets, likewise
  std::string bypass_;                    // likewise
  bool settled_ = false;                  // that left nothing undone, and nothing was cut since
  std::optional<std::set<std::string>> commented_;  // sessions with elements, looked up once a converge
  std::set<SessionId> open_;              // told as opened, or found open
  std::map<SessionId, Usage> used_;
  std::map<std::string, Event> unused_;  // of open sessions: the event that their first packet makes
};

}  // namespace jitwg::gateway
