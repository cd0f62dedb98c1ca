// What the broker remembers, for ever: nothing is deleted, a session's state moves only along the
// edges of broker/session/state.h (the same edges stand in the schema), and events are hash-chained
// per session.
//
// Values in, values out; no SQL type shows. All work runs as tasks on the store's one thread: a
// task sees and changes a consistent state, and its effect is durable before `done` hears of it.
// Tasks that queue up meanwhile share one commit; each has its own savepoint, so one task's failure
// undoes that task alone.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "broker/base/error.h"
#include "broker/base/session_id.h"
#include "broker/base/time.h"
#include "broker/session/state.h"
#include "policy/statement.h"
#include "ssh-ca/format/sshsig.h"

namespace jitwg::store {

struct Statement {
  std::string digest;  // sha256_hex of the body: its key
  std::string type, realm, nonce, person;
  std::optional<SessionId> session;
  WallTime received_at;
  ssh::SignedDocument document;
  std::optional<Error> refusal;  // a denied request: the same bytes get the same answer
};

struct Session {
  SessionId id;
  State state = State::pending;
  std::optional<CloseReason> close_reason;  // once set, never another
  // As requested; never changes.
  std::string person, target, reason;
  std::optional<std::string> ticket, incident;
  std::string incident_opener;  // who opened that incident; read only, empty without one
  std::string request;  // digest of the request statement
  std::string wg_public_key, ssh_public_key, token_sha256;
  WallTime requested_at;
  // As decided and opened.
  Seconds duration{};                  // as asked, or the shortest an approver gave
  Access access;                       // as policy resolved it when last judged
  std::optional<WallTime> lapses_at;   // pending and approved: when they end by themselves
  std::optional<WallTime> opening_at;  // the activation was committed
  std::optional<std::string> gateway;  // chosen at opening
  std::optional<ssh::SignedDocument> grant;
  std::optional<std::string> certificate;  // authorized_keys form
  std::optional<WallTime> not_before, not_after;
  std::optional<Error> refusal;  // why it was denied or failed
};

struct Decision {
  SessionId session;
  std::string person;
  Choice choice = Choice::deny;
  std::optional<Seconds> duration;
  std::optional<std::string> comment;
  WallTime at;
  std::string statement;  // digest
};

struct NodeReport {
  enum class State { open, closed, refused, written_off };  // the last: a person's word in its place
  SessionId session;
  std::string node;
  State state = State::refused;
  WallTime at;
  std::optional<Code> refusal;  // refused
  std::string evidence;         // closed: JSON as the node signed it
  bool operator==(const NodeReport&) const = default;
};
std::string_view name(NodeReport::State state);

struct WriteOff {
  SessionId session;
  std::string node, person, reason;
  WallTime at;
  std::string statement;  // digest
};

struct Lock {
  Subject what;  // a person, target, node, or all
  std::string person, reason;
  WallTime at;            // as signed
  std::string statement;  // digest
  std::optional<Error> signer_refusal = {};  // read only
};

struct Incident {
  SessionId id;
  std::string opened_by, reason;
  std::vector<std::string> targets;
  WallTime opened_at, until;  // until: its hard end
  std::string statement;      // digest of the one that opened it
  std::optional<WallTime> closed_at;
  std::optional<std::string> closed_by, close_reason;
  std::optional<Error> signer_refusal = {};  // of its opening; read only
};

// The signer's answer to {"op":"policy"}, as the broker took it over.
struct KeptRules {
  std::string digest, policy_sha256;
  WallTime loaded_at;
  std::string answer;  // JSON
};

struct ChainedEvent {
  uint64_t seq = 0;
  std::string body;  // JSON
  std::string hash;  // sha256_hex(previous hash + " " + body); the first previous hash is 64 zeros
};

struct Token {
  std::string token_sha256, person;
  WallTime until;
  std::string statement;  // digest
};

// One task's view. Valid inside the task only. Errors: `io`, `corrupt`; a broken constraint is
// `corrupt` too: callers check first. After an error the task must return it.
class Tx {
 public:
  virtual ~Tx() = default;

