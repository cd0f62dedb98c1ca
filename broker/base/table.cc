#include "broker/base/table.h"

#include <algorithm>

#include "broker/base/encoding.h"

namespace jitwg {

std::string render_bytes(uint64_t bytes) {
  if (bytes < 1000) return std::to_string(bytes) + " B";
  const char* unit = "kMGTPE";
  for (; bytes >= 1'000'000; bytes /= 1000) ++unit;
  std::string text = std::to_string(bytes / 1000);
  if (bytes < 10'000) text += "." + std::to_string(bytes / 100 % 10);
  return text + " " + *unit + "B";
}

size_t count_code_points(std::string_view text) {
  size_t count = 0;
  for (const char c : text) count += (static_cast<unsigned char>(c) & 0xc0) != 0x80;
  return count;
}

std::string render_table(std::vector<std::vector<std::string>> rows) {
  std::vector<size_t> widths;
  for (auto& row : rows)
    for (size_t i = 0; i < row.size(); ++i) {
      row[i] = escape_for_terminal(row[i]);
      if (i >= widths.size()) widths.push_back(0);
      widths[i] = std::max(widths[i], count_code_points(row[i]));
    }
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      line += row[i];
      if (i + 1 < row.size()) line.append(widths[i] - count_code_points(row[i]) + 2, ' ');
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + "\n";
  }
  return text;
}

}  // namespace jitwg
