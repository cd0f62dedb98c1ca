#include "ssh-ca/signer/synced_lists.h"

#include "broker/base/limits.h"
#include "broker/os/dated_file.h"

namespace jitwg::signer {

SyncedFiles read_lists(const Policy& policy, const std::string& policy_path) {
  SyncedFiles files;
  for (const SyncedList& list : policy.lists) {
    auto file = read_dated_file(path_beside(policy_path, list.path), limits::kListBytes);
    if (file) files.emplace(list.path, SyncedFile{std::move(file->bytes), file->modified});
    else files.emplace(list.path, tl::unexpected<Error>(file.error()));
  }
  return files;
}

std::optional<SyncedFiles> ListKeeper::look(const Policy& policy, WallTime now) {
  if (policy.lists.empty()) return std::nullopt;
  std::string mark;
  for (const SyncedList& list : policy.lists) mark += list.path + " " + file_mark(path_beside(policy_path_, list.path)) + "\n";
  const auto stale_at = policy.stale_at();
  if (mark_ == mark && !(stale_at && now >= *stale_at)) return std::nullopt;
  mark_ = std::move(mark);
  return read_lists(policy, policy_path_);
}

}  // namespace jitwg::signer
