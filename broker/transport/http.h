// HTTP/1.1 requests and answers as plain values (RFC 9112), for server and client. No Beast type
// shows here.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "broker/base/error.h"
#include "ssh-ca/format/public_key.h"

namespace jitwg::http {

// What the server's connection says about who asks.
struct Caller {
  bool local = false;                 // over the Unix socket
  std::optional<ssh::PublicKey> key;  // over TLS: what it proved, if it showed a certificate
};

struct Request {
  std::string method;                        // "GET", "POST"
  std::string path;                          // decoded, without the query
  std::map<std::string, std::string> query;  // decoded
  std::string bearer;                        // of Authorization: Bearer …, or empty
  std::string body;
  Caller caller;  // set by the server
};

struct Response {
  int status = 200;
  std::string body;  // JSON
};

// {"error": {…}} with the status of the code's kind.
Response error_response(const Error& error);
// The error inside a failed answer; `bad_json` of ours when the peer sent none.
Error parse_error_response(const Response& response);

}  // namespace jitwg::http
