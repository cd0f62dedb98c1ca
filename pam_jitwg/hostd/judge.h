// May this login be? The whole of hostd's judgement, pure: the question, what the kernel says of
// the asker, the grants, what was remembered and the time in; the answer out. main and server only
// fetch and carry.
//
// principals, account and open each compare user, liveness and times anew, since a session may end
// in between. Only open is authoritative: it has the certificate from sshd itself (SSH_AUTH_INFO_0)
// and the client's address, so it stands on its own when hostd was started anew in between.
//
// sudo needs the live session that the asker itself runs in, of the login that its loginuid names.
// job and job_open take, of the sessions in which that user is logged in here, the live one that
// ends first.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "pam_jitwg/hostd/grants.h"
#include "pam_jitwg/hostd/wire.h"
#include "pam_jitwg/managed.h"
#include "ssh-ca/format/ca_keys.h"

namespace jitwg::hostd {

// The kernel's word on who asks, never the packet's.
struct Asker {
  bool is_root = false;              // the asking process' uid
  bool parent_is_monitor = false;    // its parent is a root-owned sshd process
  bool is_older = false;             // than this hostd: what was remembered of it is gone
  std::optional<uid_t> loginuid;     // pam::kNoLogin: none; no value: could not be read; sudo
  std::optional<SessionId> session;  // whose cgroup or login scope it is in; sudo
};

// What the principals command's question left behind for a monitor.
struct Remembered {
  SessionId session;
  std::string certificate_sha256;
  std::string user;
  bool operator==(const Remembered&) const = default;
};

// How old this host's knowledge is (DESIGN §8).
struct Replica {
  std::optional<Seconds> silence;  // since the broker was last heard; unset: never
  Seconds fresh_within{120};
  Seconds lost_contact_after{600};
  std::set<std::string> bound_persons;  // who have a login here already
};

struct Facts {
  const Grants& grants;
  const pam::Accounts& accounts;
  const ssh::CaKeys& ca;
  Asker asker;
  std::optional<Remembered> remembered;
  const Replica& replica;
  WallTime now;
  std::vector<SessionId> bound;  // sessions in which the question's user is logged in here; job
};

struct Judgement {
  Answer answer;
  std::optional<Code> refusal;   // unset: allowed
  const Grant* grant = nullptr;  // set when allowed; lives as long as facts.grants is not set anew
  std::optional<SessionId> session;    // also in refusals, when our CA's certificate names one
  std::optional<Remembered> remember;  // principals, allowed
};

// `close` is not judged here: a login that is over is over.
Judgement judge(const Question& question, const Facts& facts);

// What a person reads when their session is over: "jitwg: session ID: ended (revoked). Ask again
// with: …".
std::string ended_text(const SessionId& session, CloseReason reason, const std::string& target);

}  // namespace jitwg::hostd
