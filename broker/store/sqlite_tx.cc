#include "broker/store/sqlite_tx.h"

#include "broker/base/encoding.h"
#include "broker/base/json.h"

namespace jitwg::store {
namespace {

constexpr size_t kRefusalBytes = 16 * 1024;

std::optional<std::string> refusal_text(const std::optional<Error>& refusal) {
  if (!refusal) return std::nullopt;
  return render_json(render_error(*refusal));
}

Result<std::optional<Error>> parse_refusal(const std::optional<std::string>& text) {
  if (!text) return std::nullopt;
  JITWG_ASSIGN(const json::value value, parse_json(*text, kRefusalBytes));
  return parse_error(value);
}

// What the database holds and we cannot read is damage, whatever the parser called it.
tl::unexpected<Error> damaged(std::string_view what, const Error& error) {
  return fail(Code::corrupt, "the broker's database: " + std::string(what) + ": " + error.render());
}

std::string choice_name(Choice choice) { return choice == Choice::approve ? "approve" : "deny"; }

#define STATEMENT_COLUMNS                                                                         \
  "s.digest, s.type, s.realm, s.nonce, s.person, s.session, s.received_at, s.body, s.signature, " \
  "s.refusal"

Result<Statement> read_statement(Query& row) {
  Statement statement;
  statement.digest = row.text(0);
  statement.type = row.text(1);
  statement.realm = row.text(2);
  statement.nonce = row.text(3);
  statement.person = row.text(4);
  if (const auto session = row.optional_text(5)) {
    auto id = SessionId::parse(*session);
    if (!id) return damaged("statement " + statement.digest, id.error());
    statement.session = *id;
  }
  statement.received_at = row.time(6);
  statement.document = {row.text(7), row.text(8)};
  JITWG_ASSIGN(statement.refusal, parse_refusal(row.optional_text(9)));
  // The bytes are the evidence: if they are not what was signed, nothing that rests on them counts.
  if (sha256_hex(statement.document.body) != statement.digest)
    return fail(Code::corrupt,
                "the broker's database: statement " + statement.digest + " was altered");
  return statement;
}

}  // namespace

std::string_view name(NodeReport::State state) {
  switch (state) {
    case NodeReport::State::open:
      return "open";
    case NodeReport::State::closed:
      return "closed";
    case NodeReport::State::refused:
      return "refused";
    case NodeReport::State::written_off:
      return "written_off";
  }
  return "refused";
}

Result<std::optional<Statement>> SqliteTx::statement(const std::string& digest) {
  return guarded([&]() -> Result<std::optional<Statement>> {
    Query row =
        sql_.query("SELECT " STATEMENT_COLUMNS " FROM statements s WHERE s.digest = ?", digest);
    if (!row.next()) return std::nullopt;
    return read_statement(row);
  });
}

Result<bool> SqliteTx::nonce_known(const std::string& realm, const std::string& nonce) {
  return guarded([&]() -> Result<bool> {
    return sql_.query("SELECT 1 FROM statements WHERE realm = ? AND nonce = ?", realm, nonce)
        .next();
  });
}

Result<void> SqliteTx::touch(const SessionId& subject, const std::string& statement) {
  return guarded([&]() -> Result<void> {
    sql_.execute("INSERT OR IGNORE INTO touched (subject, statement) VALUES (?,?)", subject.str(),
                 statement);
    return {};
  });
}

Result<std::vector<SessionId>> SqliteTx::touched_by(const std::string& statement) {
  return guarded([&]() -> Result<std::vector<SessionId>> {
    std::vector<SessionId> found;
    Query row = sql_.query("SELECT subject FROM touched WHERE statement = ? ORDER BY subject DESC",
                           statement);
    while (row.next()) {
      auto id = SessionId::parse(row.text(0));
      if (!id) return damaged("what statement " + statement + " touched", id.error());
      found.push_back(std::move(*id));
    }
    return found;
  });
}

Result<std::vector<Statement>> SqliteTx::statements_about(const SessionId& subject) {
  return guarded([&]() -> Result<std::vector<Statement>> {
    std::vector<Statement> found;
    Query row = sql_.query("SELECT " STATEMENT_COLUMNS
                           " FROM statements s WHERE s.session = ?1 OR s.digest IN"
                           " (SELECT statement FROM touched WHERE subject = ?1) ORDER BY s.id",
                           subject.str());
    while (row.next()) {
      JITWG_ASSIGN(Statement statement, read_statement(row));
      found.push_back(std::move(statement));
    }
    return found;
  });
}

Result<size_t> SqliteTx::statements_since(const std::string& person, WallTime since) {
  return guarded([&]() -> Result<size_t> {
    Query row = sql_.query("SELECT count(*) FROM statements WHERE person = ? AND received_at > ?",
                           person, since);
    row.next();
    return static_cast<size_t>(row.integer(0));
  });
}

Result<void> SqliteTx::add_statement(const Statement& statement) {
  return guarded([&]() -> Result<void> {
    sql_.execute(
        "INSERT INTO statements (digest, type, realm, nonce, person, session, received_at, body, "
        "signature, refusal)"
        " VALUES (?,?,?,?,?,?,?,?,?,?)",
        statement.digest, statement.type, statement.realm, statement.nonce, statement.person,
        statement.session ? std::optional(statement.session->str()) : std::nullopt,
        statement.received_at, Blob{statement.document.body}, statement.document.signature,
        refusal_text(statement.refusal));
    return {};
  });
}

Result<std::vector<Decision>> SqliteTx::decisions(const SessionId& session) {
  return guarded([&]() -> Result<std::vector<Decision>> {
    std::vector<Decision> found;
    Query row = sql_.query(
        "SELECT person, choice, duration, comment, at, statement FROM decisions WHERE session = ? "
        "ORDER BY id",
        session.str());
    while (row.next())
      found.push_back({session, row.text(0),
                       row.text(1) == "approve" ? Choice::approve : Choice::deny,
                       row.is_null(2) ? std::nullopt : std::optional(Seconds(row.integer(2))),
                       row.optional_text(3), row.time(4), row.text(5)});
    return found;
  });
}

Result<void> SqliteTx::add_decision(const Decision& decision) {
  return guarded([&]() -> Result<void> {
    sql_.execute(
        "INSERT INTO decisions (session, person, choice, duration, comment, at, statement) VALUES "
        "(?,?,?,?,?,?,?)",
        decision.session.str(), decision.person, choice_name(decision.choice), decision.duration,
        decision.comment, decision.at, decision.statement);
    return {};
  });
}

Result<std::vector<NodeReport>> SqliteTx::reports(const SessionId& session) {
  return guarded([&]() -> Result<std::vector<NodeReport>> {
    std::vector<NodeReport> found;
    Query row = sql_.query(
        "SELECT node, state, at, refusal, evidence FROM node_reports WHERE id IN"
        " (SELECT max(id) FROM node_reports WHERE session = ? GROUP BY node) ORDER BY node",
        session.str());
    while (row.next()) {
      NodeReport report{
          .session = session, .node = row.text(0), .at = row.time(2), .evidence = row.text(4)};
      const std::string state = row.text(1);
      report.state = state == "open"     ? NodeReport::State::open
                     : state == "closed" ? NodeReport::State::closed
                                         : NodeReport::State::refused;
      if (const auto word = row.optional_text(3))
        report.refusal = parse_code(*word).value_or(Code::bug);
      found.push_back(std::move(report));
    }
    Query off = sql_.query(
        "SELECT node, person, reason, at FROM write_offs WHERE session = ? ORDER BY node",
        session.str());
    while (off.next())
      found.push_back({.session = session,
                       .node = off.text(0),
                       .state = NodeReport::State::written_off,
                       .at = off.time(3),
                       .evidence = render_json({{"by", off.text(1)}, {"reason", off.text(2)}})});
    return found;
  });
}

Result<void> SqliteTx::add_report(const NodeReport& report) {
  JITWG_ASSIGN(const auto known, reports(report.session));
  for (NodeReport newest : known) {
    newest.at = report.at;
    if (newest == report) return {};
  }
  return guarded([&]() -> Result<void> {
    sql_.execute(
        "INSERT INTO node_reports (session, node, state, at, refusal, evidence) VALUES "
        "(?,?,?,?,?,?)",
        report.session.str(), report.node, name(report.state), report.at,
        report.refusal ? std::optional(std::string(jitwg::name(*report.refusal))) : std::nullopt,
        report.evidence);
    return {};
  });
}

Result<uint64_t> SqliteTx::add_event(const SessionId& session, const std::string& body) {
  return guarded([&]() -> Result<uint64_t> {
    int64_t seq = 1;
    std::string previous(64, '0');
    {
      Query last =
          sql_.query("SELECT seq, hash FROM events WHERE session = ? ORDER BY seq DESC LIMIT 1",
                     session.str());
      if (last.next()) {
        seq = last.integer(0) + 1;
        previous = last.text(1);
      }
    }
    sql_.execute("INSERT INTO events (session, seq, body, hash) VALUES (?,?,?,?)", session.str(),
                 seq, body, sha256_hex(previous + " " + body));
    return static_cast<uint64_t>(seq);
  });
}

Result<std::vector<ChainedEvent>> SqliteTx::events(const SessionId& session) {
  return guarded([&]() -> Result<std::vector<ChainedEvent>> {
    std::vector<ChainedEvent> found;
    Query row = sql_.query("SELECT seq, body, hash FROM events WHERE session = ? ORDER BY seq",
                           session.str());
    while (row.next())
      found.push_back({static_cast<uint64_t>(row.integer(0)), row.text(1), row.text(2)});
    return found;
  });
}

Result<std::optional<Token>> SqliteTx::token(const std::string& token_sha256) {
  return guarded([&]() -> Result<std::optional<Token>> {
    Query row = sql_.query("SELECT person, until, statement FROM tokens WHERE token_sha256 = ?",
                           token_sha256);
    if (!row.next()) return std::nullopt;
    return Token{token_sha256, row.text(0), row.time(1), row.text(2)};
  });
}

Result<void> SqliteTx::add_token(const Token& token) {
  return guarded([&]() -> Result<void> {
    sql_.execute("INSERT INTO tokens (token_sha256, person, until, statement) VALUES (?,?,?,?)",
                 token.token_sha256, token.person, token.until, token.statement);
    return {};
  });
}

Result<std::vector<Statement>> SqliteTx::for_signer() {
  return guarded([&]() -> Result<std::vector<Statement>> {
    std::vector<Statement> found;
    Query row = sql_.query("SELECT " STATEMENT_COLUMNS
                           " FROM signer_queue q JOIN statements s ON s.digest = q.statement"
                           " WHERE q.told_at IS NULL ORDER BY q.id");
    while (row.next()) {
      JITWG_ASSIGN(Statement statement, read_statement(row));
      found.push_back(std::move(statement));
    }
    return found;
  });
}

Result<void> SqliteTx::queue_for_signer(const std::string& digest) {
  return guarded([&]() -> Result<void> {
    sql_.execute("INSERT INTO signer_queue (statement) VALUES (?)", digest);
    return {};
  });
}

Result<void> SqliteTx::told_signer(const std::string& digest, WallTime at,
                                   const std::optional<Error>& refusal) {
  return guarded([&]() -> Result<void> {
    // Two may have told it at once: the signer took the same bytes twice, with one effect.
    sql_.execute(
        "UPDATE signer_queue SET told_at = ?, refusal = ? WHERE statement = ? AND told_at IS NULL",
        at, refusal_text(refusal), digest);
    return {};
  });
}

}  // namespace jitwg::store
