#include "policy/statement.h"

#include <algorithm>
#include <array>
#include <functional>

#include "broker/base/encoding.h"
#include "broker/base/limits.h"
#include "broker/base/name.h"

namespace jitwg {
namespace {

const SessionId kNoSession = *SessionId::parse("00000000-0000-7000-8000-000000000000");

bool is_hex(std::string_view text, size_t digits) {
  return text.size() == digits && hex_decode(text).has_value();
}

// One line of text for people: no control characters, so that what is shown is what was meant.
Result<std::string> take_text(std::string_view key, std::string text, bool may_be_empty) {
  size_t characters = 0;
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
      return fail(Code::bad_value, "\"" + std::string(key) + "\" holds a control character", "write one line of text");
    if ((static_cast<unsigned char>(c) & 0xc0) != 0x80) ++characters;
  }
  if (text.find_first_not_of(' ') == std::string::npos && !may_be_empty)
    return fail(Code::bad_value, "\"" + std::string(key) + "\" is empty", "say why in a few words");
  if (characters > limits::kReasonCharacters)
    return fail(Code::bad_value, "\"" + std::string(key) + "\" has " + std::to_string(characters) + " characters",
                "at most " + std::to_string(limits::kReasonCharacters));
  return text;
}

std::string read_text(JsonObject& reader, std::string_view key) {
  return reader.take(take_text(key, reader.string(key), !reader.ok()), {});
}

std::optional<std::string> read_optional_text(JsonObject& reader, std::string_view key) {
  auto text = reader.optional_string(key);
  if (!text) return std::nullopt;
  return reader.take(take_text(key, std::move(*text), true), {});
}

SessionId read_id(JsonObject& reader, std::string_view key) {
  return reader.take(SessionId::parse(reader.string(key)), kNoSession);
}

SessionId read_session(JsonObject& reader) { return read_id(reader, "session"); }

std::string read_name(JsonObject& reader, std::string_view key) {
  std::string text = reader.string(key);
  if (reader.ok() && !is_name(text))
    reader.problem({Code::bad_value, "\"" + std::string(key) + "\" is no plain name", "letters, digits and ._@-"});
  return text;
}

WallTime read_time(JsonObject& reader, std::string_view key) { return reader.take(parse_time(reader.string(key)), {}); }

constexpr std::array<std::string_view, 6> kSubjects = {"session", "person", "target", "node", "incident", "all"};

// Exactly one of the kinds in `allowed`.
Subject read_subject(JsonObject& reader, std::initializer_list<Subject::Kind> allowed) {
  std::optional<Subject> found;
  for (const Subject::Kind kind : allowed) {
    const std::string_view key = kSubjects[static_cast<size_t>(kind)];
    if (!reader.optional_value(key)) continue;
    if (found) reader.problem({Code::bad_value, "a " + std::string(key) + " besides a " + found->str(), "one subject a statement"});
    found = Subject{kind, {}};
    if (kind == Subject::Kind::all) reader.flag(key);
    else if (kind == Subject::Kind::session || kind == Subject::Kind::incident) found->name = read_id(reader, key).str();
    else found->name = read_name(reader, key);
  }
  if (!found) reader.problem({Code::bad_value, "it does not say what it is about", "a person, a target, a node, or all"});
  return found.value_or(Subject{});
}

Result<Seconds> seconds(std::string_view key, int64_t value) {
  constexpr int64_t kMost = 10LL * 366 * 86400;
  if (value < 1 || value > kMost) return fail(Code::bad_value, "\"" + std::string(key) + "\" is no duration in seconds");
  return Seconds{value};
}

std::string read_hex(JsonObject& reader, std::string_view key, size_t digits) {
  std::string text = reader.string(key);
  if (reader.ok() && !is_hex(text, digits))
    reader.problem({Code::bad_value, "\"" + std::string(key) + "\" must be " + std::to_string(digits) + " hex digits", {}});
  return text;
}

std::string read_wireguard_key(JsonObject& reader) {
  std::string text = reader.string("wg_public_key");
  const auto key = base64_decode(text);
  if (reader.ok() && (!key || ssh::is_weak_x25519(*key)))
    reader.problem({Code::bad_key, "\"wg_public_key\" is no WireGuard public key", "wg genkey | wg pubkey makes one"});
  return text;
}

ssh::PublicKey read_ssh_key(JsonObject& reader) {
  static const ssh::PublicKey nobody = ssh::PublicKey::from_ed25519(std::string(32, '\0'));
  const std::string text = reader.string("ssh_public_key");
  auto key = ssh::PublicKey::parse(text);
  if (key && key->str() != text)
    reader.problem({Code::bad_key, "\"ssh_public_key\" carries a comment", "type and key only"});
  return reader.take(std::move(key), nobody);
}

StatementHead read_head(JsonObject& reader) {
  StatementHead head{.realm = reader.string("realm"), .by = reader.string("by")};
  head.at = reader.take(parse_time(reader.string("at")), {});
  head.nonce = read_hex(reader, "nonce", 32);
  if (reader.ok() && !is_name(head.by)) reader.problem({Code::bad_value, "\"by\" is no person's name", {}});
  return head;
}

// Braced initialisers run left to right, but the reader reports the first problem whatever the order.
Result<Statement> read_request(JsonObject& r, StatementHead head) {
  RequestStatement s{std::move(head), read_session(r), r.string("target"), read_text(r, "reason"),
                     r.take(seconds("duration", r.integer("duration")), Seconds{}), read_wireguard_key(r),
                     read_ssh_key(r), read_hex(r, "token_sha256", 64), read_optional_text(r, "ticket"),
                     {}};
  if (const auto incident = r.optional_string("incident")) s.incident = r.take(SessionId::parse(*incident), kNoSession);
  JITWG_TRY(r.finish());
  if (!is_name(s.target)) return fail(Code::bad_value, "\"target\" is no target's name");
  if (s.duration < limits::kMinDuration)
    return fail(Code::bad_value, "a duration of " + render_duration(s.duration), "at least 10s");
  return s;
}

Result<Statement> read_decision(JsonObject& r, StatementHead head) {
  const SessionId session = read_session(r);
  const std::string digest = read_hex(r, "request_sha256", 64), choice = r.string("decision");
  if (r.ok() && choice != "approve" && choice != "deny")
    r.problem({Code::bad_value, "\"decision\" is approve or deny", {}});
  DecisionStatement s{std::move(head), session, digest, choice == "approve" ? Choice::approve : Choice::deny,
                      {}, {}, read_optional_text(r, "comment")};
  if (const json::value* access = r.value("access")) s.access = r.take(parse_access(*access), {});
  if (const auto value = r.optional_integer("duration"))
    s.duration = r.take(seconds("duration", *value), Seconds{});
  JITWG_TRY(r.finish());
  return s;
}

Result<Statement> read_revoke(JsonObject& r, StatementHead head) {
  using enum Subject::Kind;
  RevokeStatement s{std::move(head), read_subject(r, {session, person, target, node, incident, all}), read_text(r, "reason")};
  JITWG_TRY(r.finish());
  return s;
}

template <typename Locking>
Result<Statement> read_lock(JsonObject& r, StatementHead head) {
  using enum Subject::Kind;
  Locking s{std::move(head), read_subject(r, {person, target, node, all}), read_text(r, "reason")};
  JITWG_TRY(r.finish());
  return s;
}

Result<Statement> read_incident_open(JsonObject& r, StatementHead head) {
  IncidentOpenStatement s{std::move(head), read_id(r, "incident"), r.strings("targets"), read_text(r, "reason"), read_time(r, "until")};
  JITWG_TRY(r.finish());
  if (s.targets.empty() || s.targets.size() > limits::kIncidentTargets)
    return fail(Code::bad_value, std::to_string(s.targets.size()) + " targets", "name 1 to " + std::to_string(limits::kIncidentTargets));
  for (const std::string& target : s.targets)
    if (!is_name(target.starts_with("label:") ? std::string_view(target).substr(6) : target))
      return fail(Code::bad_value, "\"targets\" holds \"" + escape_for_terminal(target.substr(0, 80)) + "\"", "a target's name, or label:NAME");
  if (std::adjacent_find(s.targets.begin(), s.targets.end(), std::greater_equal<>()) != s.targets.end())
    return fail(Code::bad_value, "\"targets\" are not sorted, or one is there twice");
  if (s.until <= s.head.at) return fail(Code::bad_value, "it ends before it begins", "\"until\" is after \"at\"");
  return s;
}

Result<Statement> read_incident_extend(JsonObject& r, StatementHead head) {
  IncidentExtendStatement s{std::move(head), read_id(r, "incident"), read_time(r, "until"), read_text(r, "reason")};
  JITWG_TRY(r.finish());
  if (s.until <= s.head.at) return fail(Code::bad_value, "its end is past already", "\"until\" is after \"at\"");
  return s;
}

Result<Statement> read_incident_close(JsonObject& r, StatementHead head) {
  IncidentCloseStatement s{std::move(head), read_id(r, "incident"), read_text(r, "reason")};
  JITWG_TRY(r.finish());
  return s;
}

Result<Statement> read_incident_review(JsonObject& r, StatementHead head) {
  IncidentReviewStatement s{std::move(head), read_id(r, "incident"), read_text(r, "comment")};
  JITWG_TRY(r.finish());
  return s;
}

Result<Statement> read_break_glass(JsonObject& r, StatementHead head) {
  BreakGlassStatement s{std::move(head), read_session(r), read_hex(r, "request_sha256", 64), {}, {}};
  if (const json::value* access = r.value("access")) s.access = r.take(parse_access(*access), {});
  s.reason = read_text(r, "reason");
  JITWG_TRY(r.finish());
  return s;
}

Result<Statement> read_write_off(JsonObject& r, StatementHead head) {
  WriteOffStatement s{std::move(head), read_session(r), read_name(r, "node"), read_text(r, "reason")};
  JITWG_TRY(r.finish());
  return s;
}

Result<Statement> read_login(JsonObject& r, StatementHead head) {
  LoginStatement s{std::move(head), read_hex(r, "token_sha256", 64),
                   r.take(seconds("read_for", r.integer("read_for")), Seconds{})};
  JITWG_TRY(r.finish());
  return s;
}

json::array array_of(const std::vector<std::string>& texts) { return json::array(texts.begin(), texts.end()); }

void write(json::object& o, const RequestStatement& s) {
  o["session"] = s.session.str();
  o["target"] = s.target;
  o["reason"] = s.reason;
  o["duration"] = s.duration.count();
  o["wg_public_key"] = s.wg_public_key;
  o["ssh_public_key"] = s.ssh_public_key.str();
  o["token_sha256"] = s.token_sha256;
  if (s.ticket) o["ticket"] = *s.ticket;
  if (s.incident) o["incident"] = s.incident->str();
}

void write(json::object& o, const DecisionStatement& s) {
  o["session"] = s.session.str();
  o["request_sha256"] = s.request_sha256;
  o["decision"] = s.choice == Choice::approve ? "approve" : "deny";
  o["access"] = render_access(s.access);
  if (s.duration) o["duration"] = s.duration->count();
  if (s.comment) o["comment"] = *s.comment;
}

void write(json::object& o, const Subject& what, const std::string& reason) {
  const std::string_view key = kSubjects[static_cast<size_t>(what.kind)];
  if (what.kind == Subject::Kind::all) o[key] = true;
  else o[key] = what.name;
  o["reason"] = reason;
}

void write(json::object& o, const RevokeStatement& s) { write(o, s.what, s.reason); }
void write(json::object& o, const LockStatement& s) { write(o, s.what, s.reason); }
void write(json::object& o, const UnlockStatement& s) { write(o, s.what, s.reason); }

void write(json::object& o, const IncidentOpenStatement& s) {
  o["incident"] = s.incident.str();
  o["targets"] = array_of(s.targets);
  o["reason"] = s.reason;
  o["until"] = render_time(s.until);
}

void write(json::object& o, const IncidentExtendStatement& s) {
  o["incident"] = s.incident.str();
  o["until"] = render_time(s.until);
  o["reason"] = s.reason;
}

void write(json::object& o, const IncidentCloseStatement& s) {
  o["incident"] = s.incident.str();
  o["reason"] = s.reason;
}

void write(json::object& o, const IncidentReviewStatement& s) {
  o["incident"] = s.incident.str();
  o["comment"] = s.comment;
}

void write(json::object& o, const BreakGlassStatement& s) {
  o["session"] = s.session.str();
  o["request_sha256"] = s.request_sha256;
  o["access"] = render_access(s.access);
  o["reason"] = s.reason;
}

void write(json::object& o, const WriteOffStatement& s) {
  o["session"] = s.session.str();
  o["node"] = s.node;
  o["reason"] = s.reason;
}

void write(json::object& o, const LoginStatement& s) {
  o["token_sha256"] = s.token_sha256;
  o["read_for"] = s.read_for.count();
}

// In the order of Statement's alternatives.
struct Reader {
  std::string_view type;
  Result<Statement> (*read)(JsonObject&, StatementHead);
};
constexpr std::array<Reader, std::variant_size_v<Statement>> kReaders = {{
    {"request", read_request},
    {"decision", read_decision},
    {"revoke", read_revoke},
    {"lock", read_lock<LockStatement>},
    {"unlock", read_lock<UnlockStatement>},
    {"incident_open", read_incident_open},
    {"incident_extend", read_incident_extend},
    {"incident_close", read_incident_close},
    {"incident_review", read_incident_review},
    {"break_glass", read_break_glass},
    {"write_off", read_write_off},
    {"login", read_login},
}};

}  // namespace

