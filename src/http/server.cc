#include "http/server.h"

#include "http/server_core.h"

namespace corten::http {

Result<std::unique_ptr<Server>> Server::create(ServerOptions options, Handler handler) {
  if (!handler) return fail(ErrorKind::invalid, "a server needs a handler");
  if (options.max_connections == 0) return fail(ErrorKind::invalid, "a server needs at least one connection");
  return std::unique_ptr<Server>(new Server(std::make_shared<ServerCore>(std::move(options), std::move(handler))));
}

Server::Server(std::shared_ptr<ServerCore> core) : core_(std::move(core)) {}

Server::~Server() { static_cast<void>(shutdown(std::chrono::milliseconds(0))); }

Result<> Server::listen(const UnixEndpoint& endpoint) {
  std::vector<Listener> listeners;
  listeners.push_back(TRY(Listener::on_unix(endpoint)));
  return core_->add_listeners(std::move(listeners));
}

Result<> Server::listen(const TcpEndpoint& endpoint) { return core_->add_listeners(TRY(Listener::on_tcp(endpoint))); }

Result<> Server::listen(UniqueFd listening) {
  std::vector<Listener> listeners;
  listeners.push_back(TRY(Listener::adopt(std::move(listening))));
  return core_->add_listeners(std::move(listeners));
}

std::vector<std::string> Server::addresses() const { return core_->addresses(); }

Result<> Server::start() { return core_->start(); }

Result<> Server::shutdown(std::chrono::milliseconds grace) { return core_->shutdown(grace); }

Server::Statistics Server::statistics() const { return core_->statistics(); }

}  // namespace corten::http
