#include <thread>
#include <vector>

#include "broker/base/json.h"
#include "broker/transport/client.h"
#include "broker/transport/self_signed.h"
#include "tests/unit/broker/transport/http_fixture.h"

namespace jitwg::http {
namespace {

class ListedLines final : public LineSource {
 public:
  ListedLines(asio::io_context& io, std::vector<std::string> lines, bool ends)
      : never_(io, asio::steady_timer::time_point::max()), lines_(std::move(lines)), ends_(ends) {}
  asio::awaitable<std::optional<std::string>> next() override {
    if (at_ < lines_.size()) co_return lines_[at_++];
    if (!ends_) co_await never_.async_wait(asio::use_awaitable);
    co_return std::nullopt;
  }

 private:
  asio::steady_timer never_;
  std::vector<std::string> lines_;
  size_t at_ = 0;
  bool ends_;
};

// Over each of both transports: what HTTP does is to be the same.
class ClientTest : public ::testing::TestWithParam<bool> {
 protected:
  void serve(ServerLimits limits = {}) {
    server = std::make_unique<Server>(
        io, listen(), [this](Request request) { return answer(std::move(request)); }, limits,
        is_tls() ? *make_server_tls(shown.certificate_pem, shown.key_pem) : nullptr);
    server->start();
  }
  bool is_tls() const { return GetParam(); }
  Fd listen() {
    if (!is_tls()) {
      where = {"unix:" + path};
      return listen_at(path);
    }
    Fd listener = listen_on_loopback(port);
    where = {"https://127.0.0.1:" + std::to_string(port), {*spki_pin(shown.certificate_pem)}};
    return listener;
  }

  asio::awaitable<Answer> answer(Request request) {
    ++answered;
    Answer result;
    if (request.path == "/stream") {
      result.stream = std::make_shared<ListedLines>(io, lines, request.query.contains("ends"));
    } else if (request.path == "/refuse") {
      result.response = error_response({Code::wrong_node, "not you", "who?"});
    } else if (request.path == "/hang") {
      asio::steady_timer never(io, asio::steady_timer::time_point::max());
      co_await never.async_wait(asio::use_awaitable);
    } else {
      result.response.body =
          request.method + " " + request.path + " " + request.bearer + " " + request.body;
    }
    co_return result;
  }

  Result<Response> call(Client& client, const std::string& target, std::string body = {},
                        std::chrono::milliseconds deadline = 5s) {
    Request request{body.empty() ? "GET" : "POST", target, {}, "tok", std::move(body)};
    return run_awaitable(io, client.call(std::move(request), deadline));
  }
  Result<void> open(Client& client, const std::string& target, bool ends = false) {
    Request request{"POST", target, {}, {}, "{}"};
    if (ends) request.query["ends"] = "1";
    return run_awaitable(io, client.open_stream(std::move(request), 5s));
  }
  Result<std::string> next(Client& client, std::chrono::milliseconds deadline = 5s) {
    return run_awaitable(io, client.next_line(deadline));
  }