json::value render_access(const Access& access) {
  json::object o{{"scope", array_of(render_scope(access.scope))},
                 {"gateways", array_of(access.gateways)},
                 {"jump_hosts", array_of(access.jump_hosts)}};
  if (access.login) o["login"] = *access.login;
  if (!access.names.empty()) o["names"] = render_host_names(access.names);
  if (access.nat) o["nat"] = true;
  return o;
}

Result<Access> parse_access(const json::value& value) {
  JsonObject r(value, "access");
  Access access;
  access.scope = r.take(parse_scope(r.strings("scope")), {});
  access.login = r.optional_string("login");
  access.gateways = r.strings("gateways");
  access.jump_hosts = r.strings("jump_hosts");
  if (const json::value* names = r.optional_value("names")) access.names = r.take(parse_host_names(*names), {});
  access.nat = r.flag("nat");
  JITWG_TRY(r.finish());
  return access;
}

const StatementHead& head_of(const Statement& statement) {
  return std::visit([](const auto& s) -> const StatementHead& { return s.head; }, statement);
}

std::string_view type_of(const Statement& statement) { return kReaders[statement.index()].type; }

std::optional<SessionId> session_of(const Statement& statement) {
  return std::visit(
      [](const auto& s) -> std::optional<SessionId> {
        if constexpr (requires { s.session; }) return s.session;
        if constexpr (requires { s.what; })
          if (s.what.kind == Subject::Kind::session) return *SessionId::parse(s.what.name);
        return std::nullopt;
      },
      statement);
}

