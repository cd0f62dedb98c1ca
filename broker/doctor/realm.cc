#include "broker/doctor/realm.h"

#include <algorithm>

namespace jitwg::doctor {

Result<RealmSeen> parse_realm(const json::value& answer) {
  JsonObject object(answer, "realm");
  RealmSeen seen{object.string("realm"), {object.string("ca_public_key")}, {}};
  const json::value* also = object.optional_value("ca_also");
  if (also != nullptr && also->is_string()) seen.ca.emplace_back(also->get_string());
  seen.now = object.take(parse_time(object.string("now")), WallTime{});
  const json::value* node = object.optional_value("node");
  if (node != nullptr && node->is_string()) seen.node = std::string(node->get_string());
  if (!object.ok()) return tl::unexpected(object.finish().error());
  return seen;
}

namespace {

// The key that signs now must be known here; the other one of a change should be, before its turn
// comes, and none that is the CA's no more.
Finding check_ca(const std::vector<std::string>& own, const std::vector<std::string>& theirs,
                 const std::string& place) {
  const auto missing = [](const std::vector<std::string>& in, const std::string& key) {
    return std::find(in.begin(), in.end(), key) == in.end();
  };
  if (missing(own, theirs.front()))
    return problem("broker_ca", "the CA key that signs now is not pinned here",
                   place + theirs.front() +
                       ", if that is right on the signer's host: ssh-keygen -lf /etc/jitwg/ca.pub");
  for (const std::string& key : theirs)
    if (missing(own, key))
      return warning("broker_ca", "the CA's other key is not pinned here",
                     place + key + ", before it signs or while sessions by it live");
  for (const std::string& key : own)
    if (missing(theirs, key))
      return warning("broker_ca", "a key is pinned here that the broker does not name as the CA's",
                     "once nothing signed by it is live, remove " + place + key);
  return ok("broker_ca", "the broker names the same CA key");
}

}  // namespace

Findings check_realm(const RealmSeen& own, const RealmSeen& brokers, const RealmPlaces& places) {
  Findings found = {check_clock(own.now, brokers.now, "the broker")};
  if (!own.realm.empty())
    found.push_back(check(own.realm == brokers.realm, "realm", own.realm,
                          "the broker serves " + brokers.realm + ", not " + own.realm,
                          places.realm + ": realm = " + brokers.realm + ", if it is the right broker"));
  if (!own.ca.empty()) found.push_back(check_ca(own.ca, brokers.ca, places.ca));
  return found;
}

}  // namespace jitwg::doctor
