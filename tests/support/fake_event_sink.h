// Keeps events for tests to look at.
#pragma once

#include <vector>

#include "broker/audit/event.h"

namespace jitwg {

class FakeEventSink final : public EventSink {
 public:
  void emit(const Event& event) override { events.push_back(event); }
  size_t count(EventName name) const {
    size_t found = 0;
    for (const Event& event : events) found += event.name == name;
    return found;
  }
  std::vector<Event> events;
};

}  // namespace jitwg
