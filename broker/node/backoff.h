// Delays between attempts: doubling, with jitter, so that many nodes do not come back in step.
#pragma once

#include <sodium.h>

#include <algorithm>
#include <chrono>

namespace jitwg::node {

class Backoff {
 public:
  using Delay = std::chrono::milliseconds;
  Backoff(Delay first, Delay most) : first_(first), most_(most), delay_(first) {}

  // Between half and the whole of the current delay, which then doubles.
  Delay next() {
    const auto half = static_cast<uint32_t>(delay_.count() / 2);
    delay_ = std::min(delay_ * 2, most_);
    return Delay(half + randombytes_uniform(half + 1));
  }
  void reset() { delay_ = first_; }

 private:
  Delay first_;
  Delay most_;
  Delay delay_;
};

}  // namespace jitwg::node
