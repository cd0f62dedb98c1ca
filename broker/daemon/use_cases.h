// What the broker does, each as one task: checks and writes in one transaction, no I/O, no clock
// but Change::now. An error leaves nothing behind. Every change of state goes through here.
#pragma once

#include <set>
#include <string>

#include "broker/daemon/change.h"
#include "broker/daemon/rules.h"
#include "broker/session/grant.h"

namespace jitwg::broker {

// A signed statement, verified by verify_statement(). The same bytes again: the same answer, no new
// effect.
struct Accepted {
  std::optional<store::Session> session;  // request, decision, revoke of one session, write_off
  std::optional<SessionId> incident;      // incident_…
  std::optional<Subject> subject;         // revoke, lock, unlock
  std::vector<SessionId> ended;           // what a revoke, lock or incident_close ended or cancelled
  std::optional<WallTime> read_until;     // login
  // A well-signed request that policy denies: stored, visible as `denied`, and yet the answer is
  // this.
  std::optional<Error> refusal;
};
// replay, stale, locked, too_many_requests, and those of the one it is. unknown_type: break_glass is
// for the signer's own host.
Result<Accepted> accept_statement(Change& change, const Rules& rules,
                                  const VerifiedStatement& statement);
// Its parts, behind accept_statement's common checks.
Result<Accepted> submit_request(Change& change, const Rules& rules,
                                const VerifiedStatement& statement);
Result<Accepted> decide_request(Change& change, const Rules& rules,
                                const VerifiedStatement& statement);
Result<Accepted> revoke(Change& change, const Rules& rules, const VerifiedStatement& statement);
Result<Accepted> lock(Change& change, const Rules& rules, const VerifiedStatement& statement);
Result<Accepted> unlock(Change& change, const Rules& rules, const VerifiedStatement& statement);
Result<Accepted> open_incident(Change& change, const Rules& rules,
                               const VerifiedStatement& statement);
Result<Accepted> extend_incident(Change& change, const Rules& rules,
                                 const VerifiedStatement& statement);
Result<Accepted> close_incident(Change& change, const Rules& rules,
                                const VerifiedStatement& statement);
Result<Accepted> review_incident(Change& change, const Rules& rules,
                                 const VerifiedStatement& statement);
Result<Accepted> write_off(Change& change, const Rules& rules, const VerifiedStatement& statement);
// Open still, and about this target: no_incident.
Result<store::Incident> find_open_incident(Change& change, const Rules& rules, const SessionId& id,
                                           const std::string& target);
Result<void> keep_statement(Change& change, const VerifiedStatement& statement,
                            const std::optional<SessionId>& session,
                            const std::optional<Error>& refusal = {});

// Commits `opening` through this gateway, before the signer is asked: too_many_activations, or why
// it cannot open (check_may_open).
Result<store::Session> begin_opening(Change& change, const Rules& rules, const SessionId& id,
                                     const std::string& gateway);
// still_pending, decision_denied, session_ended; fine when approved.
Result<void> check_may_open(const store::Session& session, WallTime now);
// The signer's answer, checked against what was asked: a grant of this CA, realm, session, person,
// key and gateway, and the certificate it names. Errors: foreign_grant, wrong_realm,
// bad_certificate, …
struct Issued {
  Grant grant;
  ssh::SignedDocument document;
  std::optional<std::string> certificate;
};
Result<Issued> check_issued(const Rules& rules, const store::Session& session,
                            const json::value& answer);
// Kept also when the session has left `opening` meanwhile; its nodes then hear `closed`.
Result<void> keep_issued(Change& change, const SessionId& id, const Issued& issued);
// The signer said no: nothing was made, so nothing has to be taken back.
Result<void> refuse_opening(Change& change, const SessionId& id, const Error& refusal);
// Silence, or a node missing: whatever there may be is taken back. Nothing when no longer opening.
Result<void> fail_opening(Change& change, const SessionId& id, const Error& refusal);

// A node's word about one session: wrong_node. Opens when gateway and jump host have confirmed,
// closes when every enforcement point has shown that nothing is left.
Result<void> take_report(Change& change, const store::NodeReport& report);
// The nodes still to confirm before an opening session is active: its gateway, and a jump host if
// it has any.
std::set<std::string> unconfirmed(const store::Session& session,
                                  const std::vector<store::NodeReport>& reports);
// The nodes that have to show evidence; and those of them that have not.
std::set<std::string> enforcement_points(const store::Session& session);
std::set<std::string> unproven(const store::Session& session,
                               const std::vector<store::NodeReport>& reports);

// From closing to closed, once every enforcement point has shown evidence or was written off.
Result<void> close_when_proven(Change& change, store::Session& session);

// Given back: ends it, or cancels the request. Nothing when it is over already.
Result<store::Session> return_session(Change& change, const SessionId& id);
// Lapses and expires what is due.
Result<void> end_due(Change& change);
// People who are gone, and sessions that no rule allows any more.
Result<void> end_disallowed(Change& change, const Rules& rules);
// Before activation: cancelled. Live: closing for this reason. Else nothing.
Result<void> end_session(Change& change, store::Session& session, CloseReason reason,
                         const std::string& by, const std::string& text);

}  // namespace jitwg::broker
