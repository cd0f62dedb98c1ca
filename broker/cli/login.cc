#include "broker/cli/login.h"

#include "broker/base/encoding.h"
#include "broker/base/limits.h"
#include "broker/cli/context.h"
#include "broker/cli/identity.h"
#include "broker/cli/session_files.h"
#include "broker/os/file.h"

namespace jitwg::cli {
namespace {

constexpr size_t kMaxFile = 4096;
constexpr Seconds kMargin{30};  // better a signature too many than a refusal under way

Result<std::string> sign_in(const Context& context, const Api& api) {
  JITWG_TRY(check_realm(context, api));
  const std::string token = random_bytes(32);
  JITWG_ASSIGN(StatementHead head, make_head(context));
  const LoginStatement statement{std::move(head), sha256_hex(token), limits::kLoginReadFor};
  JITWG_ASSIGN(const ssh::SignedDocument document, sign_statement(context, statement));
  JITWG_ASSIGN(const json::value answer, api.post_statement(document));
  JsonObject object(answer, "login");
  const std::string until = object.string("read_until");
  if (!object.ok() || !parse_time(until))
    return fail(Code::corrupt, "the broker's answer to a login cannot be read");

  const json::object kept{{"broker", context.broker().where},
                          {"person", context.person()},
                          {"token", hex_encode(token)},
                          {"read_until", until}};
  JITWG_TRY(make_directory(context.paths().state, 0700));
  JITWG_ASSIGN(const Fd lock, lock_directory(context.paths().state));
  JITWG_TRY(write_file(context.paths().login, render_json(kept) + "\n", 0600));
  return hex_encode(token);
}

}  // namespace

std::optional<std::string> kept_login(const Context& context) {
  const auto text = read_secret_file(context.paths().login, kMaxFile);
  if (!text) return std::nullopt;
  const auto value = parse_json(*text, kMaxFile);
  if (!value) return std::nullopt;
  JsonObject object(*value, "login");
  const std::string broker = object.string("broker"), person = object.string("person"),
                    token = object.string("token");
  const auto until = parse_time(object.string("read_until"));
  if (!object.finish() || !until || *until < context.now() + kMargin) return std::nullopt;
  if (broker != context.broker().where || person != context.person()) return std::nullopt;
  return token;
}

Result<json::value> get_as_person(const Context& context, const Api& api, const std::string& path,
                                  const std::map<std::string, std::string>& query) {
  if (const auto token = kept_login(context)) {
    auto answer = api.get(path, *token, query);
    if (answer || answer.error().code != Code::bad_token) return answer;
  }
  JITWG_ASSIGN(const std::string token, sign_in(context, api));
  return api.get(path, token, query);
}

}  // namespace jitwg::cli
