#include "broker/cli/text.h"

#include <date/tz.h>

#include <cstdio>
#include <cstdlib>
#include <stdexcept>

#include "broker/base/encoding.h"
#include "broker/base/table.h"

namespace jitwg::cli {
namespace {

// TZ as tzset(3) reads it, as far as it names a zone of the database. date's current_zone() ignores
// TZ.
const date::time_zone* zone_of_environment() {
  try {
    const char* tz = std::getenv("TZ");
    if (tz == nullptr || *tz == '\0') return date::current_zone();
    return date::locate_zone(*tz == ':' ? tz + 1 : tz);
  } catch (const std::runtime_error&) {
    return nullptr;
  }
}

std::string in_zone(WallTime time, const date::time_zone* zone) {
  if (zone == nullptr) return date::format("%F %T UTC", time);
  return date::format("%F %T %Z", date::make_zoned(zone, time));
}

std::string json_unit(uint32_t unit) {
  char text[16];
  std::snprintf(text, sizeof text, "\\u%04x", unit);
  return text;
}

}  // namespace

std::string local_time(WallTime time) {
  static const date::time_zone* const zone = zone_of_environment();
  return in_zone(time, zone);
}

std::string local_time_in(WallTime time, const std::string& zone) {
  try {
    return in_zone(time, date::locate_zone(zone));
  } catch (const std::runtime_error&) {
    return in_zone(time, nullptr);
  }
}

std::string time_left(WallTime end, WallTime now) {
  Seconds left = end - now;
  if (left <= Seconds(0)) return "over";
  if (left >= std::chrono::minutes(10)) left -= left % std::chrono::minutes(1);
  return render_duration(left) + " left";
}

std::string time_since(WallTime then, WallTime now) {
  Seconds past = now - then;
  if (past < Seconds(1)) return "just now";
  if (past >= std::chrono::minutes(1)) past -= past % std::chrono::minutes(1);
  return render_duration(past) + " ago";
}

std::string render_table(const std::vector<std::vector<std::string>>& rows) {
  return jitwg::render_table(rows);
}

std::string shorten(const std::string& text, size_t most) {
  if (count_code_points(text) <= most) return text;
  size_t count = 0, i = 0;
  for (; i < text.size(); ++i)
    if ((static_cast<unsigned char>(text[i]) & 0xc0) != 0x80 && ++count == most) break;
  return text.substr(0, i) + "…";
}

std::string fill(std::string_view pattern, const std::vector<std::string>& values) {
  std::string text;
  for (const std::string& value : values) {
    const size_t hole = pattern.find("{}");
    JITWG_CHECK(hole != std::string_view::npos);
    text += std::string(pattern.substr(0, hole)) + value;
    pattern.remove_prefix(hole + 2);
  }
  JITWG_CHECK(pattern.find("{}") == std::string_view::npos);
  return text + std::string(pattern);
}

std::string render_json_line(const json::value& value) {
  // No escape of JSON begins with \u{, so what does is printable()'s.
  const std::string shown = printable(render_json(value));
  std::string out;
  for (size_t i = 0; i < shown.size();) {
    const std::string_view rest = std::string_view(shown).substr(i);
    if (!rest.starts_with("\\u{")) {
      const size_t taken = rest.front() == '\\' ? 2 : 1;
      out += rest.substr(0, taken);
      i += taken;
      continue;
    }
    const uint32_t point = static_cast<uint32_t>(std::stoul(std::string(rest.substr(3)), nullptr, 16));
    if (point < 0x10000) out += json_unit(point);
    else out += json_unit(0xd800 + ((point - 0x10000) >> 10)) + json_unit(0xdc00 + ((point - 0x10000) & 0x3ff));
    i += rest.find('}') + 1;
  }
  return out;
}

std::string join(const std::vector<std::string>& words, std::string_view separator) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : std::string(separator)) + word;
  return text;
}

}  // namespace jitwg::cli
