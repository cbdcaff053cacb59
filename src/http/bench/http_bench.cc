// What one request costs over a unix socket: keep-alive on one connection, a connection for each, a hijack for each.
// Build: ninja http_bench (not part of "all").
#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "http/client.h"
#include "http/server.h"

namespace {

using namespace corten;
using namespace corten::http;

template <class Body>
void measure(const char* name, int count, Body body) {
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < count; ++i) body();
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  fmt::print("{:<28} {:8.0f} requests/s {:8.1f} us each\n", name, count / seconds.count(),
             seconds.count() / count * 1e6);
}

template <class T>
T must(Result<T> result) {
  if (result) return std::move(*result);
  fmt::print(stderr, "{}\n", result.error().text());
  std::exit(1);
}

}  // namespace

int main() {
  const std::string path = fmt::format("/tmp/corten-http-bench-{}.sock", ::getpid());
  auto server = must(Server::create({}, [](Request& request, ResponseWriter& writer) {
    if (request.path == "/hijack") {
      static_cast<void>(writer.hijack("application/vnd.docker.raw-stream"));
    } else {
      static_cast<void>(writer.write_all(200, "{\"Id\":\"0123456789abcdef\",\"Warnings\":[]}\n"));
    }
  }));
  if (!server->listen(UnixEndpoint{.path = path}) || !server->start()) return 1;

  ClientRequest request;
  request.method = "POST";
  request.target = "/v1.51/containers/create?name=web";
  request.body = "{\"Image\":\"nginx\"}";
  auto client = must(Client::create({.unix_path = path}));
  measure("keep-alive", 50'000, [&] { must(must(client->send(request)).read_all()); });
  measure("new connection each", 20'000, [&] {
    auto fresh = must(Client::create({.unix_path = path}));
    must(must(fresh->send(request)).read_all());
  });
  request.target = "/hijack";
  request.upgrade = "tcp";
  measure("hijack each", 20'000, [&] { must(must(client->send(request)).hijack()); });
  return 0;
}
