// A block of lines of ours in a file of others, between `# jitwg begin` and `# jitwg end`. All else
// in the file is the administrator's: taking the block out again gives back every byte of it,
// whatever was edited meanwhile. Pure.
#pragma once

#include <string>
#include <string_view>

#include "broker/base/error.h"

namespace jitwg::hostd {

// How the file writes a comment; polkit's rules are JavaScript.
inline constexpr std::string_view kHash = "# ", kSlashes = "// ";

// `lines`, each ended by '\n', marked and put before the line at `at`, or behind the last one.
std::string with_block(std::string_view text, size_t at, std::string_view lines,
                       std::string_view comment = kHash);

// A line between the marks that is kept for later, without effect meanwhile: without_block() gives it back.
std::string kept_line(std::string_view line, std::string_view comment = kHash);

// bad_config: a begin without its end, or the other way round: what is ours is then not known.
Result<std::string> without_block(std::string_view text, std::string_view comment = kHash);

// Where the line after the one at `at` begins.
size_t next_line(std::string_view text, size_t at);

}  // namespace jitwg::hostd
