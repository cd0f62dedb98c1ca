#include "policy/nearest.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace jitwg {
namespace {

constexpr size_t kLongestList = 12;
constexpr size_t kLongestWord = 100;

// Letters to add, drop, change or swap with their neighbour.
size_t distance(std::string_view a, std::string_view b) {
  std::vector<size_t> before(b.size() + 1), above(b.size() + 1), row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    before = std::exchange(above, row);
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, above[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) row[j] = std::min(row[j], before[j - 2] + 1);
    }
  }
  return row.back();
}

}  // namespace

std::string nearest(std::string_view word, const Words& known) {
  if (word.size() > kLongestWord) return {};
  const std::string* best = nullptr;
  size_t least = word.size() < 5 ? 2 : 3;
  for (const std::string& candidate : known) {
    if (candidate.size() > word.size() + 2 || word.size() > candidate.size() + 2) continue;
    if (const size_t far = distance(word, candidate); far < least) {
      least = far;
      best = &candidate;
    }
  }
  return best ? "did you mean \"" + *best + "\"?" : std::string();
}

std::string suggest(std::string_view word, const Words& known) {
  std::string text = nearest(word, known);
  if (!text.empty() || known.empty() || known.size() > kLongestList) return text;
  for (const std::string& one : known) text += (text.empty() ? (known.size() == 1 ? "write " : "one of ") : ", ") + one;
  return text;
}

}  // namespace jitwg
