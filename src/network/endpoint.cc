#include <utility>

#include "network/network_impl.h"

namespace corten::network {

std::string_view to_string(Protocol protocol) {
  switch (protocol) {
    case Protocol::tcp: return "tcp";
    case Protocol::udp: return "udp";
    case Protocol::sctp: return "sctp";
  }
  return "tcp";
}

Result<Protocol> parse_protocol(std::string_view text) {
  for (const Protocol protocol : {Protocol::tcp, Protocol::udp, Protocol::sctp})
    if (text == to_string(protocol)) return protocol;
  return fail(ErrorKind::invalid, "invalid proto: {}", text);
}

Endpoint::Endpoint(Endpoint&& other) noexcept
    : network_(std::exchange(other.network_, nullptr)),
      info_(std::move(other.info_)),
      namespace_(std::move(other.namespace_)) {}

Endpoint& Endpoint::operator=(Endpoint&& other) noexcept {
  if (this == &other) return *this;
  close();
  network_ = std::exchange(other.network_, nullptr);
  info_ = std::move(other.info_);
  namespace_ = std::move(other.namespace_);
  return *this;
}

Endpoint::~Endpoint() { close(); }

Result<std::vector<PublishedPort>> Endpoint::publish(std::span<const PortRequest> requests) {
  if (!network_) return fail(ErrorKind::conflict, "the endpoint is closed");
  return network_->publish(info_, requests);
}

Result<> Endpoint::unpublish(std::span<const PublishedPort> ports) {
  if (!network_) return fail(ErrorKind::conflict, "the endpoint is closed");
  return network_->unpublish(info_, ports);
}

void Endpoint::close() {
  if (!network_) return;
  network_->end(info_);
  namespace_.reset();
  network_.reset();
}

void Endpoint::detach() {
  if (network_) network_->forget();
  namespace_.reset();
  network_.reset();
}

}  // namespace corten::network
