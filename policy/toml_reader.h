// One TOML table, read key by key; what nobody asked for is refused at finish(). Every problem is kept, with its place. The only
// place that knows toml++.
#pragma once

#define TOML_EXCEPTIONS 1
// toml++ 3.3 asserts before it checks ("[=" ends a debug build), and reports the same mistake properly without.
#define TOML_ASSERT(expression) static_assert(true)
#include <optional>
#include <string>
#include <string_view>
#include <toml++/toml.h>
#include <vector>

#include "broker/base/error.h"
#include "broker/base/time.h"
#include "policy/nearest.h"
#include "policy/policy.h"

namespace jitwg {

// bad_policy as a problem where the text is no TOML, too long, or nested too deeply for the library.
tl::expected<toml::table, PolicyProblem> parse_toml(std::string_view text);

// Shared by all tables of one file. What is shown is escaped here: a name out of the file may hold anything.
struct TomlErrors {
  std::vector<PolicyProblem> all;
  bool none() const { return all.empty(); }
  void add(const toml::source_region& at, const std::string& message, const std::string& hint = {});
  void add(const toml::node& at, const std::string& message, const std::string& hint = {}) { add(at.source(), message, hint); }
};

// A string and where it stands.
struct TomlText {
  std::string text;
  const toml::node* at;
};

class TomlTable {
 public:
  TomlTable(const toml::table& table, std::string name, TomlErrors& errors)
      : table_(table), name_(std::move(name)), errors_(errors) {}

  std::string string(std::string_view key);  // mandatory
  std::optional<std::string> optional_string(std::string_view key);
  std::optional<int64_t> optional_integer(std::string_view key);
  // `fallback` when absent or out of range.
  int integer_in(std::string_view key, int least, int most, int fallback);
  bool flag(std::string_view key);  // false when absent
  // One of these words; empty when absent or another.
  std::string choice(std::string_view key, const Words& words);
  std::vector<TomlText> texts(std::string_view key, bool mandatory = true);
  std::optional<Seconds> optional_duration(std::string_view key);
  Seconds duration(std::string_view key, Seconds fallback);
  const toml::node* node(std::string_view key);  // null when absent
  const toml::table* table(std::string_view key, const std::string& like);  // null when absent or no table: "write {like}"
  // A mandatory string put through a parser; its error gets the key's line.
  template <typename T>
  std::optional<T> parsed(std::string_view key, Result<T> (*parse)(std::string_view));

  const std::string& name() const { return name_; }
  int line() const { return static_cast<int>(table_.source().begin.line); }
  TomlErrors& errors() { return errors_; }
  // Problem at a key if it is there, at the table otherwise; or at an element of it.
  void problem(std::string_view key, const std::string& message, const std::string& hint = {});
  void problem(const TomlText& text, const std::string& message, const std::string& hint = {});
  void finish();

 private:
  const toml::node* find(std::string_view key, bool mandatory);

  const toml::table& table_;
  std::string name_;
  TomlErrors& errors_;
  Words seen_;
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
