#include "broker/daemon/node_door.h"

#include "broker/base/encoding.h"
#include "broker/base/limits.h"

namespace jitwg::broker {
namespace {

// Longer than a document can be fresh, on either side of our clock.
constexpr auto kRemembered = std::chrono::minutes(2);
static_assert(kRemembered > 2 * limits::kNodeClockSkew);

node::NodeKeys keys_of(const Rules& rules) {
  return [&policy = rules.policy](std::string_view name) -> Result<ssh::PublicKey> {
    if (const auto gateway = policy.gateways.find(std::string(name));
        gateway != policy.gateways.end())
      return gateway->second.node_key;
    if (const auto host = policy.jump_hosts.find(std::string(name));
        host != policy.jump_hosts.end())
      return host->second.node_key;
    return fail(Code::wrong_node, "policy names no node \"" + escape_for_terminal(name) + "\"");
  };
}

}  // namespace

Result<void> NodeDoor::check_clock(const node::NodeHead& head, WallTime now) {
  if (head.at <= now + limits::kNodeClockSkew && now <= head.at + limits::kNodeClockSkew) return {};
  const std::string text =
      head.node + "'s clock says " + render_time(head.at) + ", here it is " + render_time(now);
  events_.emit(
      {.name = EventName::node_clock, .node = head.node, .code = Code::clock, .text = text});
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

Result<node::Watch> NodeDoor::watch(const ssh::SignedDocument& document, const Rules& rules,
                                    WallTime now) {
  JITWG_ASSIGN(node::Watch watch, node::verify_watch(document, rules.policy.realm, keys_of(rules)));
  JITWG_TRY(check_clock(watch.head, now));
  JITWG_ASSIGN(const bool again, known(watch.head, document.body, now));
  if (again) return fail(Code::replay, "this watch was opened before", "sign a new one");
  return watch;
}

Result<std::optional<node::Report>> NodeDoor::report(const ssh::SignedDocument& document,
                                                     const Rules& rules, WallTime now) {
  JITWG_ASSIGN(node::Report report,
               node::verify_report(document, rules.policy.realm, keys_of(rules)));
  JITWG_TRY(check_clock(report.head, now));
  JITWG_ASSIGN(const bool again, known(report.head, document.body, now));
  if (again) return std::nullopt;
  return report;
}

}  // namespace jitwg::broker
