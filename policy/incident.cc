#include "policy/incident.h"

#include "broker/base/encoding.h"
#include "policy/matching.h"
#include "policy/nearest.h"

namespace jitwg {

Result<void> check_incident_names(const Policy& policy, const std::vector<std::string>& names) {
  if (names.empty()) return fail(Code::unknown_target, "an incident names at least one target or label");
  for (const std::string& text : names) {
    const TargetSelector selector = TargetSelector::parse(text);
    if (std::any_of(policy.targets.begin(), policy.targets.end(), [&](const auto& one) { return selects(selector, one.second); }))
      continue;
    const std::string shown = "\"" + escape_for_terminal(selector.name) + "\"";
    if (!selector.is_label) return fail(Code::unknown_target, "there is no target " + shown, nearest(selector.name, keys_of(policy.targets)));
    Words labels;
    for (const auto& [unused, target] : policy.targets) labels.insert(target.labels.begin(), target.labels.end());
    return fail(Code::unknown_target, "no target has the label " + shown, nearest(selector.name, labels));
  }
  return {};
}

Result<void> check_incident_end(const Policy& policy, WallTime begin, WallTime end) {
  if (end <= begin) return fail(Code::bad_time, "the incident would end before it begins", "give it an end that lies ahead");
  if (end - begin > policy.incident_max_duration)
    return fail(Code::duration_over_limit,
                render_duration(end - begin) + " is longer than the " + render_duration(policy.incident_max_duration) +
                    " of [incidents] max_duration",
                "open it for at most that long, and extend it");
  return {};
}

bool incident_covers(const Policy& policy, const std::vector<std::string>& names, const std::string& target) {
  const auto found = policy.targets.find(target);
  return found != policy.targets.end() &&
         std::any_of(names.begin(), names.end(), [&](const auto& text) { return selects(TargetSelector::parse(text), found->second); });
}

}  // namespace jitwg
