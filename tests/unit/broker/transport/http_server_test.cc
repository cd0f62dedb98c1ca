#include <sys/resource.h>

#include <vector>

#include "broker/transport/server.h"
#include "tests/unit/broker/transport/http_fixture.h"

namespace jitwg::http {
namespace {

// Says what the test tells it to, then nothing until cancelled or woken.
class ScriptedSource final : public LineSource {
 public:
  ScriptedSource(asio::io_context& io, std::vector<std::string> lines, bool ends, int& alive)
      : never_(io, asio::steady_timer::time_point::max()),
        lines_(std::move(lines)),
        ends_(ends),
        alive_(alive) {
    ++alive_;
  }
  ~ScriptedSource() override { --alive_; }
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
  int& alive_;
};

class ServerTest : public ::testing::Test {
 protected:
  void serve(ServerLimits limits = {}) {
    server = std::make_unique<Server>(
        io, listen_at(path), [this](Request request) { return answer(std::move(request)); },
        limits);
    server->start();
  }

  asio::awaitable<Answer> answer(Request request) {
    requests.push_back(request);
    Answer result;
    if (request.path == "/stream" || request.path == "/short-stream") {
      result.stream =
          std::make_shared<ScriptedSource>(io, lines, request.path == "/short-stream", sources);
    } else if (request.path == "/hang") {
      asio::steady_timer never(io, asio::steady_timer::time_point::max());
      ++hanging;
      const auto leave = std::shared_ptr<int>(&hanging, [](int* count) { --*count; });
      co_await never.async_wait(asio::use_awaitable);
    } else if (request.path == "/throw") {
      throw std::runtime_error("broken promise");
    } else {
      result.response.body = "{\"path\":\"" + request.path + "\"}";
    }
    co_return result;
  }

  testing::AssertionResult ends(RawPeer& peer) {
    if (turn_until(io, [&] { return peer.ended(); })) return testing::AssertionSuccess();
    return testing::AssertionFailure() << "still open; received: " << peer.received();
  }
  testing::AssertionResult gets(RawPeer& peer, const std::string& word) {
    if (turn_until(io, [&] { return peer.contains(word) || peer.ended(); }) && peer.contains(word))
      return testing::AssertionSuccess();
    return testing::AssertionFailure() << "no " << word << " in: " << peer.received();
  }

