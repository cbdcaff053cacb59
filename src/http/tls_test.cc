#include <fcntl.h>
#include <gmock/gmock.h>

#include <cstdlib>
#include <future>
#include <thread>

#include "http/client.h"
#include "http/server.h"
#include "http/test_support.h"

namespace corten::http {
namespace {

using namespace std::chrono_literals;
using test::TestServer;
using testing::HasSubstr;
using testing::StartsWith;

// A certificate authority, a server certificate for 127.0.0.1 and "hub.test", a client certificate, and a stranger's.
class Certificates {
 public:
  Certificates() {
    authority("ca");
    authority("other-ca");
    issue("server", "ca", "subjectAltName=IP:127.0.0.1,DNS:hub.test");
    issue("client", "ca", "extendedKeyUsage=clientAuth");
    issue("stranger", "other-ca", "extendedKeyUsage=clientAuth");
  }
  std::string cert(const std::string& name) const { return directory_.file(name + ".pem"); }
  std::string key(const std::string& name) const { return directory_.file(name + ".key"); }

 private:
  void run(const std::string& command) { EXPECT_EQ(std::system((command + " 2>/dev/null").c_str()), 0) << command; }
  void authority(const std::string& name) {
    run(fmt::format(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN={} -keyout {} -out {}",
        name, key(name), cert(name)));
  }
  void issue(const std::string& name, const std::string& issuer, const std::string& extension) {
    const auto csr = directory_.file(name + ".csr");
    run(fmt::format(
        "openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN={} -addext {} -keyout {} -out {}",
        name, extension, key(name), csr));
    run(fmt::format("openssl x509 -req -in {} -CA {} -CAkey {} -CAcreateserial -copy_extensions copy -days 2 -out {}",
                    csr, cert(issuer), key(issuer), cert(name)));
  }
  test::ScratchDirectory directory_;
};

class Tls : public testing::Test {
 protected:
  static void SetUpTestSuite() { certificates_ = std::make_unique<Certificates>(); }
  static void TearDownTestSuite() { certificates_.reset(); }

