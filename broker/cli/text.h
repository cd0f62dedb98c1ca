// Text for people: local times, time left, tables. What came from outside is escaped here and
// nowhere later, so a caller that prints through this file cannot forget it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "broker/base/json.h"
#include "broker/base/time.h"

namespace jitwg::cli {

// "2026-03-02 10:00:00 +03": in the zone TZ names, otherwise the machine's; UTC when neither is
// known.
std::string local_time(WallTime time);
// As local_time, in a zone of the database by its name ("Europe/Istanbul").
std::string local_time_in(WallTime time, const std::string& zone);

// "1h 5m left", "4m 10s left", "over".
std::string time_left(WallTime end, WallTime now);
// "3m ago", "just now".
std::string time_since(WallTime then, WallTime now);

// Columns padded to their widest cell, two blanks between, no blanks at line ends. Cells are
// escaped; the first row is the heading. Widths count code points.
std::string render_table(const std::vector<std::vector<std::string>>& rows);

// Cuts to `most` code points, with an ellipsis for the rest.
std::string shorten(const std::string& text, size_t most);

// The pattern with each "{}" replaced by the next value; as many of the one as of the other.
std::string fill(std::string_view pattern, const std::vector<std::string>& values);

// JSON for a program, which a person may look at too: what would hide on a terminal is \uXXXX in it.
std::string render_json_line(const json::value& value);

std::string join(const std::vector<std::string>& words, std::string_view separator);

}  // namespace jitwg::cli
