// Statements: strict JSON as a second reader has it, and parse, render, parse gives the same value.
#include "broker/base/limits.h"
#include "policy/statement.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/second_json.h"

namespace jitwg::fuzz {

bool try_input(std::string_view input) {
  const auto json = parse_json(input, limits::kStatementBytes);
  JITWG_CHECK(json.has_value() == (input.size() <= limits::kStatementBytes && SecondJson::accepts(input)));
  const auto statement = parse_statement(input);
  if (!json) JITWG_CHECK(!statement);
  if (!statement) {
    check_error(statement.error());
    return false;
  }
  const std::string rendered = render_statement(*statement);
  const auto again = parse_statement(rendered);
  JITWG_CHECK(again && *again == *statement && render_statement(*again) == rendered);
  return true;
}

void compare(std::string_view) {}

}  // namespace jitwg::fuzz