  static TlsServerConfig server_config(bool verify) {
    return {.certificate_file = certificates_->cert("server"),
            .key_file = certificates_->key("server"),
            .ca_file = certificates_->cert("ca"),
            .verify_client = verify};
  }
  static std::unique_ptr<Client> client(std::uint16_t port, const std::string& identity, const std::string& ca = "ca",
                                        const std::string& server_name = "") {
    TlsClientConfig config{.ca_file = certificates_->cert(ca), .server_name = server_name};
    if (!identity.empty()) {
      config.certificate_file = certificates_->cert(identity);
      config.key_file = certificates_->key(identity);
    }
    return *Client::create({.host = "127.0.0.1", .port = port, .tls = config});
  }
  static inline std::unique_ptr<Certificates> certificates_;
};

void tell_subject(Request& request, ResponseWriter& writer) {
  EXPECT_EQ(request.peer.transport, Transport::tls);
  static_cast<void>(writer.write_all(200, request.peer.tls_subject + *request.read_all(), "text/plain"));
}

TEST_F(Tls, LetsOnlyVerifiedClientsIn) {
  TestServer server(tell_subject);
  const auto port = server.listen_tcp(server_config(true));
  auto known = client(port, "client");
  for (int i = 0; i < 3; ++i) {
    auto response = known->send(test::get("/"));
    ASSERT_TRUE(response) << response.error().text();
    EXPECT_EQ(*response->read_all(), "client");
  }
  for (const auto* identity : {"", "stranger"}) {
    auto response = client(port, identity)->send(test::get("/"));
    ASSERT_FALSE(response) << identity;
    EXPECT_EQ(response.error().kind(), ErrorKind::unavailable) << response.error().text();
  }
}

TEST_F(Tls, TakesAnyClientWithoutVerification) {
  TestServer server(tell_subject);
  const auto port = server.listen_tcp(server_config(false));
  const std::string big(3'000'000, 'b');
  EXPECT_EQ(*client(port, "")->send(test::post("/", big))->read_all(), big);
}

TEST_F(Tls, CarriesAFile) {
  const test::ScratchDirectory directory;
  const std::string bytes = std::string(700'000, 'a') + std::string(700'000, 'b');
  const UniqueFd file(::open(directory.file("f").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  ASSERT_EQ(::write(file.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  TestServer server(tell_subject);
  const auto port = server.listen_tcp(server_config(false));
  ClientRequest request = test::post("/", "");
  request.body_file = file.get();
  request.body_offset = 1000;
  request.body_length = bytes.size() - 1000;
  EXPECT_EQ(*client(port, "")->send(request)->read_all(), bytes.substr(1000));
}

TEST_F(Tls, ChecksTheServersCertificate) {
  TestServer server(tell_subject);
  const auto port = server.listen_tcp(server_config(false));
  EXPECT_TRUE(client(port, "", "ca", "hub.test")->send(test::get("/")));
  const auto wrong_name = client(port, "", "ca", "other.test")->send(test::get("/"));
  ASSERT_FALSE(wrong_name);
  EXPECT_THAT(wrong_name.error().text(), HasSubstr("certificate"));
  const auto wrong_ca = client(port, "", "other-ca")->send(test::get("/"));
  ASSERT_FALSE(wrong_ca);
  EXPECT_THAT(wrong_ca.error().text(), HasSubstr("failed to verify certificate"));
}

TEST_F(Tls, TellsPlainClientsWhatThisPortIs) {
  TestServer server(tell_subject);
  const auto port = server.listen_tcp(server_config(true));
  const auto fd = test::connect_tcp(port);
  test::send_text(fd.get(), "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(test::read_to_end(fd.get()), HasSubstr("Client sent an HTTP request to an HTTPS server."));
}

TEST_F(Tls, SaysThatAServerSpeaksPlainHttp) {
  TestServer server(tell_subject);
  const auto answer = client(server.listen_tcp(), "")->send(test::get("/"));
  ASSERT_FALSE(answer);
  EXPECT_THAT(answer.error().text(), HasSubstr("server gave HTTP response to HTTPS client"));
  EXPECT_EQ(answer.error().kind(), ErrorKind::unavailable);
}

TEST_F(Tls, SurvivesGarbage) {
  TestServer server(tell_subject, {.head_timeout = 100ms});
  const auto port = server.listen_tcp(server_config(true));
  for (const auto* garbage : {"\x16\x03\x01\xff\xff garbage that is no handshake at all", "\x16", ""}) {
    const auto fd = test::connect_tcp(port);
    test::send_text(fd.get(), garbage);
    test::read_to_end(fd.get());  // closed by the server, at the latest by its time-out
  }
  EXPECT_TRUE(client(port, "client")->send(test::get("/")));
}

TEST_F(Tls, HandsOverThroughARelay) {
  std::promise<HijackedConnection> promise;
  TestServer server([&](Request& request, ResponseWriter& writer) {
    static_cast<void>(request.read_all());
    promise.set_value(*writer.hijack("application/vnd.docker.raw-stream"));
  });
  const auto port = server.listen_tcp(server_config(true));
  auto request = test::post("/attach", "{}");
  request.upgrade = "tcp";
  auto response = client(port, "client")->send(request);
  ASSERT_TRUE(response) << response.error().text();
  EXPECT_EQ(response->status(), 101);
  auto mine = *response->hijack();
  auto theirs = promise.get_future().get();
  EXPECT_TRUE(theirs.is_tls);
  EXPECT_EQ(server.server().statistics().relays, 1u);

  test::send_text(mine.fd.get(), "stdin");
  EXPECT_EQ(test::read_until(theirs.fd.get(), "stdin"), "stdin");
  ::shutdown(mine.fd.get(), SHUT_WR);
  EXPECT_EQ(test::read_to_end(theirs.fd.get()), "");
  const std::string output(4 << 20, 'o');
  std::thread writer([&] {
    test::send_text(theirs.fd.get(), output);
    theirs.fd.reset();
  });
  EXPECT_EQ(test::read_to_end(mine.fd.get()), output);
  writer.join();
  mine.fd.reset();
  while (server.server().statistics().relays > 0) std::this_thread::yield();
}

TEST_F(Tls, CutsRelaysAtShutdown) {
  std::promise<HijackedConnection> promise;
  TestServer server([&](Request&, ResponseWriter& writer) { promise.set_value(*writer.hijack("")); });
  const auto port = server.listen_tcp(server_config(false));
  auto request = test::post("/attach", "");
  request.upgrade = "tcp";
  auto response = client(port, "")->send(request);
  auto mine = *response->hijack();
  auto theirs = promise.get_future().get();
  EXPECT_TRUE(server.server().shutdown(1s));
  EXPECT_EQ(test::read_to_end(mine.fd.get()), "");
  EXPECT_EQ(test::read_to_end(theirs.fd.get()), "");
}

// A proxy that knows CONNECT only: joins the two connections byte by byte.
TEST_F(Tls, GoesThroughATunnel) {
  TestServer server(tell_subject);
  const auto port = server.listen_tcp(server_config(true));
  const UniqueFd listening(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(::listen(listening.get(), 1), 0);  // binds to a free port
  const auto address = format_address(*local_address(listening.get()));
  std::thread proxy([&] {
    const UniqueFd inner(::accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC));
    EXPECT_THAT(test::read_until(inner.get(), "\r\n\r\n"),
                StartsWith(fmt::format("CONNECT 127.0.0.1:{} HTTP/1.1\r\n", port)));
    test::send_text(inner.get(), "HTTP/1.1 200 Connection established\r\n\r\n");
    const auto outer = test::connect_tcp(port);
    const auto pump = [](int from, int to) {
      char piece[4096];
      for (ssize_t count; (count = ::recv(from, piece, sizeof piece, 0)) > 0;)
        test::send_text(to, {piece, static_cast<std::size_t>(count)});
      ::shutdown(to, SHUT_WR);
    };
    std::thread back([&] { pump(outer.get(), inner.get()); });
    pump(inner.get(), outer.get());
    back.join();
  });
  {
    TlsClientConfig config{.ca_file = certificates_->cert("ca"),
                           .certificate_file = certificates_->cert("client"),
                           .key_file = certificates_->key("client")};
    const auto proxy_port = static_cast<std::uint16_t>(std::stoi(address.substr(address.rfind(':') + 1)));
    auto through = *Client::create({.host = "127.0.0.1",
                                    .port = port,
                                    .tls = config,
                                    .proxy = ProxyConfig{.host = "127.0.0.1", .port = proxy_port}});
    auto response = through->send(test::get("/"));
    ASSERT_TRUE(response) << response.error().text();
    EXPECT_EQ(*response->read_all(), "client");
  }
  proxy.join();
}

TEST_F(Tls, NamesTheFileThatDoesNotDo) {
  auto server = *Server::create({}, tell_subject);
  const auto listen = [&](TlsServerConfig config) {
    const auto result = server->listen(TcpEndpoint{.host = "127.0.0.1", .port = 0, .tls = config});
    return result ? std::string() : result.error().text();
  };
  auto config = server_config(true);
  config.certificate_file = "/nonexistent.pem";
  EXPECT_THAT(listen(config), HasSubstr("/nonexistent.pem"));
  config = server_config(true);
  config.key_file = certificates_->key("client");
  EXPECT_THAT(listen(config), HasSubstr("client.key"));
  config = server_config(true);
  config.ca_file.clear();
  EXPECT_THAT(listen(config), HasSubstr("certificate authority"));
}

TEST_F(Tls, TrustsFurtherAuthoritiesBesideTheSystems) {
  TestServer server(tell_subject);
  const auto port = server.listen_tcp(server_config(false));
  const auto client = *Client::create(
      {.host = "127.0.0.1",
       .port = port,
       .tls = TlsClientConfig{.extra_ca_files = {certificates_->cert("other-ca"), certificates_->cert("ca")}}});
  EXPECT_TRUE(client->send(test::get("/")));
  const auto stranger = *Client::create(
      {.host = "127.0.0.1", .port = port, .tls = TlsClientConfig{.extra_ca_files = {certificates_->cert("other-ca")}}});
  EXPECT_FALSE(stranger->send(test::get("/")));
  EXPECT_FALSE(Client::create(
      {.host = "127.0.0.1", .port = port, .tls = TlsClientConfig{.extra_ca_files = {certificates_->key("ca")}}}));
}

}  // namespace
}  // namespace corten::http
