// What is on record of a session, as files that stock tools check.
#include <cstdio>
#include <filesystem>

#include "broker/base/encoding.h"
#include "broker/base/name.h"
#include "broker/cli/commands.h"
#include "broker/cli/context.h"
#include "broker/cli/login.h"
#include "broker/cli/session_ref.h"
#include "broker/cli/text.h"
#include "broker/os/file.h"
#include "broker/session/grant.h"
#include "policy/policy.h"
#include "policy/statement.h"
#include "ssh-ca/format/certificate.h"

namespace jitwg::cli {
namespace {

// "20260302100000Z", as ssh-keygen's verify-time wants it.
std::string keygen_time(WallTime time) {
  std::string digits;
  for (const char c : render_time(time))
    if (c != '-' && c != ':' && c != 'T') digits += c;
  return digits;
}

class Folder {
 public:
  explicit Folder(std::string path) : path_(std::move(path)) {}

  Result<void> make() const {
    std::error_code error;
    if (std::filesystem::exists(path_, error) && !std::filesystem::is_empty(path_, error))
      return fail(Code::wrong_state, path_ + " is not empty", "name a new directory");
    return make_directory(path_, 0700);
  }
  Result<void> write(const std::string& name, const std::string& bytes) const {
    return write_file(path_ + "/" + name, bytes, 0600);
  }
  Result<void> write(const std::string& name, const ssh::SignedDocument& document) const {
    JITWG_TRY(write(name, document.body));
    return write(name + ".sig", document.signature);
  }

 private:
  const std::string path_;
};

std::string block(const std::string& line) { return "    " + line + "\n"; }

std::string same_digest(const std::string& hex, const std::string& file) {
  return block("echo '" + hex + "  " + file + "' | sha256sum -c -");
}

struct Export {
  const json::object& answer;
  const Folder& folder;
  std::string text;    // VERIFY.md
  std::string request_file = {};

  Result<void> write_people() {
    text += "## Whose key is whose\n\n";
    const auto people = kept("people");
    if (!people) {
      text += "The broker has no `allowed_signers` of that time. Take the one of the signer's host.\n\n";
      return {};
    }
    JsonObject object(*people, "people");
    JITWG_ASSIGN(const std::string bytes, base64_decode(object.string("allowed_signers")));
    text += "`allowed_signers` as the broker had it when the last statement came. Compare it with the one of the signer's host:\n"
            "whoever made this folder could have written another.\n\n";
    return folder.write("allowed_signers", bytes);
  }

  Result<void> write_statements() {
    text += "## What people signed\n\n";
    const json::value* list = answer.if_contains("statements");
    if (list == nullptr || !list->is_array()) return fail(Code::corrupt, "no statements");
    int number = 0;
    for (const json::value& value : list->get_array()) {
      JsonObject object(value, "statement");
      const json::value document_value{{"body", object.string("body")}, {"signature", object.string("signature")}};
      JITWG_ASSIGN(const auto document, parse_document(document_value, "statement"));
      JITWG_ASSIGN(const Statement statement, parse_statement(document.body));
      const StatementHead& head = head_of(statement);
      char prefix[16];
      std::snprintf(prefix, sizeof prefix, "%02d-", ++number);
      const std::string file = prefix + std::string(type_of(statement)) + "-" + head.by + ".json";
      JITWG_TRY(folder.write(file, document));
      text += block("ssh-keygen -Y verify -f allowed_signers -I " + head.by + " -n jitwg -O verify-time=" +
                    keygen_time(head.at) + " -s " + file + ".sig < " + file);
      if (std::holds_alternative<RequestStatement>(statement)) request_file = file;
      if (const auto* decision = std::get_if<DecisionStatement>(&statement); decision && !request_file.empty())
        text += same_digest(decision->request_sha256, request_file);  // about this request, and no other
    }
    text += "\nThe `sha256sum` lines show that a decision is about these very bytes of the request.\n\n";
    return {};
  }

  Result<void> write_grant() {
    text += "## What the signer made of it\n\n";
    const json::value* value = answer.if_contains("grant");
    if (value == nullptr || value->is_null()) {
      text += "Nothing: there is no grant and no certificate.\n\n";
      return {};
    }
    JITWG_ASSIGN(const auto document, parse_document(*value, "grant"));
    JITWG_ASSIGN(const Grant grant, parse_grant(document.body));
    JITWG_TRY(folder.write("grant.json", document));
    const auto policy = kept("policy");
    if (policy) {
      JsonObject object(*policy, "policy");
      std::string ca = "ca namespaces=\"jitwg-grant\" " + object.string("ca_public_key") + "\n";
      if (const auto* also = object.optional_value("ca_also"); also != nullptr && also->is_string())
        ca += "ca namespaces=\"jitwg-grant\" " + std::string(also->get_string()) + "\n";
      JITWG_TRY(folder.write("ca_signers", ca));
      text += "`ca_signers` is the CA key as the broker knew it: compare it with the one that is pinned in your configuration.\n\n";
      text += block("ssh-keygen -Y verify -f ca_signers -I ca -n jitwg-grant -s grant.json.sig < grant.json");
    }
    if (const json::value* line = answer.if_contains("certificate"); line != nullptr && line->is_string()) {
      JITWG_ASSIGN(const std::string blob, ssh::parse_certificate_line(std::string(line->get_string())));
      JITWG_TRY(folder.write("certificate.pub", std::string(line->get_string()) + "\n"));
      text += block("ssh-keygen -L -f certificate.pub");
      text += block("cut -d' ' -f2 certificate.pub | base64 -d | sha256sum | grep " + grant.certificate_sha256.value_or(sha256_hex(blob)));
      text += "\nThe grant names the certificate by that digest.\n";
    }
    text += "\nThere is no seal: this version makes none yet.\n\n";
    return {};
  }

