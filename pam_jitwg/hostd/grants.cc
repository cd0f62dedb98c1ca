#include "pam_jitwg/hostd/grants.h"

#include <set>

#include "broker/base/limits.h"

namespace jitwg::hostd {

void Grants::set(const std::vector<node::Wanted>& wanted, WallTime now) {
  // Most of ten thousand are here already: comparing is cheaper than copying.
  std::set<SessionId> named;
  for (const node::Wanted& w : wanted) {
    if (w.open && named.insert(w.grant.session).second) open(w.grant);
    if (!w.open) close(w);
  }
  for (auto it = open_.begin(); it != open_.end();) {
    const Grant& grant = (it++)->second;
    if (!named.contains(grant.session)) forget(grant.session);
  }
  std::erase_if(closed_, [now](const auto& entry) {
    return entry.second.not_after + limits::kTombstone < now;
  });
}

void Grants::open(const Grant& grant) {
  if (const Grant* known = by_session(grant.session); known != nullptr && *known == grant) return;
  forget(grant.session);
  open_.emplace(grant.session, grant);
  // Without a hash no certificate can be this session's: nothing to log in with.
  if (grant.certificate_sha256) certificates_.emplace(*grant.certificate_sha256, grant.session);
}

void Grants::forget(const SessionId& session) {
  const auto it = open_.find(session);
  if (it == open_.end()) return;
  if (it->second.certificate_sha256) certificates_.erase(*it->second.certificate_sha256);
  open_.erase(it);
}

void Grants::close(const node::Wanted& want) {
  const Grant& grant = want.grant;
  forget(grant.session);
  closed_.insert_or_assign(grant.session,
                           Closed{want.reason, grant.target,
                                  grant.certificate_sha256.value_or(""), grant.not_after});
}

const Grant* Grants::by_session(const SessionId& session) const {
  const auto it = open_.find(session);
  return it == open_.end() ? nullptr : &it->second;
}

const Grant* Grants::by_certificate(const std::string& sha256_hex) const {
  const auto it = certificates_.find(sha256_hex);
  return it == certificates_.end() ? nullptr : by_session(it->second);
}

const Closed* Grants::closed(const SessionId& session) const {
  const auto it = closed_.find(session);
  return it == closed_.end() ? nullptr : &it->second;
}

}  // namespace jitwg::hostd