  TemporaryDirectory directory;
  const std::string path = directory.path() + "/s";
  const SelfSigned shown;
  uint16_t port = 0;
  BrokerAddress where{"unix:" + path};
  asio::io_context io;
  std::vector<std::string> lines;
  int answered = 0;
  std::unique_ptr<Server> server;
};

// What only a Unix socket has, or is easier shown without TLS around it.
using UnixClientTest = ClientTest;

TEST_P(ClientTest, CallsAndCallsAgain) {
  serve();
  Client client(io, where);
  for (int i = 0; i < 3; ++i) {
    const auto response = call(client, "/a b", "body");
    ASSERT_TRUE(response) << response.error().render();
    EXPECT_EQ(response->status, 200);
    EXPECT_EQ(response->body, "POST /a b tok body");
  }
  EXPECT_EQ(call(client, "/x")->body, "GET /x tok ");
}

TEST_P(ClientTest, AKeptConnectionClosedMeanwhileIsReplaced) {
  ServerLimits limits;
  limits.idle = 20ms;
  limits.linger = 1ms;
  serve(limits);
  Client client(io, where);
  ASSERT_TRUE(call(client, "/1"));
  asio::steady_timer later(io, 100ms);
  bool passed = false;
  later.async_wait([&](auto) { passed = true; });
  ASSERT_TRUE(turn_until(io, [&] { return passed; }));
  const auto response = call(client, "/2");
  ASSERT_TRUE(response) << response.error().render();
  EXPECT_EQ(answered, 2);
}

TEST_P(ClientTest, ServerGoneIsUnavailable) {
  listen();  // where somebody was once
  Client client(io, where);
  EXPECT_EQ(call(client, "/").error().code, Code::broker_unavailable);
  serve();
  ASSERT_TRUE(call(client, "/"));
  server->stop();
  const auto response = call(client, "/");
  ASSERT_FALSE(response);
  EXPECT_EQ(response.error().code, Code::broker_unavailable);
  EXPECT_NE(response.error().message.find(where.where), std::string::npos);
  serve();
  EXPECT_TRUE(call(client, "/")) << "it connects again once the server is back";
}

TEST_P(UnixClientTest, AnAnswerThatStoppedInTheMiddleIsNotAskedForAgain) {
  const Fd listener = listen_at(path);
  Client client(io, where);
  std::optional<Result<Response>> result;
  asio::co_spawn(
      io, client.call({"GET", "/", {}, {}, {}}, 5s),
      [&](const std::exception_ptr&, Result<Response> answer) { result = std::move(answer); });
  Fd accepted;
  ASSERT_TRUE(turn_until(io, [&] {
    accepted.reset(::accept(listener.get(), nullptr, nullptr));
    return accepted.valid();
  }));
  RawPeer peer(std::move(accepted));
  peer.send("HTTP/1.1 200 OK\r\nContent-Len");
  peer.half_close();
  ASSERT_TRUE(turn_until(io, [&] { return result.has_value(); }));
  EXPECT_EQ(result->error().code, Code::broker_unavailable);
  EXPECT_LT(::accept(listener.get(), nullptr, nullptr), 0);
}

TEST_P(ClientTest, DeadlinesHold) {
  serve();
  Client client(io, where);
  const auto response = call(client, "/hang", {}, 30ms);
  ASSERT_FALSE(response);
  EXPECT_EQ(response.error().code, Code::broker_unavailable);
  EXPECT_TRUE(call(client, "/x"));
}

TEST_P(UnixClientTest, AFullBacklogIsWaitedForNotTakenForAConnection) {
  Fd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const sockaddr_un address = unix_address(path);
  ASSERT_EQ(::bind(listener.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(::listen(listener.get(), 0), 0);
  RawPeer fills_it(path);
  Client client(io, where);
  const auto response = call(client, "/", {}, 50ms);
  ASSERT_FALSE(response);
  EXPECT_EQ(response.error().code, Code::broker_unavailable);
}

TEST_P(ClientTest, TooLargeComesBackAsTheServersAnswer) {
  serve();
  Client client(io, where);
  const auto response = call(client, "/", std::string(5 << 20, 'x'));
  ASSERT_TRUE(response) << response.error().render();
  EXPECT_EQ(response->status, 413);
  EXPECT_EQ(parse_error_response(*response).code, Code::too_large);
  EXPECT_TRUE(call(client, "/x"));
}

TEST_P(UnixClientTest, WhereIsUnderstoodOrRefused) {
  for (const char* wrong : {"", "unix:", "/run/x", "http://x", "tcp:1"}) {
    Client client(io, BrokerAddress{wrong});
    EXPECT_EQ(call(client, "/").error().code, Code::bad_argument) << wrong;
  }
  Client endless(io, BrokerAddress{"unix:/" + std::string(200, 'x')});
  EXPECT_EQ(call(endless, "/").error().code, Code::bad_argument);
}

TEST_P(ClientTest, StreamsLinesWhateverTheirSize) {
  serve();
  lines = {"{}", "", std::string(3 << 20, 'y'), "last"};
  Client client(io, where);
  ASSERT_TRUE(open(client, "/stream", true));
  for (const std::string& line : lines) {
    const auto got = next(client);
    ASSERT_TRUE(got) << got.error().render();
    EXPECT_TRUE(*got == line) << got->size();
  }
  EXPECT_EQ(next(client).error().code, Code::broker_unavailable);
  EXPECT_EQ(next(client).error().code, Code::broker_unavailable) << "over stays over";
  EXPECT_TRUE(call(client, "/x")) << "the client is usable again";
}

TEST_P(ClientTest, ASilentStreamAndALostOneAreUnavailable) {
  serve();
  lines = {"one"};
  Client client(io, where);
  ASSERT_TRUE(open(client, "/stream"));
  EXPECT_EQ(*next(client), "one");
  const auto silent = next(client, 30ms);
  ASSERT_FALSE(silent);
  EXPECT_EQ(silent.error().code, Code::broker_unavailable);
  EXPECT_NE(silent.error().message.find("silent"), std::string::npos);

  ASSERT_TRUE(open(client, "/stream"));
  EXPECT_EQ(*next(client), "one");
  server->stop();
  EXPECT_EQ(next(client).error().code, Code::broker_unavailable);
}

TEST_P(ClientTest, ARefusedStreamIsTheServersError) {
  serve();
  Client client(io, where);
  const auto opened = open(client, "/refuse");
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Code::wrong_node);
  EXPECT_EQ(opened.error().hint, "who?");
}

TEST_P(ClientTest, CallOnceNeedsNoLoopOfTheCallers) {
  serve();
  std::optional<Result<Response>> result;
  std::atomic<bool> done = false;
  std::thread other([&] {
    result = call_once(where, {"GET", "/x", {}, {}, {}}, 5s);
    done = true;
  });
  EXPECT_TRUE(turn_until(io, [&] { return done.load(); }));
  other.join();
  ASSERT_TRUE(*result);
  EXPECT_EQ((*result)->body, "GET /x  ");
  EXPECT_EQ(
      call_once({"unix:" + directory.path() + "/none"}, {"GET", "/x", {}, {}, {}}, 5s).error().code,
      Code::broker_unavailable);
}

INSTANTIATE_TEST_SUITE_P(Over, ClientTest, ::testing::Bool(),
                         [](const auto& over) { return over.param ? "Tls" : "UnixSocket"; });
INSTANTIATE_TEST_SUITE_P(Over, UnixClientTest, ::testing::Values(false));

}  // namespace
}  // namespace jitwg::http
