// For what is not known: the known word that was probably meant.
#pragma once

#include <set>
#include <string>
#include <string_view>

namespace jitwg {

using Words = std::set<std::string, std::less<>>;

// "did you mean \"…\"?", out of words at most two letters away (one, for short ones); empty when there is none.
std::string nearest(std::string_view word, const Words& known);
// As nearest(); without one, all that is known, if that is little enough to read.
std::string suggest(std::string_view word, const Words& known);

template <typename Map>
Words keys_of(const Map& map) {
  Words words;
  for (const auto& [key, unused] : map) words.emplace(key);
  return words;
}

}  // namespace jitwg
