#include <algorithm>

#include "broker/base/encoding.h"
#include "broker/base/limits.h"
#include "broker/base/name.h"
#include "policy/policy.h"

namespace jitwg {
namespace {

using People = std::set<std::string>;

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r";
  const size_t first = text.find_first_not_of(kBlank);
  return first == std::string_view::npos ? std::string_view() : text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

// All or nothing: half a list would be somebody's approval that nobody meant.
Result<People> parse_list(std::string_view bytes) {
  People people;
  for (int line = 1; !bytes.empty(); ++line) {
    const size_t end = bytes.find('\n');
    std::string_view text = bytes.substr(0, end);
    bytes = end == std::string_view::npos ? std::string_view() : bytes.substr(end + 1);
    text = trimmed(text.substr(0, text.find('#')));
    if (text.empty()) continue;
    if (!is_name(text))
      return fail(Code::bad_value, "line " + std::to_string(line) + ": \"" + escape_for_terminal(text.substr(0, 80)) + "\" is no plain name");
    people.emplace(text);
  }
  return people;
}

Result<People> read_list(const SyncedList& list, const SyncedFiles& files, WallTime now, size_t& room) {
  const auto found = files.find(list.path);
  if (found == files.end()) return fail(Code::io, "the file is missing");
  if (!found->second) return tl::unexpected<Error>(found->second.error());
  const SyncedFile& file = *found->second;
  if (now >= file.modified + list.max_age)
    return fail(Code::stale, "it was last written at " + render_time(file.modified) + ", over " + render_duration(list.max_age) + " ago");
  if (file.bytes.size() > room) return fail(Code::too_large, "all lists together are over " + std::to_string(limits::kListBytes) + " bytes");
  room -= file.bytes.size();
  return parse_list(file.bytes);
}

}  // namespace

void take_lists(Policy& policy, const SyncedFiles& files, WallTime now) {
  if (policy.lists.empty()) return;
  std::string sums = policy.file_sha256 + "  policy.toml\n";
  size_t room = limits::kListBytes;
  for (SyncedList& list : policy.lists) {
    People& people = (list.oncall ? policy.oncall : policy.groups)[list.name];
    auto read = read_list(list, files, now, room);
    list.problem = read ? std::string() : list.path + ": " + read.error().message + ": " + list.title() + " is empty";
    list.stale_at = read ? std::optional(files.at(list.path)->modified + list.max_age) : std::nullopt;
    people = read ? std::move(*read) : People();
    std::string names;
    for (const std::string& person : people) names += person + "\n";
    sums += sha256_hex(names) + "  " + list.title() + "\n";
  }
  policy.digest = sha256_hex(sums);
}

json::value render_lists(const SyncedFiles& files) {
  json::object all;
  for (const auto& [path, file] : files)
    all[path] = file ? json::value{{"content", base64_encode(file->bytes)}, {"modified", render_time(file->modified)}} : render_error(file.error());
  return all;
}

Result<SyncedFiles> parse_lists(const json::value& value) {
  if (!value.is_object()) return fail(Code::bad_value, "\"lists\" must be an object");
  SyncedFiles files;
  for (const auto& [path, one] : value.get_object()) {
    if (auto error = parse_error(one)) {
      files.emplace(path, tl::unexpected<Error>(std::move(*error)));
      continue;
    }
    JsonObject reader(one, "list");
    const std::string content = reader.string("content");
    const std::string modified = reader.string("modified");
    JITWG_TRY(reader.finish());
    SyncedFile file;
    JITWG_ASSIGN(file.bytes, base64_decode(content));
    JITWG_ASSIGN(file.modified, parse_time(modified));
    files.emplace(path, std::move(file));
  }
  return files;
}

std::optional<WallTime> Policy::stale_at() const {
  std::optional<WallTime> first;
  for (const SyncedList& list : lists)
    if (list.stale_at && (!first || *list.stale_at < *first)) first = list.stale_at;
  return first;
}

}  // namespace jitwg