  TemporaryDirectory directory;
  const std::string path = directory.path() + "/s";
  asio::io_context io;
  std::vector<Request> requests;
  std::vector<std::string> lines;
  int sources = 0;
  int hanging = 0;
  std::unique_ptr<Server> server;
};

TEST_F(ServerTest, AnswersAndKeepsTheConnection) {
  serve();
  RawPeer peer(path);
  peer.send(
      "POST /a%20b?k=v HTTP/1.1\r\nHost: x\r\nAuthorization: bearer abc\r\nContent-Length: "
      "4\r\n\r\nbody");
  ASSERT_TRUE(gets(peer, "{\"path\":\"/a b\"}"));
  EXPECT_TRUE(peer.contains("HTTP/1.1 200 OK\r\n"));
  peer.send(get("/second"));
  EXPECT_TRUE(gets(peer, "/second"));
  ASSERT_EQ(requests.size(), 2u);
  EXPECT_EQ(requests[0].method, "POST");
  EXPECT_EQ(requests[0].query.at("k"), "v");
  EXPECT_EQ(requests[0].bearer, "abc");
  EXPECT_EQ(requests[0].body, "body");
  EXPECT_EQ(requests[1].bearer, "");
}

TEST_F(ServerTest, PipelinedRequestsAreAnsweredInOrder) {
  serve();
  RawPeer peer(path);
  peer.send(get("/1") + get("/2") + get("/3"));
  ASSERT_TRUE(gets(peer, "/3"));
  EXPECT_LT(peer.received().find("/1"), peer.received().find("/2"));
  EXPECT_LT(peer.received().find("/2"), peer.received().find("/3"));
}

TEST_F(ServerTest, HeadGetsNoBody) {
  serve();
  RawPeer peer(path);
  peer.send("HEAD /x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  peer.half_close();
  ASSERT_TRUE(ends(peer));
  EXPECT_TRUE(peer.contains("Content-Length: 13\r\n"));
  EXPECT_TRUE(peer.received().ends_with("\r\n\r\n"));
}

TEST_F(ServerTest, BodyOverTheLimitIsTooLarge) {
  serve();
  RawPeer announced(path);
  announced.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 65537\r\n\r\n" +
                 std::string(65537, 'x'));
  EXPECT_TRUE(gets(announced, "\"code\":\"too_large\""));
  EXPECT_TRUE(announced.contains("HTTP/1.1 413 "));
  RawPeer chunked(path);
  chunked.send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n10001\r\n" +
               std::string(0x10001, 'x') + "\r\n0\r\n\r\n");
  EXPECT_TRUE(gets(chunked, "\"code\":\"too_large\""));
  RawPeer header(path);
  header.send("GET / HTTP/1.1\r\nHost: x\r\nX: " + std::string(16384, 'x') + "\r\n\r\n");
  EXPECT_TRUE(gets(header, "\"code\":\"too_large\""));
  EXPECT_TRUE(requests.empty());
}

TEST_F(ServerTest, BodyAtTheLimitIsTaken) {
  serve();
  RawPeer peer(path);
  peer.send("POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 65536\r\n\r\n" +
            std::string(65536, 'x'));
  EXPECT_TRUE(gets(peer, "200 OK"));
}

TEST_F(ServerTest, WhatIsNoHttpIsAnsweredAndClosed) {
  serve();
  for (const std::string& bytes :
       {std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11),
        std::string("hello\r\n\r\n"), std::string("GET / HTTP/1.1\r\n\r\n"),
        std::string("GET / HTTP/1.0\r\nHost: x\r\n\r\n"), get("/a?b=1&b=2"), get("/%zz"),
        get("relative"), std::string("GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n"),
        std::string("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n"
                    "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        std::string("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n")}) {
    RawPeer peer(path);
    peer.send(bytes);
    EXPECT_TRUE(gets(peer, "{\"error\":{\"code\":")) << bytes;
    EXPECT_TRUE(peer.contains("HTTP/1.1 400 ")) << bytes;
    peer.half_close();
    EXPECT_TRUE(ends(peer)) << bytes;
  }
  EXPECT_TRUE(requests.empty());
}

TEST_F(ServerTest, AnotherAuthorizationThanOneBearerIsRefused) {
  serve();
  for (const char* header : {"Authorization: Basic eDp5\r\n",
                             "Authorization: Bearer a\r\nAuthorization: Bearer b\r\n"}) {
    RawPeer peer(path);
    peer.send("GET / HTTP/1.1\r\nHost: x\r\n" + std::string(header) + "\r\n");
    EXPECT_TRUE(gets(peer, "bad_token"));
    EXPECT_TRUE(peer.contains("HTTP/1.1 401 "));
  }
  EXPECT_TRUE(requests.empty());
}

TEST_F(ServerTest, HalfRequestIsRefused) {
  serve();
  for (const char* bytes :
       {"GET / HT", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc"}) {
    RawPeer peer(path);
    peer.send(bytes);
    peer.half_close();
    EXPECT_TRUE(gets(peer, "ended in the middle"));
    EXPECT_TRUE(ends(peer));
  }
  EXPECT_TRUE(requests.empty());
}

TEST_F(ServerTest, SlowHeaderBodyAndIdlenessAreCut) {
  ServerLimits limits;
  limits.header = limits.body = limits.idle = 30ms;
  serve(limits);
  for (const char* bytes :
       {"", "GET / HT", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc"}) {
    RawPeer peer(path);
    peer.send(bytes);
    EXPECT_TRUE(ends(peer)) << bytes;
  }
  EXPECT_TRUE(requests.empty());
}

TEST_F(ServerTest, TwoHundredAreServedWhileOneHangsAndOneDribbles) {
  serve();
  RawPeer hangs(path), dribbles(path);
  hangs.send(get("/hang"));
  dribbles.send("GET ");
  std::vector<std::unique_ptr<RawPeer>> peers;
  for (int i = 0; i < 200; ++i) {
    peers.push_back(std::make_unique<RawPeer>(path));
    peers.back()->send(get("/n"));
  }
  for (const auto& peer : peers) EXPECT_TRUE(gets(*peer, "200 OK"));
  EXPECT_EQ(hanging, 1);
  EXPECT_EQ(hangs.received(), "");
}

TEST_F(ServerTest, AtTheLimitIdlersMakeRoomAndTheBusyStay) {
  ServerLimits limits;
  limits.connections = 2;
  serve(limits);
  RawPeer busy(path), idle(path);
  busy.send(get("/hang"));
  ASSERT_TRUE(turn_until(io, [&] { return hanging == 1; }));
  RawPeer third(path);
  third.send(get("/hang"));
  ASSERT_TRUE(turn_until(io, [&] { return hanging == 2; }));
  EXPECT_TRUE(ends(idle));
  RawPeer fourth(path);
  ASSERT_TRUE(gets(fourth, "too_many_requests"));
  EXPECT_TRUE(ends(fourth));
  EXPECT_EQ(hanging, 2);
}

TEST_F(ServerTest, AtTheLimitDribblersMakeRoom) {
  ServerLimits limits;
  limits.connections = 2;
  serve(limits);
  RawPeer first(path), second(path);
  first.send("GET / HTTP/1.1\r\nHost: x\r\n");
  second.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc");
  RawPeer honest(path);
  honest.send(get("/served"));
  EXPECT_TRUE(gets(honest, "/served"));
  EXPECT_TRUE(ends(first));
}

TEST_F(ServerTest, OutOfDescriptorsItBacksOffAndGoesOn) {
  serve();
  RawPeer peer(path);
  peer.send(get("/late"));
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none{3, before.rlim_max};  // everything open stays so, nothing new opens
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  const bool served = [&] {
    for (int i = 0; i < 5; ++i) {
      io.restart();
      io.run_one_for(10ms);
    }
    return !requests.empty();
  }();
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_FALSE(served);
  EXPECT_TRUE(gets(peer, "/late"));
}

TEST_F(ServerTest, StreamsLinesInChunks) {
  serve();
  lines = {"{\"a\":1}", std::string(300000, 'x'), "last"};
  RawPeer peer(path);
  peer.send(get("/short-stream"));
  ASSERT_TRUE(gets(peer, "\r\n0\r\n\r\n"));
  EXPECT_TRUE(peer.contains("Transfer-Encoding: chunked\r\n"));
  EXPECT_TRUE(peer.contains("\r\n\r\n8\r\n{\"a\":1}\n\r\n493e1\r\nxx"));
  EXPECT_TRUE(peer.contains("\r\n5\r\nlast\n\r\n0\r\n\r\n"));
  EXPECT_TRUE(turn_until(io, [&] { return sources == 0; }));
}

TEST_F(ServerTest, ASilentStreamOutlivesEveryDeadline) {
  ServerLimits limits;
  limits.stall = limits.header = limits.body = limits.idle = 30ms;
  serve(limits);
  lines = {"one"};
  RawPeer peer(path);
  peer.send(get("/stream"));
  ASSERT_TRUE(gets(peer, "one\n"));
  bool passed = false;
  asio::steady_timer later(io, 200ms);
  later.async_wait([&](auto) { passed = true; });
  ASSERT_TRUE(turn_until(io, [&] { return passed; }));
  EXPECT_EQ(sources, 1);
  EXPECT_FALSE(peer.ended());
}

TEST_F(ServerTest, ASilentStreamsSourceGoesWithItsPeer) {
  serve();
  lines = {"one"};
  RawPeer peer(path);
  peer.send(get("/stream"));
  ASSERT_TRUE(gets(peer, "one\n"));
  ASSERT_EQ(sources, 1);
  peer.close();
  EXPECT_TRUE(turn_until(io, [&] { return sources == 0; }));
}

TEST_F(ServerTest, APeerThatDoesNotReadItsStreamIsCut) {
  ServerLimits limits;
  limits.stall = 50ms;
  serve(limits);
  lines.assign(100, std::string(100000, 'x'));
  RawPeer peer(path);
  peer.send(get("/stream"));
  ASSERT_TRUE(turn_until(io, [&] { return sources == 1; }));
  EXPECT_TRUE(turn_until(io, [&] { return sources == 0; }));
}

TEST_F(ServerTest, AHandlerThatThrowsCostsOnlyItsConnection) {
  serve();
  RawPeer peer(path);
  peer.send(get("/throw"));
  EXPECT_TRUE(ends(peer));
  RawPeer next(path);
  next.send(get("/x"));
  EXPECT_TRUE(gets(next, "200 OK"));
}

TEST_F(ServerTest, StopEndsWaitingHandlersAndStreams) {
  serve();
  RawPeer stream(path), waiting(path), idle(path);
  stream.send(get("/stream"));
  waiting.send(get("/hang"));
  ASSERT_TRUE(turn_until(io, [&] { return sources == 1 && hanging == 1; }));
  server->stop();
  EXPECT_TRUE(turn_until(io, [&] { return sources == 0 && hanging == 0; }));
  EXPECT_TRUE(ends(stream));
  EXPECT_TRUE(ends(waiting));
  EXPECT_TRUE(ends(idle));
}

TEST_F(ServerTest, TheLoopMayGoWhileAllIsInProgress) {
  int gone_sources = 0;
  auto own = std::make_unique<asio::io_context>();
  auto own_server =
      std::make_unique<Server>(*own, listen_at(path), [&](Request) -> asio::awaitable<Answer> {
        Answer result;
        result.stream = std::make_shared<ScriptedSource>(*own, std::vector<std::string>{"x"}, false,
                                                         gone_sources);
        co_return result;
      });
  own_server->start();
  RawPeer peer(path), idle(path);
  peer.send(get("/"));
  ASSERT_TRUE(turn_until(*own, [&] { return peer.contains("x\n"); }));
  own_server.reset();
  own.reset();
  EXPECT_EQ(gone_sources, 0);
  EXPECT_TRUE(peer.ended());
}

}  // namespace
}  // namespace jitwg::http
