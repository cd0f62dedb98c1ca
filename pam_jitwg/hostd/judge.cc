#include "pam_jitwg/hostd/judge.h"

#include <algorithm>

#include "broker/base/encoding.h"
#include "broker/base/limits.h"
#include "ssh-ca/format/certificate.h"

namespace jitwg::hostd {
namespace {

Code code_of(CloseReason reason) {
  if (reason == CloseReason::revoked) return Code::revoked;
  if (reason == CloseReason::locked) return Code::locked;
  return Code::session_ended;
}

std::string ask_again(const std::string& target) {
  return "Ask again with: jitwg request " + target;
}

// The session that a certificate of ours names; both places must agree.
Result<SessionId> session_of(const ssh::Certificate& certificate) {
  constexpr std::string_view kKeyId = "jitwg1:", kPrincipal = "jitwg:";
  const bool ours = certificate.principals.size() == 1 &&
                    certificate.principals[0].starts_with(kPrincipal) &&
                    certificate.key_id.starts_with(kKeyId);
  if (!ours || certificate.principals[0].substr(kPrincipal.size()) !=
                   certificate.key_id.substr(kKeyId.size()))
    return fail(Code::bad_certificate, "the certificate is not one of a jitwg session");
  return SessionId::parse(certificate.key_id.substr(kKeyId.size()));
}

bool is_stale(const Replica& replica) {
  return !replica.silence || *replica.silence > replica.fresh_within;
}

Result<void> fresh_enough(const Replica& replica, const std::string& person) {
  if (!is_stale(replica)) return {};
  const bool may_wait = replica.silence && *replica.silence <= replica.lost_contact_after;
  if (may_wait && replica.bound_persons.contains(person)) return {};
  return fail(Code::stale_replica,
              "this host has lost contact with the broker and lets nobody new in",
              "Try again in a minute");
}

Error not_open(const SessionId& session, const Facts& facts) {
  const std::string id = "session " + session.str();
  if (const Closed* closed = facts.grants.closed(session))
    return {code_of(closed->reason), id + ": ended (" + std::string(name(closed->reason)) + ")",
            ask_again(closed->target)};
  if (is_stale(facts.replica))
    return {Code::stale_replica,
            id + " is not known here, and this host has lost contact with the broker",
            "Try again in a minute"};
  return {Code::not_live, id + " is not live on this host", "See: jitwg show " + session.str()};
}

Result<void> check_times(const Grant& grant, const Facts& facts) {
  const std::string id = "session " + grant.session.str();
  if (facts.now >= grant.not_after)
    return fail(Code::session_ended, id + ": ended (expired)", ask_again(grant.target));
  if (facts.now < grant.not_before - limits::kBackdate)
    return fail(Code::clock,
                id + " starts " + render_time(grant.not_before) + ", and this host's clock says " +
                    render_time(facts.now),
                "One of the clocks is wrong");
  return {};
}

Result<void> check_user(const Grant& grant, const std::string& user) {
  if (grant.login == user) return {};
  return fail(Code::wrong_user, "session " + grant.session.str() + " is for the login \"" +
                                    grant.login.value_or("") + "\", not \"" + user + "\"");
}

// What every phase but sudo checks of a grant.
Result<void> check_grant(const Grant& grant, const std::string& user, const Facts& facts) {
  JITWG_TRY(check_times(grant, facts));
  JITWG_TRY(check_user(grant, user));
  // Of anybody else the module would bind no login, and no session's end would end it.
  if (!facts.accounts.is_managed(user))
    return fail(Code::wrong_user,
                "session " + grant.session.str() + " is for the login \"" + user +
                    "\", which is not managed on this host: its end could not be enforced",
                "Its uid belongs into /etc/jitwg/managed");
  return fresh_enough(facts.replica, grant.person);
}

struct Checked {
  const Grant* grant;
  std::string sha256;
};

// Fills judgement.session as soon as our CA's word for it is known, for the record of refusals.
Result<Checked> check_certificate(const Question& question, const Facts& facts,
                                  Judgement& judgement) {
  const auto blob = base64_decode(question.certificate);
  if (!blob) return fail(Code::bad_certificate, "the certificate is not base64");
  JITWG_ASSIGN(const ssh::Certificate certificate, ssh::parse_certificate(*blob));
  if (!facts.ca.contains(certificate.ca))
    return fail(Code::foreign_certificate, "the certificate is another CA's");
  JITWG_ASSIGN(const SessionId session, session_of(certificate));
  judgement.session = session;
  const std::string sha256 = sha256_hex(*blob);
  const Grant* grant = facts.grants.by_certificate(sha256);
  if (grant == nullptr) return tl::unexpected<Error>(not_open(session, facts));
  if (grant->session != session)
    return fail(Code::bad_certificate, "the certificate names another session than its grant");
  JITWG_TRY(check_grant(*grant, question.user, facts));
  return Checked{grant, sha256};
}

Result<const Grant*> judge_principals(const Question& question, const Facts& facts,
                                      Judgement& judgement) {
  if (!facts.asker.parent_is_monitor)
    return fail(Code::not_permitted, "only sshd may ask for principals");
  JITWG_ASSIGN(const Checked checked, check_certificate(question, facts, judgement));
  judgement.remember = Remembered{checked.grant->session, checked.sha256, question.user};
  return checked.grant;
}

Result<const Grant*> judge_account(const Question& question, const Facts& facts,
                                   Judgement& judgement) {
  if (!facts.asker.is_root)
    return fail(Code::not_permitted, "only root's processes may ask about accounts");
  if (!facts.remembered && facts.asker.is_older)
    return fail(Code::not_live, "jitwg-hostd was restarted during this login", "Log in again");
  if (!facts.remembered)
    return fail(Code::not_live, "this login did not use a jitwg certificate",
                "Log in with: jitwg ssh TARGET");
  judgement.session = facts.remembered->session;
  const Grant* grant = facts.grants.by_session(facts.remembered->session);
  if (grant == nullptr) return tl::unexpected<Error>(not_open(facts.remembered->session, facts));
  if (grant->certificate_sha256 != facts.remembered->certificate_sha256 ||
      facts.remembered->user != question.user)
    return fail(Code::wrong_user, "this login's certificate was checked for another user");
  JITWG_TRY(check_grant(*grant, question.user, facts));
  return grant;
}

Result<const Grant*> judge_open(const Question& question, const Facts& facts,
                                Judgement& judgement) {
  if (!facts.asker.is_root)
    return fail(Code::not_permitted, "only root's processes may open sessions");
  JITWG_ASSIGN(const Checked checked, check_certificate(question, facts, judgement));
  const auto client = IpAddress::parse(question.client);
  const auto& inner = checked.grant->address;
  if (!client || std::none_of(inner.begin(), inner.end(),
                              [&](const Prefix& p) { return p.contains(*client); }))
    return fail(
        Code::wrong_address,
        "session " + checked.grant->session.str() + " may not be used from " + question.client,
        "Connect through the session's tunnel: jitwg ssh TARGET");
  // A second opinion that must not differ: the same certificate all through one login.
  if (facts.remembered &&
      *facts.remembered != Remembered{checked.grant->session, checked.sha256, question.user})
    return fail(Code::wrong_user, "this login came with two different certificates");
  return checked.grant;
}

Result<const Grant*> judge_sudo(const Question& question, const Facts& facts,
                                Judgement& judgement) {
  const Asker& asker = facts.asker;
  if (!asker.is_root || !asker.loginuid)
    return fail(Code::not_permitted, "only root's processes may ask for sudo and su");
  if (!asker.session)
    return fail(Code::not_live, question.service + " was not started in the login of a session",
                "Log in with: jitwg ssh TARGET");
  judgement.session = asker.session;
  const Grant* grant = facts.grants.by_session(*asker.session);
  if (grant == nullptr) return tl::unexpected<Error>(not_open(*asker.session, facts));
  JITWG_TRY(check_times(*grant, facts));
  JITWG_TRY(check_user(*grant, *asker.loginuid == pam::kNoLogin
                                   ? question.user
                                   : pam::find_name(facts.accounts.passwd, *asker.loginuid)));
  JITWG_TRY(fresh_enough(facts.replica, grant->person));
  return grant;
}

Result<const Grant*> judge_job(const Question& question, const Facts& facts, Judgement& judgement) {
  if (!facts.asker.is_root)
    return fail(Code::not_permitted, "only root's processes may ask about jobs");
  const Grant* first = nullptr;
  std::optional<Error> why;
  for (const SessionId& session : facts.bound) {
    const Grant* grant = facts.grants.by_session(session);
    const auto live = grant == nullptr ? tl::unexpected<Error>(not_open(session, facts))
                                       : check_grant(*grant, question.user, facts);
    if (!live) {
      why = live.error();
      judgement.session = session;
    } else if (first == nullptr || grant->not_after < first->not_after) {
      first = grant;
    }
  }
  if (first != nullptr) return first;
  if (why) return tl::unexpected<Error>(*why);
  return fail(Code::not_live,
              "jobs of \"" + question.user + "\" run only while a session's login of theirs does",
              "Log in with: jitwg ssh TARGET");
}

}  // namespace

std::string ended_text(const SessionId& session, CloseReason reason, const std::string& target) {
  return "jitwg: session " + session.str() + ": ended (" + std::string(name(reason)) + "). " +
         ask_again(target);
}

Judgement judge(const Question& question, const Facts& facts) {
  Judgement judgement;
  const auto decide = [&]() -> Result<const Grant*> {
    switch (question.phase) {
      case Phase::principals:
        return judge_principals(question, facts, judgement);
      case Phase::account:
        return judge_account(question, facts, judgement);
      case Phase::open:
        return judge_open(question, facts, judgement);
      case Phase::sudo:
        return judge_sudo(question, facts, judgement);
      case Phase::job:
      case Phase::job_open:
        return judge_job(question, facts, judgement);
      case Phase::close:
        break;
    }
    return fail(Code::bug, "the end of a login is not a question");
  };
  const auto decided = decide();
  Answer& answer = judgement.answer;
  if (decided) {
    judgement.grant = *decided;
    judgement.session = (*decided)->session;
    answer = {true, "ok", (*decided)->session.str(),
              (*decided)->not_after.time_since_epoch().count(), ""};
    if (question.phase == Phase::open)
      answer.text = "jitwg: session " + answer.session + ": " +
                    render_duration((*decided)->not_after - facts.now) + " left";
    return judgement;
  }
  const Error& error = decided.error();
  judgement.refusal = error.code;
  judgement.remember.reset();
  answer.code = name(error.code);
  if (judgement.session) answer.session = judgement.session->str();
  std::string text = "jitwg: " + error.message;
  if (!error.hint.empty()) text += ". " + error.hint;
  answer.text = escape_for_terminal(text);
  return judgement;
}

}  // namespace jitwg::hostd
