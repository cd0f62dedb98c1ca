// Strict decimal numbers: digits only, no sign but a leading minus for signed types, no leading zero.
#pragma once

#include <charconv>
#include <optional>
#include <string_view>

namespace jitwg {

template <typename Number>
std::optional<Number> parse_number(std::string_view text) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  if (text.size() > 1 && text[0] == '0') return std::nullopt;
  return value;
}

}  // namespace jitwg
