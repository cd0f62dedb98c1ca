// The sessions' part of SqliteTx.
#include "broker/base/json.h"
#include "broker/base/limits.h"
#include "broker/store/sqlite_tx.h"

namespace jitwg::store {
namespace {

#define SESSION_COLUMNS                                                                         \
  "id, state, close_reason, person, target, reason, ticket, incident, request, wg_public_key, " \
  "ssh_public_key, "                                                                            \
  "token_sha256, requested_at, duration, access, lapses_at, opening_at, gateway, grant_body, "  \
  "grant_signature, "                                                                           \
  "certificate, not_before, not_after, refusal, "                                               \
  "(SELECT opened_by FROM incidents WHERE incidents.id = sessions.incident)"

std::string text_of(const json::value& value) { return render_json(value); }

std::optional<std::string> refusal_text(const std::optional<Error>& refusal) {
  return refusal ? std::optional(text_of(render_error(*refusal))) : std::nullopt;
}

Result<Session> parse_session(Query& row) {
  JITWG_ASSIGN(const SessionId id, SessionId::parse(row.text(0)));
  Session session{.id = id};
  JITWG_ASSIGN(session.state, parse_state(row.text(1)));
  if (const auto word = row.optional_text(2)) {
    JITWG_ASSIGN(session.close_reason, parse_close_reason(*word));
  }
  session.person = row.text(3);
  session.target = row.text(4);
  session.reason = row.text(5);
  session.ticket = row.optional_text(6);
  session.incident = row.optional_text(7);
  session.request = row.text(8);
  session.wg_public_key = row.text(9);
  session.ssh_public_key = row.text(10);
  session.token_sha256 = row.text(11);
  session.requested_at = row.time(12);
  session.duration = Seconds(row.integer(13));
  JITWG_ASSIGN(const json::value access, parse_json(row.text(14), limits::kHttpBodyBytes));
  JITWG_ASSIGN(session.access, parse_access(access));
  session.lapses_at = row.optional_time(15);
  session.opening_at = row.optional_time(16);
  session.gateway = row.optional_text(17);
  if (!row.is_null(18)) session.grant = ssh::SignedDocument{row.text(18), row.text(19)};
  session.certificate = row.optional_text(20);
  session.not_before = row.optional_time(21);
  session.not_after = row.optional_time(22);
  if (const auto refusal = row.optional_text(23)) {
    JITWG_ASSIGN(const json::value value, parse_json(*refusal, limits::kHttpBodyBytes));
    session.refusal = parse_error(value);
  }
  session.incident_opener = row.optional_text(24).value_or("");
  return session;
}

}  // namespace

Result<std::vector<Session>> SqliteTx::read_sessions(Query& rows) {
  std::vector<Session> found;
  while (rows.next()) {
    Result<Session> session = parse_session(rows);
    if (!session)
      return fail(Code::corrupt, "the broker's database: session " + rows.text(0) + ": " +
                                     session.error().render());
    found.push_back(std::move(*session));
  }
  return found;
}

Result<std::optional<Session>> SqliteTx::session(const SessionId& id) {
  return guarded([&]() -> Result<std::optional<Session>> {
    Query rows = sql_.query("SELECT " SESSION_COLUMNS " FROM sessions WHERE id = ?", id.str());
    JITWG_ASSIGN(std::vector<Session> found, read_sessions(rows));
    if (found.empty()) return std::nullopt;
    return std::move(found.front());
  });
}

Result<std::vector<Session>> SqliteTx::sessions(const std::vector<State>& states,
                                                const std::string& person, size_t limit) {
  return guarded([&]() -> Result<std::vector<Session>> {
    json::array words;
    for (const State state : states) words.emplace_back(jitwg::name(state));
    // A UUIDv7 sorts by time: the newest first without another index.
    Query rows =
        sql_.query("SELECT " SESSION_COLUMNS
                   " FROM sessions WHERE (?1 = '[]' OR state IN (SELECT value FROM json_each(?1)))"
                   " AND (?2 = '' OR person = ?2) ORDER BY id DESC LIMIT ?3",
                   text_of(words), person, static_cast<int64_t>(limit));
    return read_sessions(rows);
  });
}

Result<std::vector<Session>> SqliteTx::sessions_in(const SessionId& incident) {
  return guarded([&]() -> Result<std::vector<Session>> {
    Query rows = sql_.query(
        "SELECT " SESSION_COLUMNS " FROM sessions WHERE incident = ? ORDER BY id DESC", incident.str());
    return read_sessions(rows);
  });
}

Result<std::vector<Session>> SqliteTx::due(WallTime now) {
  return guarded([&]() -> Result<std::vector<Session>> {
    Query rows =
        sql_.query("SELECT " SESSION_COLUMNS
                   " FROM sessions WHERE (state IN ('pending', 'approved') AND lapses_at <= ?1)"
                   " OR (state = 'active' AND not_after <= ?1) ORDER BY id",
                   now);
    return read_sessions(rows);
  });
}

Result<bool> SqliteTx::key_seen(const std::string& wg_public_key,
                                const std::string& ssh_public_key) {
  return guarded([&]() -> Result<bool> {
    return sql_
        .query("SELECT 1 FROM sessions WHERE wg_public_key = ? OR ssh_public_key = ?",
               wg_public_key, ssh_public_key)
        .next();
  });
}

Result<size_t> SqliteTx::open_requests(const std::string& person) {
  return guarded([&]() -> Result<size_t> {
    Query row = sql_.query(
        "SELECT count(*) FROM sessions WHERE person = ? AND state IN ('pending', 'approved')",
        person);
    row.next();
    return static_cast<size_t>(row.integer(0));
  });
}

Result<size_t> SqliteTx::activations_since(const std::string& person, WallTime since) {
  return guarded([&]() -> Result<size_t> {
    Query row = sql_.query("SELECT count(*) FROM sessions WHERE person = ? AND opening_at > ?",
                           person, since);
    row.next();
    return static_cast<size_t>(row.integer(0));
  });
}

Result<void> SqliteTx::add_session(const Session& session) {
  return guarded([&]() -> Result<void> {
    sql_.execute(
        "INSERT INTO sessions (id, state, person, target, reason, ticket, incident, request, "
        "wg_public_key,"
        " ssh_public_key, token_sha256, requested_at, duration, access, lapses_at)"
        " VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
        session.id.str(), jitwg::name(session.state), session.person, session.target,
        session.reason, session.ticket, session.incident, session.request, session.wg_public_key,
        session.ssh_public_key, session.token_sha256, session.requested_at, session.duration,
        text_of(render_access(session.access)), session.lapses_at);
    return {};
  });
}

Result<void> SqliteTx::save_session(const Session& session) {
  return guarded([&]() -> Result<void> {
    const auto& grant = session.grant;
    sql_.execute(
        "UPDATE sessions SET state = ?, close_reason = ?, duration = ?, access = ?, lapses_at = ?, "
        "opening_at = ?,"
        " gateway = ?, grant_body = ?, grant_signature = ?, certificate = ?, not_before = ?, "
        "not_after = ?,"
        " refusal = ? WHERE id = ?",
        jitwg::name(session.state),
        session.close_reason ? std::optional(std::string(jitwg::name(*session.close_reason)))
                             : std::nullopt,
        session.duration, text_of(render_access(session.access)), session.lapses_at,
        session.opening_at, session.gateway,
        grant ? std::optional(Blob{grant->body}) : std::nullopt,
        grant ? std::optional(grant->signature) : std::nullopt, session.certificate,
        session.not_before, session.not_after, refusal_text(session.refusal), session.id.str());
    return {};
  });
}

}  // namespace jitwg::store
