// Figures and tables for people. What came from outside is escaped here.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace jitwg {

// "999 B", "1.2 kB", "35 MB": thousands, two digits at least, rounded down.
std::string render_bytes(uint64_t bytes);

size_t count_code_points(std::string_view text);

// Columns padded to their widest cell, two blanks between, no blanks at line ends. The first row is
// the heading. Widths count code points.
std::string render_table(std::vector<std::vector<std::string>> rows);

}  // namespace jitwg
