#include "ssh-ca/format/allowed_signers.h"

#include <algorithm>
#include <map>

#include "broker/base/encoding.h"
#include "broker/base/name.h"

namespace jitwg::ssh {
namespace {

// ssh-keygen's times: YYYYMMDD[Z], YYYYMMDDHHMM[SS][Z]. Without Z they mean local time there: refused here, because
// two machines would read the same file differently.
Result<WallTime> parse_signer_time(std::string_view t) {
  const auto bad = [&] {
    return fail(Code::bad_time, "\"" + std::string(t) + "\" is no UTC time", "write 20261122Z or 20261122133000Z");
  };
  if (t.empty() || t.back() != 'Z') return bad();
  const std::string_view d = t.substr(0, t.size() - 1);
  if (d.size() != 8 && d.size() != 12 && d.size() != 14) return bad();
  const auto part = [&](size_t at, size_t n) { return d.size() > at ? std::string(d.substr(at, n)) : "00"; };
  const auto time = parse_time(part(0, 4) + "-" + part(4, 2) + "-" + part(6, 2) + "T" + part(8, 2) + ":" +
                               part(10, 2) + ":" + part(12, 2) + "Z");
  return time ? Result<WallTime>(*time) : bad();
}

// Takes one option `name="value"` (or a bare word) off the front of a comma list.
std::pair<std::string, std::string> take_option(std::string_view& list) {
  const size_t end_name = list.find_first_of("=,");
  std::string name(list.substr(0, end_name)), value;
  if (end_name == std::string_view::npos || list[end_name] == ',') {
    list.remove_prefix(std::min(list.size(), name.size() + 1));
    return {name, value};
  }
  list.remove_prefix(end_name + 1);
  if (!list.empty() && list.front() == '"') {
    const size_t close = list.find('"', 1);
    if (close == std::string_view::npos) return {"", ""};
    value = list.substr(1, close - 1);
    list.remove_prefix(close + 1);
  } else {
    return {"", ""};
  }
  if (!list.empty()) {
    if (list.front() != ',') return {"", ""};
    list.remove_prefix(1);
  }
  return {name, value};
}

Result<AllowedSigner> parse_line(std::string_view line) {
  const auto bad = [](std::string why, std::string hint = {}) {
    return fail(Code::bad_allowed_signers, std::move(why), std::move(hint));
  };
  const size_t first = line.find(' ');
  if (first == std::string_view::npos) return bad("not: person namespaces=\"jitwg\" key");
  const std::string person(line.substr(0, first));
  if (!is_name(person))
    return bad("\"" + escape_for_terminal(person) + "\" is not one plain name",
               "one literal person a line: no pattern, no list");
  // No option that is accepted holds a space.
  std::string_view options = line.substr(first + 1, line.find(' ', first + 1) - first - 1);
  if (options.find('=') == std::string_view::npos || first + 1 + options.size() >= line.size())
    return bad("no options before the key", "write: " + person + " namespaces=\"jitwg\" ssh-ed25519 …");

  auto key = PublicKey::parse_identity(line.substr(first + 2 + options.size()));
  if (!key) return bad(key.error().message, key.error().hint);
  AllowedSigner signer{person, std::move(*key), {}, {}};
  bool has_namespace = false;
  std::map<std::string, std::string> seen;
  while (!options.empty()) {
    const auto [name, value] = take_option(options);
    if (name.empty() || !seen.emplace(name, value).second) return bad("its options have the wrong form");
    if (name == "namespaces") {
      if (value != "jitwg") return bad("namespaces must be exactly \"jitwg\"");
      has_namespace = true;
    } else if (name == "valid-after" || name == "valid-before") {
      const auto time = parse_signer_time(value);
      if (!time) return bad(time.error().message, time.error().hint);
      (name == "valid-after" ? signer.valid_after : signer.valid_before) = *time;
    } else {
      return bad("option \"" + escape_for_terminal(name) + "\" is not accepted");
    }
  }
  if (!has_namespace) return bad("namespaces=\"jitwg\" is missing", "without it the key would sign for everything");
  return signer;
}

}  // namespace

Result<AllowedSigners> AllowedSigners::parse(std::string_view text) {
  AllowedSigners all;
  int number = 0;
  while (!text.empty()) {
    const size_t newline = text.find('\n');
    const std::string_view line = text.substr(0, newline);
    text.remove_prefix(newline == std::string_view::npos ? text.size() : newline + 1);
    ++number;
    if (line.empty() || line.front() == '#') continue;
    const std::string where = "allowed_signers line " + std::to_string(number);
    auto signer = parse_line(line);
    if (!signer) return within(where, signer.error());
    if (all.knows_key(signer->key))
      return fail(Code::bad_allowed_signers, where + ": this key stands in an earlier line too",
                  "one key, one person, one line");
    all.by_key_.emplace(signer->key, all.entries_.size());
    all.entries_.push_back(std::move(*signer));
  }
  return all;
}

Result<std::string> AllowedSigners::person_of(const PublicKey& key, WallTime at) const {
  const auto found = by_key_.find(key);
  if (found == by_key_.end())
    return fail(Code::unknown_person, "the key " + key.fingerprint() + " is nobody's",
                "ask for it to be added to allowed_signers");
  const AllowedSigner& entry = entries_[found->second];
  if ((entry.valid_after && at < *entry.valid_after) || (entry.valid_before && at >= *entry.valid_before))
    return fail(Code::stale, "the key " + key.fingerprint() + " of " + entry.person + " was not valid at " + render_time(at));
  return entry.person;
}

bool AllowedSigners::knows_person(std::string_view person) const {
  return std::any_of(entries_.begin(), entries_.end(), [&](const auto& e) { return e.person == person; });
}

bool AllowedSigners::knows_key(const PublicKey& key) const {
  return by_key_.contains(key);
}

}  // namespace jitwg::ssh
