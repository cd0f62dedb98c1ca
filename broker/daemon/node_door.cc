#include "broker/daemon/node_door.h"

#include <algorithm>

#include "broker/base/encoding.h"
#include "broker/base/limits.h"
#include "broker/os/service.h"

namespace jitwg::broker {
namespace {

// Longer than a document can be fresh, on either side of our clock.
constexpr auto kRemembered = std::chrono::minutes(2);
static_assert(kRemembered > 2 * limits::kNodeClockSkew);

node::NodeKeys keys_of(const Rules& rules) {
  return [&rules](std::string_view name) -> Result<ssh::PublicKey> {
    if (const ssh::PublicKey* key = rules.node_key(std::string(name))) return *key;
    return fail(Code::wrong_node, "policy names no node \"" + escape_for_terminal(name) + "\"",
                "add it to the policy, with its node_key");
  };
}

Result<void> check_connection(const http::Caller& caller, const std::string& node,
                              const Rules& rules) {
  if (caller.local || caller.key == *rules.node_key(node)) return {};
  return fail(Code::wrong_node,
              caller.key ? "the connection proved " + caller.key->fingerprint() +
                               ", which is not the key of " + node
                         : "the connection proved no key, so it is not " + node + "'s",
              "each node connects by itself, with its own node key");
}

}  // namespace

Result<bool> NodeDoor::check_clock(const node::NodeHead& head, const http::Caller& caller,
                                   WallTime now) {
  if (std::chrono::abs(head.at - now) <= limits::kNodeClockSkew) {
    wrong_clocks_.erase(head.node);
    return true;
  }
  const std::string text =
      head.node + "'s clock says " + render_time(head.at) + ", here it is " + render_time(now);
  if (wrong_clocks_.insert(head.node).second)
    events_.emit(
        {.name = EventName::node_clock, .node = head.node, .code = Code::clock, .text = text});
  if (!caller.local) return false;
  return fail(Code::clock, text, "set the node's clock: no session goes through it until then");
}

Result<bool> NodeDoor::known(const node::NodeHead& head, const std::string& body, WallTime now) {
  while (!by_age_.empty() && by_age_.begin()->first < now) {
    nonces_.erase(by_age_.begin()->second);
    by_age_.erase(by_age_.begin());
  }
  const std::string key = head.node + " " + head.nonce;
  const auto [seen, fresh] = nonces_.try_emplace(key, Seen{sha256_hex(body), now + kRemembered});
  if (fresh) {
    by_age_.emplace(now + kRemembered, key);
    return false;
  }
  if (seen->second.digest != sha256_hex(body))
    return fail(Code::replay, "another document of " + head.node + " carried this nonce");
  return true;
}

Result<NodeDoor::Watcher> NodeDoor::watch(const ssh::SignedDocument& document,
                                          const http::Caller& caller, const Rules& rules,
                                          WallTime now) {
  JITWG_ASSIGN(node::Watch watch, node::verify_watch(document, rules.policy.realm, keys_of(rules)));
  JITWG_TRY(check_connection(caller, watch.head.node, rules));
  JITWG_ASSIGN(const bool clock_is_right, check_clock(watch.head, caller, now));
  JITWG_ASSIGN(const bool again, known(watch.head, document.body, now));
  if (again) return fail(Code::replay, "this watch was opened before", "sign a new one");
  ca_keys_[watch.head.node] = watch.ca_keys;
  if (const auto lacking = without_ca(rules); lacking.contains(watch.head.node))
    log(Level::warning, watch.head.node + " does not know the CA key " + lacking.at(watch.head.node).front() +
                            ": what it signs is refused there");
  return Watcher{std::move(watch), clock_is_right};
}

std::map<std::string, std::vector<std::string>> NodeDoor::without_ca(const Rules& rules) const {
  std::map<std::string, std::vector<std::string>> lacking;
  for (const auto& [node, known] : ca_keys_)
    for (const std::string& key : rules.ca.lines())
      if (!known.empty() && rules.node_key(node) && std::ranges::find(known, key) == known.end())
        lacking[node].push_back(key);
  return lacking;
}

Result<std::optional<node::Report>> NodeDoor::report(const ssh::SignedDocument& document,
                                                     const http::Caller& caller,
                                                     const Rules& rules, WallTime now) {
  JITWG_ASSIGN(node::Report report,
               node::verify_report(document, rules.policy.realm, keys_of(rules)));
  JITWG_TRY(check_connection(caller, report.head.node, rules));
  JITWG_TRY(check_clock(report.head, caller, now));
  JITWG_ASSIGN(const bool again, known(report.head, document.body, now));
  if (again) return std::nullopt;
  return report;
}

}  // namespace jitwg::broker
