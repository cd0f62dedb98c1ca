// A second, deliberately plain reader of the strict JSON of broker/base/json.h, for agreement: it keeps no values, and
// says only whether the text is one.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>

#include "broker/base/encoding.h"

namespace jitwg::fuzz {

class SecondJson {
 public:
  static bool accepts(std::string_view text) {
    SecondJson reader(text);
    return reader.value(1) && (reader.spaces(), reader.rest_.empty());
  }

 private:
  static constexpr int kDepth = 16;
  static constexpr size_t kKey = 256;
  explicit SecondJson(std::string_view text) : rest_(text) {}

  bool take(std::string_view word) {
    if (!rest_.starts_with(word)) return false;
    rest_.remove_prefix(word.size());
    return true;
  }
  void spaces() { rest_.remove_prefix(std::min(rest_.find_first_not_of(" \t\r\n"), rest_.size())); }

  bool value(int depth) {
    spaces();
    if (take("{")) return depth <= kDepth && object(depth);
    if (take("[")) return depth <= kDepth && array(depth);
    if (rest_.starts_with('"')) {
      std::string text;
      return string(text);
    }
    return take("true") || take("false") || take("null") || integer();
  }
  bool object(int depth) {
    std::set<std::string> keys;
    spaces();
    if (take("}")) return true;
    do {
      std::string key;
      spaces();
      if (!string(key) || key.size() > kKey || !keys.insert(key).second) return false;
      spaces();
      if (!take(":") || !value(depth + 1)) return false;
      spaces();
    } while (take(","));
    return take("}");
  }
  bool array(int depth) {
    spaces();
    if (take("]")) return true;
    do {
      if (!value(depth + 1)) return false;
      spaces();
    } while (take(","));
    return take("]");
  }
  // 0, or digits that do not begin with 0; a fraction or exponent behind them is left over and refused there.
  bool integer() {
    const bool negative = take("-");
    const size_t digits = std::min(rest_.find_first_not_of("0123456789"), rest_.size());
    if (digits == 0 || digits > 19 || (digits > 1 && rest_[0] == '0')) return false;
    uint64_t number = 0;  // 19 digits fit
    for (const char c : rest_.substr(0, digits)) number = number * 10 + static_cast<uint64_t>(c - '0');
    rest_.remove_prefix(digits);
    if (negative && number == 0) return false;  // -0 is a double's
    return number <= (uint64_t{1} << 63) - (negative ? 0 : 1);
  }
  bool unit(uint32_t& value) {
    if (rest_.size() < 4) return false;
    value = 0;
    for (const char c : rest_.substr(0, 4)) {
      const size_t digit = std::string_view("0123456789abcdef").find(static_cast<char>(tolower(c)));
      if (digit == std::string_view::npos) return false;
      value = value * 16 + static_cast<uint32_t>(digit);
    }
    rest_.remove_prefix(4);
    return true;
  }
  bool escape(std::string& out) {
    static constexpr std::string_view kNames = "\"\\/bfnrt", kMeanings = "\"\\/\b\f\n\r\t";
    if (rest_.empty()) return false;
    if (const size_t at = kNames.find(rest_[0]); at != std::string_view::npos) {
      out += kMeanings[at];
      rest_.remove_prefix(1);
      return true;
    }
    uint32_t point = 0, low = 0;
    if (!take("u") || !unit(point)) return false;
    if (point >= 0xdc00 && point <= 0xdfff) return false;
    if (point >= 0xd800 && point <= 0xdbff) {
      if (!take("\\u") || !unit(low) || low < 0xdc00 || low > 0xdfff) return false;
      point = 0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00);
    }
    const auto put = [&](uint32_t bits) { out += static_cast<char>(bits); };
    if (point < 0x80) put(point);
    else if (point < 0x800) put(0xc0 | point >> 6), put(0x80 | (point & 0x3f));
    else if (point < 0x10000) put(0xe0 | point >> 12), put(0x80 | (point >> 6 & 0x3f)), put(0x80 | (point & 0x3f));
    else put(0xf0 | point >> 18), put(0x80 | (point >> 12 & 0x3f)), put(0x80 | (point >> 6 & 0x3f)), put(0x80 | (point & 0x3f));
    return true;
  }
  bool string(std::string& out) {
    if (!take("\"")) return false;
    while (!rest_.empty() && rest_[0] != '"') {
      if (take("\\")) {
        if (!escape(out)) return false;
      } else {
        if (static_cast<unsigned char>(rest_[0]) < 0x20) return false;
        out += rest_[0];
        rest_.remove_prefix(1);
      }
    }
    return take("\"") && is_utf8(out);
  }

  std::string_view rest_;
};

}  // namespace jitwg::fuzz
