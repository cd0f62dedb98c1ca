#include "broker/store/schema.h"

namespace jitwg::store {
namespace {

// Times are unix seconds. The transitions are those of broker/session/state.cc: a test walks all
// pairs through both.
constexpr const char* kFirst = R"sql(
CREATE TABLE migrations (version INTEGER PRIMARY KEY, applied_at INTEGER NOT NULL) STRICT;

CREATE TABLE statements (
  id INTEGER PRIMARY KEY,
  digest TEXT NOT NULL UNIQUE CHECK (length(digest) = 64),
  type TEXT NOT NULL,
  realm TEXT NOT NULL,
  nonce TEXT NOT NULL,
  person TEXT NOT NULL,
  session TEXT,
  received_at INTEGER NOT NULL,
  body BLOB NOT NULL,
  signature TEXT NOT NULL,
  refusal TEXT,
  UNIQUE (realm, nonce)
) STRICT;

CREATE TABLE transitions (from_state TEXT NOT NULL, to_state TEXT NOT NULL,
                          PRIMARY KEY (from_state, to_state)) STRICT;
INSERT INTO transitions VALUES
  ('pending', 'approved'), ('pending', 'denied'), ('pending', 'cancelled'), ('pending', 'lapsed'),
  ('approved', 'opening'), ('approved', 'cancelled'), ('approved', 'lapsed'),
  ('opening', 'active'), ('opening', 'closing'), ('opening', 'closed'),
  ('active', 'closing'),
  ('closing', 'closed');

CREATE TABLE sessions (
  id TEXT PRIMARY KEY CHECK (length(id) = 36),
  state TEXT NOT NULL CHECK (state IN ('pending', 'approved', 'denied', 'cancelled', 'lapsed',
                                       'opening', 'active', 'closing', 'closed')),
  close_reason TEXT CHECK (close_reason IN ('expired', 'returned', 'revoked', 'locked',
                                            'incident_closed', 'lost_contact', 'failed')),
  person TEXT NOT NULL,
  target TEXT NOT NULL,
  reason TEXT NOT NULL,
  ticket TEXT,
  incident TEXT,
  request TEXT NOT NULL UNIQUE REFERENCES statements (digest),
  wg_public_key TEXT NOT NULL UNIQUE,
  ssh_public_key TEXT NOT NULL UNIQUE,
  token_sha256 TEXT NOT NULL CHECK (length(token_sha256) = 64),
  requested_at INTEGER NOT NULL,
  duration INTEGER NOT NULL CHECK (duration > 0),
  access TEXT NOT NULL,
  lapses_at INTEGER,
  opening_at INTEGER,
  gateway TEXT,
  grant_body BLOB,
  grant_signature TEXT,
  certificate TEXT,
  not_before INTEGER,
  not_after INTEGER,
  refusal TEXT,
  CHECK ((close_reason IS NOT NULL) = (state IN ('closing', 'closed'))),
  CHECK ((grant_body IS NULL) = (grant_signature IS NULL) AND (grant_body IS NULL) = (not_after IS NULL)),
  CHECK (state <> 'active' OR grant_body IS NOT NULL),
  CHECK (state NOT IN ('opening', 'active', 'closing', 'closed') OR opening_at IS NOT NULL)
) STRICT;
CREATE INDEX sessions_state ON sessions (state, not_after);
CREATE INDEX sessions_person ON sessions (person, opening_at);

CREATE TRIGGER sessions_begin BEFORE INSERT ON sessions WHEN new.state <> 'pending'
BEGIN SELECT raise(ABORT, 'a session begins pending'); END;
CREATE TRIGGER sessions_edges BEFORE UPDATE ON sessions
WHEN old.state <> new.state
     AND NOT EXISTS (SELECT 1 FROM transitions WHERE from_state = old.state AND to_state = new.state)
BEGIN SELECT raise(ABORT, 'no such transition'); END;
CREATE TRIGGER sessions_reason_once BEFORE UPDATE ON sessions
WHEN old.close_reason IS NOT NULL AND new.close_reason IS NOT old.close_reason
BEGIN SELECT raise(ABORT, 'the close reason is decided once'); END;
CREATE TRIGGER sessions_grant_once BEFORE UPDATE ON sessions
WHEN old.grant_body IS NOT NULL AND (new.grant_body IS NOT old.grant_body OR new.not_after IS NOT old.not_after)
BEGIN SELECT raise(ABORT, 'a session has one grant'); END;
CREATE TRIGGER sessions_fixed BEFORE UPDATE OF id, person, target, reason, ticket, incident, request,
  wg_public_key, ssh_public_key, token_sha256, requested_at ON sessions
BEGIN SELECT raise(ABORT, 'what was requested never changes'); END;

CREATE TABLE decisions (
  id INTEGER PRIMARY KEY,
  session TEXT NOT NULL REFERENCES sessions (id),
  person TEXT NOT NULL,
  choice TEXT NOT NULL CHECK (choice IN ('approve', 'deny')),
  duration INTEGER,
  comment TEXT,
  at INTEGER NOT NULL,
  statement TEXT NOT NULL UNIQUE REFERENCES statements (digest),
  UNIQUE (session, person)
) STRICT;

CREATE TABLE node_reports (
  id INTEGER PRIMARY KEY,
  session TEXT NOT NULL REFERENCES sessions (id),
  node TEXT NOT NULL,
  state TEXT NOT NULL CHECK (state IN ('open', 'closed', 'refused')),
  at INTEGER NOT NULL,
  refusal TEXT CHECK ((refusal IS NOT NULL) = (state = 'refused')),
  evidence TEXT NOT NULL
) STRICT;
CREATE INDEX node_reports_newest ON node_reports (session, node, id);

CREATE TABLE events (
  session TEXT NOT NULL REFERENCES sessions (id),
  seq INTEGER NOT NULL CHECK (seq > 0),
  body TEXT NOT NULL,
  hash TEXT NOT NULL CHECK (length(hash) = 64),
  PRIMARY KEY (session, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE tokens (
  token_sha256 TEXT PRIMARY KEY CHECK (length(token_sha256) = 64),
  person TEXT NOT NULL,
  until INTEGER NOT NULL,
  statement TEXT NOT NULL REFERENCES statements (digest)
) STRICT;

CREATE TABLE signer_queue (
  id INTEGER PRIMARY KEY,
  statement TEXT NOT NULL UNIQUE REFERENCES statements (digest),
  told_at INTEGER,
  refusal TEXT
) STRICT;
CREATE INDEX signer_queue_open ON signer_queue (id) WHERE told_at IS NULL;
CREATE TRIGGER signer_queue_once BEFORE UPDATE ON signer_queue
WHEN old.told_at IS NOT NULL OR new.statement <> old.statement
BEGIN SELECT raise(ABORT, 'the signer is told once'); END;

CREATE TRIGGER statements_keep BEFORE DELETE ON statements BEGIN SELECT raise(ABORT, 'nothing is deleted'); END;
CREATE TRIGGER sessions_keep BEFORE DELETE ON sessions BEGIN SELECT raise(ABORT, 'nothing is deleted'); END;
CREATE TRIGGER decisions_keep BEFORE DELETE ON decisions BEGIN SELECT raise(ABORT, 'nothing is deleted'); END;
CREATE TRIGGER node_reports_keep BEFORE DELETE ON node_reports BEGIN SELECT raise(ABORT, 'nothing is deleted'); END;
CREATE TRIGGER events_keep BEFORE DELETE ON events BEGIN SELECT raise(ABORT, 'nothing is deleted'); END;
CREATE TRIGGER tokens_keep BEFORE DELETE ON tokens BEGIN SELECT raise(ABORT, 'nothing is deleted'); END;
CREATE TRIGGER signer_queue_keep BEFORE DELETE ON signer_queue BEGIN SELECT raise(ABORT, 'nothing is deleted'); END;
CREATE TRIGGER statements_fixed BEFORE UPDATE ON statements BEGIN SELECT raise(ABORT, 'written once'); END;
CREATE TRIGGER decisions_fixed BEFORE UPDATE ON decisions BEGIN SELECT raise(ABORT, 'written once'); END;
CREATE TRIGGER node_reports_fixed BEFORE UPDATE ON node_reports BEGIN SELECT raise(ABORT, 'written once'); END;
CREATE TRIGGER events_fixed BEFORE UPDATE ON events BEGIN SELECT raise(ABORT, 'written once'); END;
CREATE TRIGGER tokens_fixed BEFORE UPDATE ON tokens BEGIN SELECT raise(ABORT, 'written once'); END;
CREATE TRIGGER transitions_keep BEFORE DELETE ON transitions BEGIN SELECT raise(ABORT, 'fixed'); END;
CREATE TRIGGER transitions_fixed BEFORE UPDATE ON transitions BEGIN SELECT raise(ABORT, 'fixed'); END;
CREATE TRIGGER transitions_closed BEFORE INSERT ON transitions BEGIN SELECT raise(ABORT, 'fixed'); END;
)sql";

// Locks, incidents, what was written off, and policy and people as they stood. `touched` links a
// statement to each session or incident that it was about or ended.
constexpr const char* kSecond = R"sql(
CREATE INDEX statements_person ON statements (person, received_at);
CREATE INDEX statements_session ON statements (session) WHERE session IS NOT NULL;

CREATE TABLE touched (
  subject TEXT NOT NULL CHECK (length(subject) = 36),
  statement TEXT NOT NULL REFERENCES statements (digest),
  PRIMARY KEY (subject, statement)
) STRICT, WITHOUT ROWID;
CREATE INDEX touched_by ON touched (statement);

CREATE TABLE locks (
  id INTEGER PRIMARY KEY,
  kind TEXT NOT NULL CHECK (kind IN ('person', 'target', 'node', 'all')),
  name TEXT NOT NULL CHECK ((kind = 'all') = (name = '')),
  person TEXT NOT NULL,
  reason TEXT NOT NULL,
  at INTEGER NOT NULL,
  statement TEXT NOT NULL UNIQUE REFERENCES statements (digest),
  cleared_by TEXT REFERENCES statements (digest)
) STRICT;
CREATE INDEX locks_held ON locks (kind, name) WHERE cleared_by IS NULL;
CREATE TRIGGER locks_once BEFORE UPDATE OF cleared_by ON locks WHEN old.cleared_by IS NOT NULL
BEGIN SELECT raise(ABORT, 'a lock is cleared once'); END;
CREATE TRIGGER locks_fixed BEFORE UPDATE OF id, kind, name, person, reason, at, statement ON locks
BEGIN SELECT raise(ABORT, 'written once'); END;
CREATE TRIGGER locks_keep BEFORE DELETE ON locks BEGIN SELECT raise(ABORT, 'nothing is deleted'); END;

CREATE TABLE incidents (
  id TEXT PRIMARY KEY CHECK (length(id) = 36),
  opened_by TEXT NOT NULL,
  targets TEXT NOT NULL,
  reason TEXT NOT NULL,
  opened_at INTEGER NOT NULL,
  until INTEGER NOT NULL CHECK (until > opened_at),
  statement TEXT NOT NULL UNIQUE REFERENCES statements (digest),
  closed_at INTEGER,
  closed_by TEXT,
  close_reason TEXT,
  CHECK ((closed_at IS NULL) = (closed_by IS NULL) AND (closed_at IS NULL) = (close_reason IS NULL))
) STRICT;
CREATE TRIGGER incidents_fixed BEFORE UPDATE OF id, opened_by, targets, reason, opened_at, statement ON incidents
BEGIN SELECT raise(ABORT, 'how it was opened never changes'); END;
CREATE TRIGGER incidents_closed BEFORE UPDATE ON incidents WHEN old.closed_at IS NOT NULL
BEGIN SELECT raise(ABORT, 'a closed incident stays as it is'); END;
CREATE TRIGGER incidents_keep BEFORE DELETE ON incidents BEGIN SELECT raise(ABORT, 'nothing is deleted'); END;
CREATE INDEX sessions_incident ON sessions (incident) WHERE incident IS NOT NULL;

CREATE TABLE write_offs (
  session TEXT NOT NULL REFERENCES sessions (id),
  node TEXT NOT NULL,
  person TEXT NOT NULL,
  reason TEXT NOT NULL,
  at INTEGER NOT NULL,
  statement TEXT NOT NULL UNIQUE REFERENCES statements (digest),
  PRIMARY KEY (session, node)
) STRICT, WITHOUT ROWID;

CREATE TABLE rules (
  id INTEGER PRIMARY KEY,
  digest TEXT NOT NULL CHECK (length(digest) = 64),
  policy_sha256 TEXT NOT NULL,
  loaded_at INTEGER NOT NULL,
  answer TEXT NOT NULL
) STRICT;
CREATE INDEX rules_policy ON rules (policy_sha256);

CREATE TRIGGER touched_keep BEFORE DELETE ON touched BEGIN SELECT raise(ABORT, 'nothing is deleted'); END;
CREATE TRIGGER touched_fixed BEFORE UPDATE ON touched BEGIN SELECT raise(ABORT, 'written once'); END;
CREATE TRIGGER write_offs_keep BEFORE DELETE ON write_offs BEGIN SELECT raise(ABORT, 'nothing is deleted'); END;
CREATE TRIGGER write_offs_fixed BEFORE UPDATE ON write_offs BEGIN SELECT raise(ABORT, 'written once'); END;
CREATE TRIGGER rules_keep BEFORE DELETE ON rules BEGIN SELECT raise(ABORT, 'nothing is deleted'); END;
CREATE TRIGGER rules_fixed BEFORE UPDATE ON rules BEGIN SELECT raise(ABORT, 'written once'); END;
)sql";

}  // namespace

const std::array<const char*, 2> kMigrations = {kFirst, kSecond};

}  // namespace jitwg::store
