// What SqliteTx keeps of locks, incidents and write-offs, and of policy and people as they stood.
#include "broker/base/json.h"
#include "broker/base/limits.h"
#include "broker/store/sqlite_tx.h"

namespace jitwg::store {
namespace {

constexpr std::pair<Subject::Kind, std::string_view> kKinds[] = {{Subject::Kind::person, "person"},
                                                                 {Subject::Kind::target, "target"},
                                                                 {Subject::Kind::node, "node"},
                                                                 {Subject::Kind::all, "all"}};

std::string kind_name(const Subject& what) {
  for (const auto& [kind, word] : kKinds)
    if (kind == what.kind) return std::string(word);
  return "";  // the schema refuses it
}

Result<std::optional<Error>> parse_refusal(const std::optional<std::string>& text) {
  if (!text) return std::nullopt;
  JITWG_ASSIGN(const json::value value, parse_json(*text, limits::kHttpBodyBytes));
  return parse_error(value);
}

#define INCIDENT_COLUMNS                                                                        \
  "i.id, i.opened_by, i.targets, i.reason, i.opened_at, i.until, i.statement, i.closed_at, "    \
  "i.closed_by, i.close_reason, q.refusal FROM incidents i LEFT JOIN signer_queue q ON q.statement = i.statement"

Result<Incident> read_incident(Query& row) {
  JITWG_ASSIGN(const SessionId id, SessionId::parse(row.text(0)));
  Incident incident{.id = id, .opened_by = row.text(1), .reason = row.text(3)};
  JITWG_ASSIGN(const json::value targets, parse_json(row.text(2), limits::kHttpBodyBytes));
  for (const json::value& target : targets.as_array())
    incident.targets.emplace_back(target.as_string());
  incident.opened_at = row.time(4);
  incident.until = row.time(5);
  incident.statement = row.text(6);
  incident.closed_at = row.optional_time(7);
  incident.closed_by = row.optional_text(8);
  incident.close_reason = row.optional_text(9);
  JITWG_ASSIGN(incident.signer_refusal, parse_refusal(row.optional_text(10)));
  return incident;
}

Result<std::vector<Incident>> read_incidents(Query rows) {
  std::vector<Incident> found;
  while (rows.next()) {
    auto incident = read_incident(rows);
    if (!incident)
      return fail(Code::corrupt, "the broker's database: incident " + rows.text(0) + ": " +
                                     incident.error().render());
    found.push_back(std::move(*incident));
  }
  return found;
}

}  // namespace

Result<std::vector<Lock>> SqliteTx::locks() {
  return guarded([&]() -> Result<std::vector<Lock>> {
    std::vector<Lock> found;
    Query row = sql_.query(
        "SELECT l.kind, l.name, l.person, l.reason, l.at, l.statement, q.refusal FROM locks l"
        " LEFT JOIN signer_queue q ON q.statement = l.statement WHERE l.cleared_by IS NULL ORDER BY l.id");
    while (row.next()) {
      Lock lock{{}, row.text(2), row.text(3), row.time(4), row.text(5)};
      for (const auto& [kind, word] : kKinds)
        if (word == row.text(0)) lock.what = {kind, row.text(1)};
      JITWG_ASSIGN(lock.signer_refusal, parse_refusal(row.optional_text(6)));
      found.push_back(std::move(lock));
    }
    return found;
  });
}

Result<void> SqliteTx::add_lock(const Lock& lock) {
  return guarded([&]() -> Result<void> {
    sql_.execute("INSERT INTO locks (kind, name, person, reason, at, statement) VALUES (?,?,?,?,?,?)",
                 kind_name(lock.what), lock.what.name, lock.person, lock.reason, lock.at,
                 lock.statement);
    return {};
  });
}

Result<void> SqliteTx::clear_locks(const Subject& what, const std::string& statement) {
  return guarded([&]() -> Result<void> {
    sql_.execute(
        "UPDATE locks SET cleared_by = ? WHERE kind = ? AND name = ? AND cleared_by IS NULL",
        statement, kind_name(what), what.name);
    return {};
  });
}

Result<std::optional<Incident>> SqliteTx::incident(const SessionId& id) {
  return guarded([&]() -> Result<std::optional<Incident>> {
    JITWG_ASSIGN(auto found, read_incidents(sql_.query("SELECT " INCIDENT_COLUMNS " WHERE i.id = ?",
                                                       id.str())));
    if (found.empty()) return std::nullopt;
    return std::move(found.front());
  });
}

Result<std::vector<Incident>> SqliteTx::incidents(size_t limit) {
  return guarded([&] {
    return read_incidents(sql_.query("SELECT " INCIDENT_COLUMNS " ORDER BY i.id DESC LIMIT ?",
                                     static_cast<int64_t>(limit)));
  });
}

Result<void> SqliteTx::add_incident(const Incident& incident) {
  return guarded([&]() -> Result<void> {
    const json::array targets(incident.targets.begin(), incident.targets.end());
    sql_.execute(
        "INSERT INTO incidents (id, opened_by, targets, reason, opened_at, until, statement)"
        " VALUES (?,?,?,?,?,?,?)",
        incident.id.str(), incident.opened_by, render_json(targets), incident.reason,
        incident.opened_at, incident.until, incident.statement);
    return {};
  });
}

Result<void> SqliteTx::save_incident(const Incident& incident) {
  return guarded([&]() -> Result<void> {
    sql_.execute(
        "UPDATE incidents SET until = ?, closed_at = ?, closed_by = ?, close_reason = ? WHERE id = ?",
        incident.until, incident.closed_at, incident.closed_by, incident.close_reason,
        incident.id.str());
    return {};
  });
}

Result<void> SqliteTx::add_write_off(const WriteOff& off) {
  return guarded([&]() -> Result<void> {
    sql_.execute(
        "INSERT INTO write_offs (session, node, person, reason, at, statement) VALUES (?,?,?,?,?,?)",
        off.session.str(), off.node, off.person, off.reason, off.at, off.statement);
    return {};
  });
}

Result<void> SqliteTx::keep_rules(const KeptRules& rules) {
  return guarded([&]() -> Result<void> {
    sql_.execute(
        "INSERT INTO rules (digest, policy_sha256, loaded_at, answer) SELECT ?1,?2,?3,?4"
        " WHERE ?1 IS NOT (SELECT digest FROM rules ORDER BY id DESC LIMIT 1)",
        rules.digest, rules.policy_sha256, rules.loaded_at, rules.answer);
    return {};
  });
}

Result<std::optional<KeptRules>> SqliteTx::rules_at(WallTime at, const std::string& policy_sha256) {
  return guarded([&]() -> Result<std::optional<KeptRules>> {
    Query row = sql_.query(
        "SELECT digest, policy_sha256, loaded_at, answer FROM rules WHERE loaded_at <= ?1"
        " AND (?2 = '' OR policy_sha256 = ?2) ORDER BY id DESC LIMIT 1",
        at, policy_sha256);
    if (!row.next()) return std::nullopt;
    return KeptRules{row.text(0), row.text(1), row.time(2), row.text(3)};
  });
}

}  // namespace jitwg::store
