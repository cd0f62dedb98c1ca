// Reading configuration files of others as far as a doctor needs to: lines without what is behind a
// '#', words, no case. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace jitwg::doctor {

std::vector<std::string> lines_of(std::string_view text);
std::vector<std::string> words_of(const std::string& line);
std::string lower(std::string text);

}  // namespace jitwg::doctor
