#include "broker/transport/target.h"

#include "broker/base/encoding.h"

namespace jitwg::http {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

enum class Part { path, query };

Result<std::string> percent_decode(std::string_view text, Part part) {
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '%') {
      const int high = i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
      const int low = i + 2 < text.size() ? hex_digit(text[i + 2]) : -1;
      if (high < 0 || low < 0)
        return fail(Code::bad_value, "a broken %-escape in the request target");
      c = static_cast<char>(high * 16 + low);
      // In a path it would be a separator to one reader and a letter to the next.
      if (c == '/' && part == Part::path)
        return fail(Code::bad_value, "an escaped slash in the request target");
      i += 2;
    }
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
      return fail(Code::bad_value, "a control character in the request target");
    plain += c;
  }
  if (!is_utf8(plain)) return fail(Code::bad_value, "the request target is not UTF-8");
  return plain;
}

Result<void> parse_query(std::string_view text, std::map<std::string, std::string>& query) {
  while (true) {
    const size_t ampersand = text.find('&');
    const std::string_view part = text.substr(0, ampersand);
    const size_t equals = part.find('=');
    if (equals == std::string_view::npos || equals == 0)
      return fail(Code::bad_value, "a query part that is not key=value");
    JITWG_ASSIGN(std::string key, percent_decode(part.substr(0, equals), Part::query));
    JITWG_ASSIGN(std::string value, percent_decode(part.substr(equals + 1), Part::query));
    if (!query.emplace(key, std::move(value)).second)
      return fail(Code::duplicate_key, "query key \"" + escape_for_terminal(key) + "\" twice");
    if (ampersand == std::string_view::npos) return {};
    text.remove_prefix(ampersand + 1);
  }
}

void append_escaped(std::string& out, std::string_view text, Part part) {
  constexpr std::string_view kUnreserved =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
  for (const char c : text) {
    if (kUnreserved.find(c) != std::string_view::npos || (part == Part::path && c == '/'))
      out += c;
    else
      out += '%' + hex_encode(std::string_view(&c, 1));
  }
}

}  // namespace

Result<void> parse_target(std::string_view target, Request& request) {
  if (!target.starts_with('/'))
    return fail(Code::bad_value, "the request target does not start with a slash");
  if (target.find('#') != std::string_view::npos)
    return fail(Code::bad_value, "a fragment in the request target");
  const size_t question = target.find('?');
  JITWG_ASSIGN(request.path, percent_decode(target.substr(0, question), Part::path));
  request.query.clear();
  if (question == std::string_view::npos) return {};
  return parse_query(target.substr(question + 1), request.query);
}

std::string render_target(const Request& request) {
  std::string target;
  append_escaped(target, request.path, Part::path);
  char separator = '?';
  for (const auto& [key, value] : request.query) {
    target += separator;
    append_escaped(target, key, Part::query);
    target += '=';
    append_escaped(target, value, Part::query);
    separator = '&';
  }
  return target;
}

}  // namespace jitwg::http
