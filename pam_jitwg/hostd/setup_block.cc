#include "pam_jitwg/hostd/setup_block.h"

namespace jitwg::hostd {

size_t next_line(std::string_view text, size_t at) {
  const size_t end = text.find('\n', at);
  return end == text.npos ? text.size() : end + 1;
}

std::string with_block(std::string_view text, size_t at, std::string_view lines,
                       std::string_view comment) {
  const std::string marked = std::string(comment) + "jitwg begin\n" + std::string(lines) +
                             std::string(comment) + "jitwg end";
  std::string out(text.substr(0, at));
  // A last line without an end stays the file's, and so does the missing end.
  if (!out.empty() && out.back() != '\n') return out + "\n" + marked;
  return out + marked + "\n" + std::string(text.substr(at));
}

std::string kept_line(std::string_view line, std::string_view comment) {
  return std::string(comment) + "jitwg keeps: " + std::string(line) + "\n";
}

Result<std::string> without_block(std::string_view text, std::string_view comment) {
  const std::string begin = std::string(comment) + "jitwg begin",
                    end = std::string(comment) + "jitwg end",
                    kept = std::string(comment) + "jitwg keeps: ";
  std::string out;
  bool inside = false;
  for (size_t at = 0, next = 0; at < text.size(); at = next) {
    next = next_line(text, at);
    std::string_view line = text.substr(at, next - at);
    const bool ended = line.ends_with('\n');
    const std::string_view bare = ended ? line.substr(0, line.size() - 1) : line;
    if (bare == begin || bare == end) {
      if (inside == (bare == begin))
        return fail(Code::bad_config, "a \"" + std::string(bare) + "\" without its other half",
                    "take out jitwg's lines and both marks by hand, then try again");
      inside = !inside;
      if (!inside && !ended && out.ends_with('\n')) out.pop_back();
    } else if (!inside) {
      out += line;
    } else if (line.starts_with(kept)) {
      out += line.substr(kept.size());
    }
  }
  if (inside)
    return fail(Code::bad_config, "a \"" + begin + "\" without its other half",
                "take out jitwg's lines and both marks by hand, then try again");
  return out;
}

}  // namespace jitwg::hostd