  virtual Result<std::optional<Statement>> statement(const std::string& digest) = 0;
  virtual Result<bool> nonce_known(const std::string& realm, const std::string& nonce) = 0;
  virtual Result<void> add_statement(const Statement& statement) = 0;

  virtual Result<std::optional<Session>> session(const SessionId& id) = 0;
  // The newest first. `states` empty: all; `person` empty: everybody's.
  virtual Result<std::vector<Session>> sessions(const std::vector<State>& states,
                                                const std::string& person, size_t limit) = 0;
  virtual Result<std::vector<Session>> sessions_in(const SessionId& incident) = 0;
  // Lapsed by now, or past their last second by now.
  virtual Result<std::vector<Session>> due(WallTime now) = 0;
  virtual Result<bool> key_seen(const std::string& wg_public_key,
                                const std::string& ssh_public_key) = 0;
  virtual Result<size_t> open_requests(const std::string& person) = 0;
  virtual Result<size_t> activations_since(const std::string& person, WallTime since) = 0;
  virtual Result<void> add_session(const Session& session) = 0;   // state pending
  virtual Result<void> save_session(const Session& session) = 0;  // only what may change

  virtual Result<std::vector<Decision>> decisions(const SessionId& session) = 0;  // in order
  virtual Result<void> add_decision(const Decision& decision) = 0;

  // Statements about a session or an incident, or that ended it, besides its own; in order.
  virtual Result<void> touch(const SessionId& subject, const std::string& statement) = 0;
  virtual Result<std::vector<SessionId>> touched_by(const std::string& statement) = 0;
  virtual Result<std::vector<Statement>> statements_about(const SessionId& subject) = 0;
  virtual Result<size_t> statements_since(const std::string& person, WallTime since) = 0;

  virtual Result<std::vector<Lock>> locks() = 0;  // that hold, in order
  virtual Result<void> add_lock(const Lock& lock) = 0;
  virtual Result<void> clear_locks(const Subject& what, const std::string& statement) = 0;

  virtual Result<std::optional<Incident>> incident(const SessionId& id) = 0;
  virtual Result<std::vector<Incident>> incidents(size_t limit) = 0;  // the newest first
  virtual Result<void> add_incident(const Incident& incident) = 0;
  virtual Result<void> save_incident(const Incident& incident) = 0;  // its end, and its close

  virtual Result<void> add_write_off(const WriteOff& write_off) = 0;

  // Nothing when they are the newest already.
  virtual Result<void> keep_rules(const KeptRules& rules) = 0;
  // The newest with this policy, or with any when it is empty, that was loaded at or before `at`.
  virtual Result<std::optional<KeptRules>> rules_at(WallTime at,
                                                    const std::string& policy_sha256) = 0;

  // Each node's newest report, and what was written off. A report that says what the newest said already is not stored again.
  virtual Result<std::vector<NodeReport>> reports(const SessionId& session) = 0;
  virtual Result<void> add_report(const NodeReport& report) = 0;

  virtual Result<uint64_t> add_event(const SessionId& session, const std::string& body) = 0;
  virtual Result<std::vector<ChainedEvent>> events(const SessionId& session) = 0;

  virtual Result<std::optional<Token>> token(const std::string& token_sha256) = 0;
  virtual Result<void> add_token(const Token& token) = 0;

  // Statements that the signer has still to be told of, oldest first.
  virtual Result<std::vector<Statement>> for_signer() = 0;
  virtual Result<void> queue_for_signer(const std::string& digest) = 0;
  virtual Result<void> told_signer(const std::string& digest, WallTime at,
                                   const std::optional<Error>& refusal) = 0;
};

class Store {
 public:
  using Task = std::function<Result<void>(Tx&)>;
  using Done = std::function<void(Result<void>)>;
  virtual ~Store() = default;  // finishes what is queued

  // Any thread. `task` and then, in order of submission, `done` run on the store's thread.
  virtual void submit(Task task, Done done) = 0;
};

// Waits: for start-up and tests.
Result<void> run(Store& store, Store::Task task);

// Opens or makes the database, migrates it, and shows that it is whole and writable: `corrupt`,
// `io`, `unsupported_version` (made by a newer program).
Result<std::unique_ptr<Store>> open_sqlite(const std::string& path);

}  // namespace jitwg::store
