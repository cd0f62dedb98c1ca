// Calls to the broker (broker/PROTOCOL.md). Answers are parsed strictly and believed only as news.
#pragma once

#include <chrono>
#include <map>
#include <string>

#include "broker/base/json.h"
#include "broker/cli/session_object.h"
#include "broker/transport/broker_address.h"
#include "broker/transport/http.h"
#include "ssh-ca/format/sshsig.h"

namespace jitwg::cli {

class Context;

constexpr std::chrono::seconds kCallDeadline{20};
constexpr std::chrono::seconds kActivateDeadline{
    40};  // the broker waits up to 10 s for each confirmation

// The value inside a 2xx answer; otherwise the broker's error. Also for callers with an event loop
// of their own.
Result<json::value> read_answer(const http::Response& response);

// What cannot be read in an answer is the broker's fault, not the caller's input: kind `usage`
// becomes `corrupt`.
template <typename T>
Result<T> from_broker(Result<T> result) {
  if (!result && kind(result.error().code) == Kind::usage)
    return fail(Code::corrupt, "the broker's answer cannot be read: " + result.error().message,
                "are broker and jitwg of the same version?");
  return result;
}

class Api {
 public:
  explicit Api(http::BrokerAddress broker) : broker_(std::move(broker)) {}

  Result<json::value> call(http::Request request,
                           std::chrono::milliseconds deadline = kCallDeadline) const;
  Result<json::value> get(const std::string& path, const std::string& bearer = {},
                          std::map<std::string, std::string> query = {}) const;
  // Statements: `request`, `decision` and `revoke` are answered with the session.
  Result<json::value> post_statement(const ssh::SignedDocument& document) const;

  Result<SessionObject> session(const SessionId& id, const std::string& bearer) const;

 private:
  http::BrokerAddress broker_;
};

http::Request session_request(const SessionId& id, const std::string& bearer);

// Is this the realm that the configuration pins, and is the clock right? Said before anything is
// signed or made: wrong_realm, foreign_grant (another CA). Returns policy's default duration where
// the broker tells it.
Result<Seconds> check_realm(const Context& context, const Api& api);

}  // namespace jitwg::cli
