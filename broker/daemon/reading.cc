#include "broker/daemon/reading.h"

#include <algorithm>

#include "broker/base/encoding.h"
#include "broker/base/limits.h"
#include "broker/daemon/session_json.h"
#include "broker/daemon/subject.h"

namespace jitwg::broker {
namespace {

constexpr size_t kListed = 1000;  // the newest: a list is for people

// Tokens are stored and compared as hashes only.
std::optional<std::string> token_hash(const std::string& bearer) {
  const auto bytes = hex_decode(bearer);
  if (!bytes || bytes->size() != 32) return std::nullopt;
  return sha256_hex(*bytes);
}

tl::unexpected<Error> no_token() {
  return fail(Code::bad_token, "the token is missing, unknown or has ended",
              "sign a login statement for a new one");
}

// own, may or did decide: no right needed.
Result<bool> concerns(Change& change, const Rules& rules, const std::string& person,
                      const store::Session& session) {
  if (session.person == person || rules.may_decide(session, person)) return true;
  JITWG_ASSIGN(const auto decisions, change.tx.decisions(session.id));
  return std::ranges::any_of(decisions,
                             [&](const store::Decision& one) { return one.person == person; });
}

Result<store::Session> readable(Change& change, const Rules& rules, const std::string& person,
                                const SessionId& id) {
  const auto hidden =
      fail(Code::unknown_session, "there is no session " + id.str() + " that you may read");
  JITWG_ASSIGN(auto found, change.tx.session(id));
  if (!found) return hidden;
  JITWG_ASSIGN(const bool concerned, concerns(change, rules, person, *found));
  if (concerned) return std::move(*found);
  if (!rules.may_audit(person)) return hidden;
  change.note({.name = EventName::audit_read,
               .session = id,
               .person = person,
               .target = found->target,
               .text = person + " read " + found->person + "'s session"});
  return std::move(*found);
}

}  // namespace

Result<std::string> reader_of(Change& change, const Rules& rules, const std::string& bearer) {
  const auto hash = token_hash(bearer);
  if (!hash) return no_token();
  JITWG_ASSIGN(const auto token, change.tx.token(*hash));
  if (!token || token->until <= change.now || !rules.is_known(token->person, change.now))
    return no_token();
  JITWG_ASSIGN(const auto locks, change.tx.locks());
  JITWG_TRY(check_not_locked(locks, {Subject::Kind::person, token->person}));
  return token->person;
}

Result<store::Session> own_session(Change& change, const std::string& bearer, const SessionId& id) {
  const auto hash = token_hash(bearer);
  JITWG_ASSIGN(auto found, change.tx.session(id));
  if (!hash || !found || found->token_sha256 != *hash)
    return fail(Code::bad_token, "this is not the token of that request",
                "only the machine that asked holds it");
  return std::move(*found);
}

Result<store::Session> read_session(Change& change, const Rules& rules, const std::string& bearer,
                                    const SessionId& id) {
  if (auto own = own_session(change, bearer, id); own || own.error().code != Code::bad_token)
    return own;
  JITWG_ASSIGN(const std::string person, reader_of(change, rules, bearer));
  return readable(change, rules, person, id);
}

Result<json::value> list_sessions(Change& change, const Rules& rules, const std::string& bearer,
                                  bool live_only) {
  JITWG_ASSIGN(const std::string person, reader_of(change, rules, bearer));
  std::vector<State> states;
  if (live_only) states = {State::opening, State::active, State::closing};
  JITWG_ASSIGN(std::vector<store::Session> sessions, change.tx.sessions(states, {}, kListed));
  if (rules.may_audit(person)) {
    change.note(
        {.name = EventName::audit_read, .person = person, .text = person + " listed all sessions"});
  } else {
    JITWG_ASSIGN(std::vector<store::Session> seen, change.tx.sessions(states, person, kListed));
    for (store::Session& session : sessions) {
      if (session.person == person) continue;
      JITWG_ASSIGN(const bool concerned, concerns(change, rules, person, session));
      if (concerned) seen.push_back(std::move(session));
    }
    std::ranges::sort(seen, [](const auto& a, const auto& b) { return a.id > b.id; });
    sessions = std::move(seen);
  }
  json::array list;
  for (const store::Session& session : sessions) {
    JITWG_ASSIGN(json::value object, session_json(change.tx, session));
    list.push_back(std::move(object));
  }
  return list;
}

Result<json::value> list_pending(Change& change, const Rules& rules, const std::string& bearer) {
  JITWG_ASSIGN(const std::string person, reader_of(change, rules, bearer));
  JITWG_ASSIGN(const auto pending, change.tx.sessions({State::pending}, {}, kListed));
  json::array list;
  for (const store::Session& session : pending) {
    if (!rules.may_decide(session, person)) continue;
    JITWG_ASSIGN(const auto decisions, change.tx.decisions(session.id));
    if (std::ranges::any_of(decisions,
                            [&](const store::Decision& one) { return one.person == person; }))
      continue;
    JITWG_ASSIGN(json::value object, session_json(change.tx, session));
    list.push_back(std::move(object));
  }
  return list;
}

Result<json::value> request_json(Change& change, const Rules& rules, const std::string& bearer,
                                 const SessionId& id) {
  JITWG_ASSIGN(const store::Session session, read_session(change, rules, bearer, id));
  JITWG_ASSIGN(const auto request, change.tx.statement(session.request));
  if (!request) return fail(Code::corrupt, "the request of session " + id.str() + " is missing");
  JITWG_ASSIGN(const auto decisions, change.tx.decisions(id));
  json::array documents;
  for (const store::Decision& decision : decisions) {
    JITWG_ASSIGN(const auto statement, change.tx.statement(decision.statement));
    if (!statement) return fail(Code::corrupt, "a decision of session " + id.str() + " is missing");
    documents.push_back(render_document(statement->document));
  }
  const bool open = session.state == State::pending;
  const Verdict verdict = open ? rules.judge(session) : Verdict{};
  return json::value{
      {"request", render_document(request->document)},
      {"decisions", std::move(documents)},
      {"access", render_access(open && !verdict.denial ? verdict.access : session.access)},
      {"keys", name(verdict.keys)}};
}

Result<json::value> list_locks(Change& change, const Rules& rules, const std::string& bearer) {
  JITWG_TRY(reader_of(change, rules, bearer));
  JITWG_ASSIGN(const auto locks, change.tx.locks());
  json::array list;
  for (const store::Lock& lock : locks) list.push_back(lock_json(lock));
  return list;
}

Result<json::value> list_incidents(Change& change, const Rules& rules, const std::string& bearer) {
  JITWG_TRY(reader_of(change, rules, bearer));
  JITWG_ASSIGN(const auto incidents, change.tx.incidents(kListed));
  json::array list;
  for (const store::Incident& incident : incidents) {
    JITWG_ASSIGN(json::value object, incident_json(change.tx, incident, change.now));
    list.push_back(std::move(object));
  }
  return list;
}

Result<json::value> read_incident(Change& change, const Rules& rules, const std::string& bearer,
                                  const SessionId& id) {
  JITWG_ASSIGN(const std::string person, reader_of(change, rules, bearer));
  JITWG_ASSIGN(const store::Incident incident, change.incident(id));
  JITWG_ASSIGN(json::value object, incident_json(change.tx, incident, change.now));
  JITWG_ASSIGN(const auto all, change.tx.sessions_in(id));
  json::array sessions;
  bool as_auditor = false;
  for (const store::Session& session : all) {
    JITWG_ASSIGN(const bool concerned, concerns(change, rules, person, session));
    if (!concerned && !rules.may_audit(person)) continue;
    as_auditor |= !concerned;
    JITWG_ASSIGN(json::value one, session_json(change.tx, session));
    sessions.push_back(std::move(one));
  }
  if (as_auditor)
    change.note({.name = EventName::audit_read,
                 .person = person,
                 .text = person + " read the sessions of incident " + id.str()});
  object.get_object()["sessions"] = std::move(sessions);
  return object;
}

Result<json::value> list_affected(Change& change, const Rules& rules, const std::string& bearer,
                                  const Subject& what) {
  JITWG_ASSIGN(const std::string person, reader_of(change, rules, bearer));
  JITWG_TRY(check_exists(change, rules, what));
  if (!check_may_lock(rules, person, what))
    JITWG_TRY(check_may_revoke(change, rules, person, what));
  JITWG_ASSIGN(const auto sessions, open_sessions(change, what));
  json::array list;
  for (const store::Session& session : sessions)
    list.push_back({{"session", session.id.str()},
                    {"state", name(session.state)},
                    {"person", session.person},
                    {"target", session.target}});
  return list;
}

}  // namespace jitwg::broker
