// SQLiteCpp held at arm's length: statements prepared once, values bound and read by type, its
// exceptions as errors. One thread.
#pragma once

#include <SQLiteCpp/SQLiteCpp.h>

#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "broker/base/error.h"
#include "broker/base/time.h"

namespace jitwg::store {

class Sql;

// One execution of a prepared statement; resets it at the end, so that no read lock stays behind.
class Query {
 public:
  ~Query() { statement_.tryReset(); }
  Query(const Query&) = delete;

  bool next() { return statement_.executeStep(); }
  bool is_null(int column) { return statement_.getColumn(column).isNull(); }
  std::string text(int column) { return statement_.getColumn(column).getString(); }
  int64_t integer(int column) { return statement_.getColumn(column).getInt64(); }
  WallTime time(int column) { return WallTime(Seconds(integer(column))); }
  std::optional<std::string> optional_text(int column) {
    return is_null(column) ? std::nullopt : std::optional(text(column));
  }
  std::optional<WallTime> optional_time(int column) {
    return is_null(column) ? std::nullopt : std::optional(time(column));
  }

 private:
  friend class Sql;
  explicit Query(SQLite::Statement& statement) : statement_(statement) {}
  SQLite::Statement& statement_;
};

struct Blob {
  std::string_view bytes;
};

class Sql {
 public:
  explicit Sql(SQLite::Database& database) : database_(database) {}

  // `text` is a literal: its address is the key of the prepared statement. Not re-entrant for one
  // literal.
  template <typename... Values>
  Query query(const char* text, const Values&... values) {
    SQLite::Statement& statement = prepared(text);
    statement.tryReset();
    int index = 0;
    (bind(statement, ++index, values), ...);
    return Query(statement);
  }
  template <typename... Values>
  void execute(const char* text, const Values&... values) {
    Query one = query(text, values...);
    while (one.next()) {
    }
  }

 private:
  SQLite::Statement& prepared(const char* text) {
    const auto found = prepared_.find(text);
    if (found != prepared_.end()) return found->second;
    return prepared_.emplace(text, SQLite::Statement(database_, text)).first->second;
  }
  static void bind(SQLite::Statement& to, int index, const std::string& value) {
    to.bind(index, value);
  }
  static void bind(SQLite::Statement& to, int index, std::string_view value) {
    to.bind(index, std::string(value));
  }
  static void bind(SQLite::Statement& to, int index, int64_t value) { to.bind(index, value); }
  static void bind(SQLite::Statement& to, int index, WallTime value) {
    to.bind(index, static_cast<int64_t>(value.time_since_epoch().count()));
  }
  static void bind(SQLite::Statement& to, int index, Seconds value) {
    to.bind(index, static_cast<int64_t>(value.count()));
  }
  static void bind(SQLite::Statement& to, int index, const Blob& value) {
    to.bind(index, value.bytes.data(), static_cast<int>(value.bytes.size()));
  }
  template <typename Value>
  static void bind(SQLite::Statement& to, int index, const std::optional<Value>& value) {
    if (value)
      bind(to, index, *value);
    else
      to.bind(index);
  }

  SQLite::Database& database_;
  std::map<const char*, SQLite::Statement> prepared_;
};

// Runs `work` (which returns Result<…>) and turns SQLiteCpp's exceptions into errors.
template <typename Work>
auto guarded(Work work) -> decltype(work()) {
  try {
    return work();
  } catch (const SQLite::Exception& e) {
    const int code = e.getErrorCode();
    const bool damaged = code == 11 /* SQLITE_CORRUPT */ || code == 19 /* SQLITE_CONSTRAINT */ ||
                         code == 26 /* SQLITE_NOTADB */;
    return fail(damaged ? Code::corrupt : Code::io,
                std::string("the broker's database: ") + e.what());
  }
}

}  // namespace jitwg::store
