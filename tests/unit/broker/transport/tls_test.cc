// Client and server over TLS: who proves what to whom, and what each says of a peer that does not.
#include <fstream>

#include "broker/transport/client.h"
#include "broker/transport/self_signed.h"
#include "tests/unit/broker/transport/http_fixture.h"

namespace jitwg::http {
namespace {

class TlsTest : public ::testing::Test {
 protected:
  void serve(ServerLimits limits = {}) {
    auto tls = make_server_tls(shown.certificate_pem, shown.key_pem);
    ASSERT_TRUE(tls) << tls.error().render();
    Fd listener = listen_on_loopback(port);
    where = "https://127.0.0.1:" + std::to_string(port);
    server = std::make_unique<Server>(
        io, std::move(listener), [this](Request request) { return answer(std::move(request)); },
        limits, std::move(*tls));
    server->start();
  }
  asio::awaitable<Answer> answer(Request request) {
    callers.push_back(request.caller);
    Answer result;
    result.response.body = request.method + " " + request.path + " " + request.body;
    co_return result;
  }
  BrokerAddress pinned() const { return {where, {*spki_pin(shown.certificate_pem)}, "", {}}; }
  std::string file(const std::string& name, const std::string& bytes) const {
    std::ofstream(directory.path() + "/" + name) << bytes;
    return directory.path() + "/" + name;
  }
  Result<Response> call(const BrokerAddress& address, std::string body = {}) {
    Client client(io, address);
    return run_awaitable(io, client.call({"POST", "/x", {}, {}, std::move(body)}, 5s));
  }

  TemporaryDirectory directory;
  asio::io_context io;
  SelfSigned shown;
  uint16_t port = 0;
  std::string where;
  std::vector<Caller> callers;
  std::unique_ptr<Server> server;
};

TEST_F(TlsTest, APinnedBrokerIsSpokenToOverOneKeptConnection) {
  serve();
  Client client(io, pinned());
  for (int i = 0; i < 3; ++i) {
    const auto response = run_awaitable(io, client.call({"POST", "/x", {}, {}, "body"}, 5s));
    ASSERT_TRUE(response) << response.error().render();
    EXPECT_EQ(response->body, "POST /x body");
  }
  ASSERT_EQ(callers.size(), 3u);
  EXPECT_FALSE(callers[0].local);
  EXPECT_FALSE(callers[0].key);
}

TEST_F(TlsTest, AnotherKeyThanThePinnedOneIsRefusedBeforeAWordIsSaid) {
  serve();
  const std::string other = *spki_pin(SelfSigned().certificate_pem);
  const auto response = call({where, {other}, "", {}});
  ASSERT_FALSE(response);
  EXPECT_EQ(response.error().code, Code::untrusted_broker);
  EXPECT_NE(response.error().message.find(*spki_pin(shown.certificate_pem)), std::string::npos);
  EXPECT_TRUE(callers.empty());
  EXPECT_TRUE(call({where, {other, *spki_pin(shown.certificate_pem)}, "", {}})) << "one of them is enough";
}

TEST_F(TlsTest, ANodeProvesItsKey) {
  serve();
  BrokerAddress address = pinned();
  address.node_key = std::make_shared<const ssh::PrivateKey>(ssh::PrivateKey::generate());
  const auto response = call(address);
  ASSERT_TRUE(response) << response.error().render();
  ASSERT_EQ(callers.size(), 1u);
  ASSERT_TRUE(callers[0].key);
  EXPECT_EQ(*callers[0].key, address.node_key->public_key());
}

TEST_F(TlsTest, AnAnchorVouchesForTheHost) {
  serve();
  const std::string anchor = file("ca.pem", shown.certificate_pem);
  EXPECT_TRUE(call({where, {}, anchor, {}}));
  const std::string other = file("other.pem", SelfSigned().certificate_pem);
  EXPECT_EQ(call({where, {}, other, {}}).error().code, Code::untrusted_broker);
  const auto renamed = call({"https://localhost:" + std::to_string(port), {}, anchor, {}});
  EXPECT_EQ(renamed.error().code, Code::untrusted_broker) << "valid for 127.0.0.1 only";
}

}  // namespace
}  // namespace jitwg::http