  Result<void> write_policy() {
    text += "## The policy\n\n";
    const auto policy = kept("policy");
    if (!policy) {
      text += "The broker never had the policy that the grant names.\n\n";
      return {};
    }
    JsonObject object(*policy, "policy");
    JITWG_ASSIGN(const std::string bytes, base64_decode(object.string("policy")));
    const std::string digest = object.string("policy_sha256");
    // It stands in VERIFY.md, whose lines people run.
    if (const auto raw = hex_decode(digest); !raw || raw->size() != 32) return fail(Code::corrupt, "the policy's digest is none");
    JITWG_TRY(folder.write("policy.toml", bytes));
    text += "As it stood when the grant was signed (its `policy_sha256`), or else when it was requested.\n\n";
    if (sha256_hex(bytes) == digest) {
      text += same_digest(digest, "policy.toml") + "\n";
      return {};
    }
    return write_lists(object, bytes, digest);
  }

  // With lists of people from files the digest is over file and lists (policy/policy.h, take_lists).
  Result<void> write_lists(JsonObject& answer_of_then, const std::string& toml, const std::string& digest) {
    const json::value* lists = answer_of_then.value("lists");
    const std::string now = answer_of_then.string("now");
    if (lists == nullptr) return fail(Code::corrupt, "the policy's lists are missing");
    JITWG_ASSIGN(Policy policy, parse_policy(toml, "policy.toml"));
    JITWG_ASSIGN(const SyncedFiles files, parse_lists(*lists));
    JITWG_ASSIGN(const WallTime then, parse_time(now));
    take_lists(policy, files, then);
    std::string names = "policy.toml";
    for (const SyncedList& list : policy.lists) {
      if (!is_name(list.name)) return fail(Code::corrupt, "a list with a strange name");
      std::string lines;
      for (const std::string& person : (list.oncall ? policy.oncall : policy.groups)[list.name]) lines += person + "\n";
      JITWG_TRY(folder.write(list.title(), lines));
      names += " " + list.title();
    }
    text += "With the lists of people that it takes from files, as they counted then.\n\n" +
            block("sha256sum " + names + " | sha256sum | grep " + digest) + "\n";
    return {};
  }

  Result<void> write_events() {
    const json::value* list = answer.if_contains("events");
    if (list == nullptr || !list->is_array()) return fail(Code::corrupt, "no events");
    std::string lines;
    for (const json::value& value : list->get_array()) {
      JsonObject object(value, "event");
      lines += object.string("hash") + " " + object.string("body") + "\n";
    }
    JITWG_TRY(folder.write("events.log", lines));
    text += "## What the broker noted\n\nOne event a line in `events.log`, each with the SHA-256 of the hash before it, a blank and the event.\n\n" +
            block("( p=$(printf %064d 0); while read -r h b; do [ \"$(printf '%s %s' \"$p\" \"$b\" | sha256sum | cut -c1-64)\" = \"$h\" ] "
                  "|| { echo \"broken at: $b\" | cat -v; exit 1; }; p=$h; done < events.log; echo whole )");
    return {};
  }

  const json::value* kept(std::string_view key) const {
    const json::value* value = answer.if_contains(key);
    return value != nullptr && value->is_object() ? value : nullptr;
  }
};

}  // namespace

Result<int> run_export(Context& context) {
  const Folder folder(context.arguments()[1]);
  const Api api(context.broker());
  JITWG_ASSIGN(const SessionId id, resolve_anywhere(context, api, context.arguments()[0]));
  JITWG_ASSIGN(const json::value answer, get_as_person(context, api, "/v1/sessions/" + id.str() + "/export"));
  const json::value* object = answer.is_object() ? answer.get_object().if_contains("session") : nullptr;
  if (object == nullptr) return fail(Code::corrupt, "the broker's answer cannot be read");
  JITWG_ASSIGN(const SessionObject session, parse_session_object(*object));
  JITWG_TRY(folder.make());
  JITWG_TRY(folder.write("session.json", render_json(session.all) + "\n"));
  Export writing{answer.get_object(), folder,
                 "# Session " + id.str() + "\n\nExported " + render_time(context.now()) +
                     ". Run the lines in this folder; each says by its exit code whether it holds. Nothing of jitwg is needed.\n\n"};
  for (const auto step : {&Export::write_people, &Export::write_statements, &Export::write_grant,
                          &Export::write_policy, &Export::write_events})
    JITWG_TRY(from_broker((writing.*step)()));
  JITWG_TRY(folder.write("VERIFY.md", writing.text));
  context.print({{"session", id.str()}, {"directory", context.arguments()[1]}},
                "exported; " + escape_for_terminal(context.arguments()[1]) + "/VERIFY.md says how to check it\n");
  return 0;
}

}  // namespace jitwg::cli
