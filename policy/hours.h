// "Mon-Fri 07:00-19:00 Europe/Istanbul": weekly hours in a named zone. Over midnight ("22:00-06:00") the day is the
// one it starts on. The zone database is read when the text is parsed; judging is pure.
#pragma once

#include <string>
#include <string_view>

#include "broker/base/error.h"
#include "broker/base/time.h"

namespace jitwg {

class Hours {
 public:
  static Result<Hours> parse(std::string_view text);
  bool contain(WallTime at) const;
  const std::string& str() const { return text_; }

 private:
  std::string text_;
  unsigned days_ = 0;  // bit 0 = Sunday
  int start_ = 0, end_ = 0;  // minutes of the day; end may be 24:00
  const void* zone_ = nullptr;  // date::time_zone, owned by the zone database
};

}  // namespace jitwg
