// One TOML table, read key by key; what nobody asked for is refused at finish(). The first problem sticks, with its
// line. The only place that knows toml++.
#pragma once

#define TOML_EXCEPTIONS 1
// toml++ 3.3 asserts before it checks ("[=" ends a debug build), and reports the same mistake properly without.
#define TOML_ASSERT(expression) static_assert(true)
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <toml++/toml.h>
#include <vector>

#include "broker/base/error.h"
#include "broker/base/time.h"

namespace jitwg {

// Shared by all tables of one file: where it is, and the first problem.
struct TomlErrors {
  std::string where;
  std::optional<Error> first;
  void add(const toml::node& node, const std::string& message, const std::string& hint = {});
};

class TomlTable {
 public:
  TomlTable(const toml::table& table, std::string name, TomlErrors& errors)
      : table_(table), name_(std::move(name)), errors_(errors) {}

  std::string string(std::string_view key);  // mandatory
  std::optional<std::string> optional_string(std::string_view key);
  std::optional<int64_t> optional_integer(std::string_view key);
  bool flag(std::string_view key);  // false when absent
  std::vector<std::string> strings(std::string_view key, bool mandatory = true);
  std::optional<Seconds> optional_duration(std::string_view key);
  Seconds duration(std::string_view key, Seconds fallback);
  const toml::node* node(std::string_view key);  // null when absent
  // A mandatory string put through a parser; its error gets the key's line.
  template <typename T>
  std::optional<T> parsed(std::string_view key, Result<T> (*parse)(std::string_view));

  const std::string& name() const { return name_; }
  int line() const { return static_cast<int>(table_.source().begin.line); }
  TomlErrors& errors() { return errors_; }
  // Problem at a key if it is there, at the table otherwise.
  void problem(std::string_view key, const std::string& message, const std::string& hint = {});
  void finish();

 private:
  const toml::node* find(std::string_view key, bool mandatory);

  const toml::table& table_;
  std::string name_;
  TomlErrors& errors_;
  std::map<std::string, int, std::less<>> seen_;
};

template <typename T>
std::optional<T> TomlTable::parsed(std::string_view key, Result<T> (*parse)(std::string_view)) {
  const std::string text = string(key);
  if (text.empty()) return std::nullopt;
  auto value = parse(text);
  if (!value) {
    problem(key, value.error().message, value.error().hint);
    return std::nullopt;
  }
  return std::move(*value);
}

}  // namespace jitwg
