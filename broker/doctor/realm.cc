#include "broker/doctor/realm.h"

namespace jitwg::doctor {

Result<RealmSeen> parse_realm(const json::value& answer) {
  JsonObject object(answer, "realm");
  RealmSeen seen{object.string("realm"), object.string("ca_public_key"), {}};
  seen.now = object.take(parse_time(object.string("now")), WallTime{});
  const json::value* node = object.optional_value("node");
  if (node != nullptr && node->is_string()) seen.node = std::string(node->get_string());
  if (!object.ok()) return tl::unexpected(object.finish().error());
  return seen;
}

Findings check_realm(const RealmSeen& own, const RealmSeen& brokers, const std::string& file) {
  Findings found = {check_clock(own.now, brokers.now, "the broker")};
  if (!own.realm.empty())
    found.push_back(check(own.realm == brokers.realm, "realm", own.realm,
                          "the broker serves " + brokers.realm + ", not " + own.realm,
                          file + ": realm = " + brokers.realm + ", if it is the right broker"));
  if (!own.ca.empty())
    found.push_back(check(own.ca == brokers.ca, "broker_ca", "the broker names the same CA key",
                          "the broker names another CA key than is pinned here",
                          file + ": ca = …; compare on the signer's host first: ssh-keygen -lf "
                                 "/etc/jitwg/ca.pub"));
  return found;
}

}  // namespace jitwg::doctor
