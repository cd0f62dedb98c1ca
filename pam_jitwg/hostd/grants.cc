#include "pam_jitwg/hostd/grants.h"

#include "broker/base/limits.h"

namespace jitwg::hostd {

void Grants::set(const std::vector<node::Wanted>& wanted, WallTime now) {
  open_.clear();
  certificates_.clear();
  for (const node::Wanted& w : wanted) {
    if (w.open)
      open(w.grant);
    else
      close(w);
  }
  std::erase_if(closed_, [now](const auto& entry) {
    return entry.second.not_after + limits::kTombstone < now;
  });
}

void Grants::open(const Grant& grant) {
  // Without a hash no certificate can be this session's: nothing to log in with.
  if (grant.certificate_sha256) certificates_.emplace(*grant.certificate_sha256, grant.session);
  open_.emplace(grant.session, grant);
}

void Grants::close(const node::Wanted& want) {
  const Grant& grant = want.grant;
  open_.erase(grant.session);
  std::string sha256 = grant.certificate_sha256.value_or("");
  certificates_.erase(sha256);
  closed_.insert_or_assign(grant.session, Closed{want.reason, grant.target, std::move(sha256), grant.not_after});
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
