// Tx over one SQLite connection, inside whatever transaction is open on it.
#pragma once

#include "broker/store/sql.h"
#include "broker/store/store.h"

namespace jitwg::store {

class SqliteTx final : public Tx {
 public:
  explicit SqliteTx(SQLite::Database& database) : sql_(database) {}

  Result<std::optional<Statement>> statement(const std::string& digest) override;
  Result<bool> nonce_known(const std::string& realm, const std::string& nonce) override;
  Result<void> add_statement(const Statement& statement) override;
  Result<std::optional<Session>> session(const SessionId& id) override;
  Result<std::vector<Session>> sessions(const std::vector<State>& states, const std::string& person,
                                        size_t limit) override;
  Result<std::vector<Session>> sessions_in(const SessionId& incident) override;
  Result<std::vector<Session>> due(WallTime now) override;
  Result<bool> key_seen(const std::string& wg_public_key,
                        const std::string& ssh_public_key) override;
  Result<size_t> open_requests(const std::string& person) override;
  Result<size_t> activations_since(const std::string& person, WallTime since) override;
  Result<void> add_session(const Session& session) override;
  Result<void> save_session(const Session& session) override;
  Result<std::vector<Decision>> decisions(const SessionId& session) override;
  Result<void> add_decision(const Decision& decision) override;
  Result<void> touch(const SessionId& subject, const std::string& statement) override;
  Result<std::vector<SessionId>> touched_by(const std::string& statement) override;
  Result<std::vector<Statement>> statements_about(const SessionId& subject) override;
  Result<size_t> statements_since(const std::string& person, WallTime since) override;
  Result<std::vector<Lock>> locks() override;
  Result<void> add_lock(const Lock& lock) override;
  Result<void> clear_locks(const Subject& what, const std::string& statement) override;
  Result<std::optional<Incident>> incident(const SessionId& id) override;
  Result<std::vector<Incident>> incidents(size_t limit) override;
  Result<void> add_incident(const Incident& incident) override;
  Result<void> save_incident(const Incident& incident) override;
  Result<void> add_write_off(const WriteOff& write_off) override;
  Result<void> keep_rules(const KeptRules& rules) override;
  Result<std::optional<KeptRules>> rules_at(WallTime at, const std::string& policy_sha256) override;
  Result<std::vector<NodeReport>> reports(const SessionId& session) override;
  Result<void> add_report(const NodeReport& report) override;
  Result<uint64_t> add_event(const SessionId& session, const std::string& body) override;
  Result<std::vector<ChainedEvent>> events(const SessionId& session) override;
  Result<std::optional<Token>> token(const std::string& token_sha256) override;
  Result<void> add_token(const Token& token) override;
  Result<std::vector<Statement>> for_signer() override;
  Result<void> queue_for_signer(const std::string& digest) override;
  Result<void> told_signer(const std::string& digest, WallTime at,
                           const std::optional<Error>& refusal) override;

  Sql& sql() { return sql_; }

 private:
  Result<std::vector<Session>> read_sessions(Query& rows);
  Sql sql_;
};

}  // namespace jitwg::store
