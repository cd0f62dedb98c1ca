#include "ssh-ca/admin/edit_people.h"

#include <algorithm>

#include "broker/base/name.h"

namespace jitwg::signer {
namespace {

// As allowed_signers writes a time: 20261122133000Z.
std::string render_signer_time(WallTime time) {
  std::string digits;
  for (const char c : render_time(time))
    if (c >= '0' && c <= '9') digits += c;
  return digits + "Z";
}

// `line` of a file that parsed: its key ends at `end`, whatever end it had before.
std::string with_end(std::string_view line, WallTime end) {
  constexpr std::string_view kOption = "valid-before=\"";
  const size_t first = line.find(' '), key_at = line.find(" ssh-", first);
  std::string options(line.substr(first + 1, key_at - first - 1));
  // Never the only one (namespaces is mandatory), so a comma goes with it.
  if (const size_t at = options.find(kOption); at != std::string::npos) {
    const size_t past = options.find('"', at + kOption.size()) + 1;
    options.erase(at > 0 ? at - 1 : 0, past - at + 1);
  }
  return std::string(line.substr(0, first + 1)) + options + "," + std::string(kOption) + render_signer_time(end) +
         "\"" + std::string(line.substr(key_at));
}

}  // namespace

Result<EditedPeople> add_key(std::string_view text, std::string_view person, const ssh::PublicKey& key,
                             std::string_view comment) {
  JITWG_ASSIGN(const ssh::AllowedSigners people, ssh::AllowedSigners::parse(text));
  if (!is_name(person))
    return fail(Code::bad_argument, "\"" + std::string(person) + "\" is not one plain name",
                "letters, digits and ._@-; one literal person a line");
  const std::string line = std::string(person) + " namespaces=\"jitwg\" " + key.str() +
                           (is_name(comment) ? " " + std::string(comment) : "");
  for (const ssh::AllowedSigner& entry : people.entries()) {
    if (entry.key != key) continue;
    if (entry.person != person)
      return fail(Code::key_reused, "the key " + key.fingerprint() + " is " + entry.person + "'s", "each person has their own");
    if (entry.valid_before)
      return fail(Code::key_reused, "the key " + key.fingerprint() + " ends at " + render_time(*entry.valid_before),
                  "an end stays: make a new key");
    return EditedPeople{std::string(text), {line}};
  }
  EditedPeople edited{std::string(text), {line}};
  if (!edited.text.empty() && !edited.text.ends_with('\n')) edited.text += '\n';
  edited.text += line + "\n";
  JITWG_CHECK(ssh::AllowedSigners::parse(edited.text).has_value());
  return edited;
}

Result<EditedPeople> retire_keys(std::string_view text, std::string_view person,
                                 const std::optional<std::string>& fingerprint, WallTime now) {
  JITWG_ASSIGN(const ssh::AllowedSigners people, ssh::AllowedSigners::parse(text));
  EditedPeople edited;
  auto entry = people.entries().begin();  // lines and entries are in the same order
  for (std::string_view rest = text; !rest.empty();) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    std::string line(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (!line.empty() && line.front() != '#') {
      if (entry->person == person && (!fingerprint || entry->key.fingerprint() == *fingerprint)) {
        if (!entry->valid_before || *entry->valid_before > now) line = with_end(line, now);
        edited.lines.push_back(line);
      }
      ++entry;
    }
    edited.text += line + "\n";
  }
  if (edited.lines.empty())
    return fail(Code::bad_argument, std::string(person) + " has no such key" + (fingerprint ? ": " + *fingerprint : ""),
                "allowed_signers lists who has which");
  JITWG_CHECK(ssh::AllowedSigners::parse(edited.text).has_value());
  return edited;
}

}  // namespace jitwg::signer