std::string Subject::str() const {
  const std::string word(kSubjects[static_cast<size_t>(kind)]);
  return kind == Kind::all ? word : word + " " + name;
}

Result<Statement> parse_statement(std::string_view body) {
  JITWG_ASSIGN(const json::value value, parse_json(body, limits::kStatementBytes));
  JsonObject reader(value, "statement");
  const std::string type = reader.string("type");
  const int64_t version = reader.integer("v");
  if (reader.ok() && version != 1)
    return fail(Code::unsupported_version, "a statement of version " + std::to_string(version), "this program reads 1");
  StatementHead head = read_head(reader);
  for (const Reader& one : kReaders)
    if (one.type == type) return one.read(reader, std::move(head));
  if (!reader.ok()) JITWG_TRY(reader.finish());
  return fail(Code::unknown_type, "a statement of type \"" + escape_for_terminal(type) + "\"");
}

std::string render_statement(const Statement& statement) {
  const StatementHead& head = head_of(statement);
  json::object o{{"type", type_of(statement)}, {"v", 1},         {"realm", head.realm},
                 {"by", head.by},              {"at", render_time(head.at)}, {"nonce", head.nonce}};
  std::visit([&](const auto& s) { write(o, s); }, statement);
  return render_json(o);
}

}  // namespace jitwg
