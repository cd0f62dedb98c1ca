// Strict JSON (RFC 8259) for everything that crosses a trust boundary: one object or array, keys unique
// after unescaping, integers only (64 bit), valid UTF-8, bounded depth. Boost.JSON's own parse() keeps the
// last of duplicate keys and turns big numbers into doubles; this does neither.
#pragma once

#include <boost/json/value.hpp>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "broker/base/error.h"

namespace jitwg {

namespace json = boost::json;

// bad_json, duplicate_key, too_large.
Result<json::value> parse_json(std::string_view text, size_t max_bytes);
std::string render_json(const json::value& value);

// {"error": {"code", "message", "hint"}}: the one shape of a failure, over HTTP, to the signer and in --json.
json::value render_error(const Error& error);
// The error in `answer`, if it is one; an unknown code is `bug`, never success.
std::optional<Error> parse_error(const json::value& answer);

// Reads one object, key by key, and at finish() refuses keys nobody asked for. The first problem sticks
// and finish() returns it, so call sites read straight on. `null` counts as absent only where said.
class JsonObject {
 public:
  // `what` names the object in errors. Not an object: finish() fails.
  JsonObject(const json::value& value, std::string_view what);

  std::string string(std::string_view key);  // mandatory; empty after a failure
  int64_t integer(std::string_view key);
  bool boolean(std::string_view key);
  bool flag(std::string_view key);  // false when absent; `false` in writing is refused: unset is left out
  std::vector<std::string> strings(std::string_view key);
  const json::value* value(std::string_view key);           // mandatory, any type; never null on success
  std::optional<std::string> optional_string(std::string_view key);  // absent or a string
  std::optional<int64_t> optional_integer(std::string_view key);
  const json::value* optional_value(std::string_view key);  // null pointer when absent
  void ignore(std::string_view key) { seen_.insert(std::string(key)); }
  void problem(Error error);  // records, unless one is recorded already
  // The value, or its error recorded and the fallback.
  template <typename T>
  T take(Result<T> result, T fallback) {
    if (result) return std::move(*result);
    problem(result.error());
    return fallback;
  }

  bool ok() const { return !error_; }
  Result<void> finish();  // unknown_key, bad_value

 private:
  const json::value* find(std::string_view key, bool mandatory);
  void wrong_type(std::string_view key, std::string_view wanted);

  const json::object* object_;
  std::string what_;
  std::set<std::string, std::less<>> seen_;
  std::optional<Error> error_;
};

}  // namespace jitwg
