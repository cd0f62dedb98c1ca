#include "ssh-ca/signer/memory.h"

#include <algorithm>

#include "broker/base/encoding.h"

namespace jitwg::signer {
namespace {

template <typename Map, typename Key>
auto find_in(const Map& map, const Key& key) {
  const auto it = map.find(key);
  return it == map.end() ? nullptr : &it->second;
}

}  // namespace

const Issued* Memory::issued(const SessionId& session) const { return find_in(issued_, session); }

const Lock* Memory::lock(const Subject& what) const { return find_in(locks_, what); }

const Incident* Memory::incident(const SessionId& id) const { return find_in(incidents_, id); }

const std::string* Memory::nonce_digest(std::string_view nonce) const { return find_in(nonces_, std::string(nonce)); }

const std::set<std::string>* Memory::revokers(const SessionId& session) const { return find_in(revokers_, session); }

Result<void> Memory::check_not_revoked(const Subject& what, WallTime since) const {
  const WallTime* at = find_in(revoked_, what);
  if (!at || (what.kind != Subject::Kind::session && *at < since)) return {};
  return fail(Code::revoked, what.str() + " was revoked at " + render_time(*at), "ask again, with a new request");
}

Result<void> Memory::check_not_locked(const Subject& what) const {
  const Lock* lock = this->lock(what);
  if (!lock) return {};
  return fail(Code::locked, (what.kind == Subject::Kind::all ? "everything" : what.str()) + " is locked, by " + lock->by + ": " + lock->reason,
              "somebody with the right \"lock\" may unlock");
}

Result<void> Memory::take_issued(JsonObject& reader) {
  const std::string question = reader.string("question_sha256");
  const json::value* answer = reader.value("answer");
  const json::value* statements = reader.value("statements");
  JITWG_TRY(reader.finish());
  const auto* list = statements->if_array();
  const auto* object = answer->if_object();
  if (!list || list->empty() || !object || !object->contains("grant"))
    return fail(Code::corrupt, "an issued record without statements or answer");
  JITWG_ASSIGN(const auto grant_document, parse_document(object->at("grant"), "grant"));
  JITWG_ASSIGN(const Grant grant, parse_grant(grant_document.body));
  Issued issued{question, *answer, grant.person, grant.target, {grant.gateway.name}, grant.incident, {}, {}};
  for (const GrantJumpHost& host : grant.jump_hosts) issued.nodes.push_back(host.name);
  for (const json::value& item : *list) {
    JITWG_ASSIGN(const auto document, parse_document(item, "statement"));
    JITWG_ASSIGN(const Statement statement, parse_statement(document.body));
    nonces_.emplace(head_of(statement).nonce, sha256_hex(document.body));
    issued.people.insert(head_of(statement).by);
    if (const auto* request = std::get_if<RequestStatement>(&statement)) {
      issued.requested_at = request->head.at;
      keys_.insert(request->wg_public_key);
      keys_.insert(request->ssh_public_key.str());
    }
  }
  for (const Prefix& p : grant.address) addresses_.given[p.address] = grant.not_after;
  issued_.emplace(grant.session, std::move(issued));
  return {};
}

Result<void> Memory::take_applied(JsonObject& reader, WallTime at) {
  const json::value* value = reader.value("statement");
  const bool claim = reader.flag("claim");
  JITWG_TRY(reader.finish());
  JITWG_ASSIGN(const auto document, parse_document(*value, "statement"));
  JITWG_ASSIGN(const Statement statement, parse_statement(document.body));
  const auto* revoke = std::get_if<RevokeStatement>(&statement);
  if (claim) {
    const auto session = session_of(statement);
    if (!revoke || !session) return fail(Code::corrupt, "a claim that revokes no session");
    revokers_[*session].insert(revoke->head.by);
  } else if (revoke) {
    // By whichever clock is ahead: the signer's may be some minutes behind.
    revoked_[revoke->what] = std::max({revoked_[revoke->what], at, revoke->head.at});
  } else if (const auto* lock = std::get_if<LockStatement>(&statement)) {
    locks_[lock->what] = {lock->head.by, lock->reason, lock->head.at};
  } else if (const auto* unlock = std::get_if<UnlockStatement>(&statement)) {
    locks_.erase(unlock->what);
  } else if (const auto* open = std::get_if<IncidentOpenStatement>(&statement)) {
    incidents_.emplace(open->incident, Incident{open->head.by, open->targets, open->until});
  } else if (const auto* extend = std::get_if<IncidentExtendStatement>(&statement)) {
    if (const auto it = incidents_.find(extend->incident); it != incidents_.end()) it->second.until = extend->until;
  } else if (const auto* close = std::get_if<IncidentCloseStatement>(&statement)) {
    if (const auto it = incidents_.find(close->incident); it != incidents_.end()) it->second.closed = true;
  } else {
    return fail(Code::corrupt, "an applied record of a " + std::string(type_of(statement)));
  }
  nonces_.emplace(head_of(statement).nonce, sha256_hex(document.body));
  return {};
}

Result<void> Memory::take(const json::value& record) {
  JsonObject reader(record, "ledger record");
  const std::string kind = reader.string("kind");
  const std::string at_text = reader.string("at");
  if (!reader.ok()) return reader.finish();
  JITWG_ASSIGN(const WallTime at, parse_time(at_text));
  if (kind == "issued") JITWG_TRY(take_issued(reader));
  else if (kind == "applied") JITWG_TRY(take_applied(reader, at));
  else return fail(Code::corrupt, "a ledger record of unknown kind \"" + escape_for_terminal(kind) + "\"");
  newest_ = std::max(newest_, at);
  return {};
}

}  // namespace jitwg::signer
