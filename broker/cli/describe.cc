#include "broker/cli/describe.h"

#include "broker/base/encoding.h"
#include "broker/base/table.h"
#include "broker/cli/context.h"
#include "broker/cli/login.h"
#include "broker/cli/policy_source.h"
#include "broker/cli/text.h"
#include "broker/cli/wg_quick.h"
#include "policy/decide.h"

namespace jitwg::cli {
namespace {

// Who approved, or who denied.
std::string deciders(const SessionObject& session) {
  std::vector<std::string> people;
  for (const Approval& one : session.approvals)
    if (one.approved == (session.state != State::denied)) people.push_back(one.person);
  return people.empty() ? "policy" : join(people, ", ");
}

std::string state_words(const SessionObject& session, WallTime now) {
  std::string text(name(session.state));
  if (session.state == State::approved || session.state == State::denied)
    text += " by " + deciders(session);
  if (session.state == State::pending && !session.approvals.empty())
    text += ", approved so far by " + deciders(session);
  if (session.state == State::lapsed)
    text += deciders(session) == "policy" ? ": nobody decided in time, or it was not activated in time"
                                          : ": not activated in time";
  if (session.close_reason) text += " (" + std::string(name(*session.close_reason)) + ")";
  if (session.state == State::active && session.not_after)
    text += ", " + time_left(*session.not_after, now);
  if (session.state == State::closing) text += ", until every node has shown its evidence";
  return text;
}

// The broker's word for what a node showed: what is not as expected stands as it came.
std::string evidence_words(const json::value& proof) {
  if (proof.is_null()) return "not yet";
  const auto text = [&](const char* key) {
    const auto* value = proof.is_object() ? proof.get_object().if_contains(key) : nullptr;
    return value && value->is_string() ? std::string(value->get_string()) : std::string();
  };
  const auto time = [&](const char* key) {
    const auto parsed = parse_time(text(key));
    return parsed ? local_time(*parsed) : std::string();
  };
  if (text("result") == "written_off" && !text("by").empty())
    return "written off " + time("at") + " by " + text("by") + ": " + text("reason");
  if (text("result") != "verified" || time("at").empty()) return render_json(proof);
  std::string words = "nothing is left, verified " + time("at");
  const json::value* const rx = proof.get_object().if_contains("rx");
  const json::value* const tx = proof.get_object().if_contains("tx");
  if (!rx || !tx) return words;  // a jump host's, or a gateway's of an earlier version
  if (!rx->is_int64() || !tx->is_int64()) return words + "; how it was used is not known";
  words += time("last_handshake").empty() ? "; no handshake ever" : "; last handshake " + time("last_handshake");
  return words + ", " + render_bytes(static_cast<uint64_t>(rx->get_int64())) + " from the person, " +
         render_bytes(static_cast<uint64_t>(tx->get_int64())) + " to them";
}

}  // namespace

std::string render_fields(const std::vector<std::pair<std::string, std::string>>& fields) {
  size_t width = 0;
  for (const auto& [label, value] : fields)
    if (!value.empty()) width = std::max(width, label.size());
  std::string text;
  for (const auto& [label, value] : fields)
    if (!value.empty())
      text +=
          label + std::string(width - label.size() + 2, ' ') + escape_for_terminal(value) + "\n";
  return text;
}

std::string describe_names(const HostNames& names) {
  std::vector<std::string> words;
  for (const auto& [name, address] : names) words.push_back(name + " = " + address.str());
  return join(words, "; ");
}

std::string describe_session(const SessionObject& s, WallTime now) {
  std::vector<std::pair<std::string, std::string>> fields = {
      {"session", s.session.str()},
      {"state", state_words(s, now)},
      {"person", s.person},
      {"target", s.target},
      {"reason", s.reason},
      {"ticket", s.ticket.value_or("")},
      {"incident", s.incident.value_or("")},
      {"duration", render_duration(s.duration)},
      {"requested", local_time(s.requested_at) + ", " + time_since(s.requested_at, now)},
  };
  for (const Approval& a : s.approvals)
    fields.emplace_back(a.approved ? "approved" : "denied",
                        a.person + ", " + local_time(a.at) + (a.comment ? ": " + *a.comment : ""));
  if (s.not_before) fields.emplace_back("from", local_time(*s.not_before));
  if (s.not_after) fields.emplace_back("until", local_time(*s.not_after));
  fields.emplace_back("address", join(s.address, ", "));
  fields.emplace_back("scope", join(s.scope, "; "));
  fields.emplace_back("names", describe_names(s.names));
  fields.emplace_back("login", s.login.value_or(""));
  fields.emplace_back("gateway", s.gateway.value_or(""));
  fields.emplace_back("jump hosts", join(s.jump_hosts, ", "));
  if (const json::value& evidence = s.all.at("evidence"); evidence.is_object())
    for (const auto& [node, proof] : evidence.get_object())
      fields.emplace_back("evidence", std::string(node) + ": " + evidence_words(proof));
  return render_fields(fields);
}

std::string describe_list(const std::vector<SessionObject>& sessions, WallTime now) {
  if (sessions.empty()) return "nothing\n";
  std::vector<std::vector<std::string>> rows = {
      {"ID", "STATE", "PERSON", "TARGET", "FOR", "REQUESTED", "REASON"}};
  for (const SessionObject& s : sessions)
    rows.push_back({s.session.short_form(), state_words(s, now), s.person, s.target,
                    render_duration(s.duration), local_time(s.requested_at),
                    shorten(s.reason, 40)});
  const std::string table = render_table(rows);
  const size_t heading = table.find('\n');
  return bold(table.substr(0, heading)) + table.substr(heading);
}

std::string describe_opened(const Grant& grant, WallTime now, bool detached) {
  const std::string id = grant.session.str(), end = grant.session.short_form();
  std::string text =
      fill("{} is open until {} ({})\n",
           {bold(grant.target), local_time(grant.not_after), time_left(grant.not_after, now)});
  std::vector<std::pair<std::string, std::string>> fields = {
      {"session", id},
      {"interface", interface_name(grant.session)},
      {"reaches", join(render_scope(grant.scope), "; ")},
      {"names", describe_names(grant.names)}};
  if (grant.login)
    fields.emplace_back("log in", "jitwg ssh " + end + "   or   ssh jitwg-" + grant.target);
  fields.emplace_back("when done", detached ? "jitwg return " + end : "Ctrl-C gives it back");
  return text + render_fields(fields);
}

std::string describe_files(const SessionFiles& files, const Grant& grant) {
  std::vector<std::pair<std::string, std::string>> fields = {{"session", grant.session.str()},
                                                             {"until", local_time(grant.not_after)},
                                                             {"wg-quick", files.wg_quick_path()}};
  if (grant.login) {
    fields.emplace_back("key", files.path("id"));
    fields.emplace_back("certificate", files.path("id-cert.pub"));
    fields.emplace_back("known hosts", files.path("known_hosts"));
  }
  return render_fields(fields);
}

std::string who_may_approve(const Context& context, const SessionObject& session) {
  const auto token = kept_login(context);
  if (!token) return "";
  const auto policy = read_policy(Api(context.broker()), *token);
  if (!policy) return "";
  const Verdict verdict = decide(*policy, {session.person, session.target, session.duration,
                                           session.requested_at, session.incident.has_value()});
  if (verdict.outcome != Verdict::Outcome::approval || verdict.approvers.empty()) return "";
  return " (" + join({verdict.approvers.begin(), verdict.approvers.end()}, ", ") + " may approve)";
}

}  // namespace jitwg::cli
