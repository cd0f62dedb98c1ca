// The one ID: a UUIDv7 (RFC 9562 §5.7), made when access is requested.
#pragma once

#include <compare>
#include <string>
#include <string_view>

#include "broker/base/error.h"
#include "broker/base/time.h"

namespace jitwg {

class SessionId {
 public:
  // Strict: 36 characters, lower case, version 7, variant 10. Anything else is bad_value.
  static Result<SessionId> parse(std::string_view text);
  // Time from `now`, the rest from the system's random source.
  static SessionId make(WallTime now);

  const std::string& str() const { return text_; }
  // The last eight hex digits: interface and host alias names.
  std::string short_form() const { return text_.substr(text_.size() - 8); }
  auto operator<=>(const SessionId&) const = default;

 private:
  explicit SessionId(std::string text) : text_(std::move(text)) {}
  std::string text_;
};

}  // namespace jitwg

template <>
struct std::hash<jitwg::SessionId> {
  size_t operator()(const jitwg::SessionId& id) const { return std::hash<std::string>{}(id.str()); }
};
