// The schema as a list of migrations; number n brings a database from version n to n + 1. A shipped
// one never changes.
#pragma once

#include <array>

namespace jitwg::store {

extern const std::array<const char*, 2> kMigrations;

}  // namespace jitwg::store
