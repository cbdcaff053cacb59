// Internal: TLS streams. The only files that know OpenSSL are tls.cc and tls_context.cc.
#pragma once

#include <openssl/types.h>

#include <memory>
#include <span>
#include <string>

#include "base/error.h"
#include "base/unique_fd.h"
#include "http/stream.h"
#include "http/tls_config.h"

namespace corten::http {

// Certificates and settings, shared by all connections of an endpoint.
class TlsContext {
 public:
  static Result<TlsContext> for_server(const TlsServerConfig& config);
  static Result<TlsContext> for_client(const TlsClientConfig& config);
  SSL_CTX* get() const { return context_.get(); }

 private:
  explicit TlsContext(std::shared_ptr<SSL_CTX> context) : context_(std::move(context)) {}
  std::shared_ptr<SSL_CTX> context_;
};

class TlsStream final : public Stream {
 public:
  // Both do the handshake. The socket may be in blocking mode: OpenSSL is given a BIO that never blocks.
  static Result<std::unique_ptr<TlsStream>> accept(const TlsContext& context, UniqueFd fd, Deadline deadline);
  // `server_name` is a host name or an address; checked against the certificate if `verify`.
  static Result<std::unique_ptr<TlsStream>> connect(const TlsContext& context, UniqueFd fd,
                                                    const std::string& server_name, bool verify, Deadline deadline);
  ~TlsStream() override;

  Result<std::size_t> read_some(std::span<char> into, Deadline deadline) override;
  Result<> write_all(std::span<iovec> pieces, Deadline deadline) override;
  bool is_tls() const override { return true; }
  bool has_buffered() const override;
  void end_of_writing() override;

  // For a relay's poll loop: never blocks.
  struct Attempt {
    std::size_t count = 0;  // bytes moved; 0 with no events: the end of the stream
    short events = 0;       // non-zero: what to poll for before the call can go on
  };
  Result<Attempt> try_read(std::span<char> into);
  Result<Attempt> try_write(std::string_view bytes);

  // Common name of the peer's certificate if it presented one that was verified, else empty.
  std::string peer_subject() const;

 private:
  struct Deleter {
    void operator()(SSL* ssl) const;
  };
  TlsStream(UniqueFd fd, std::unique_ptr<SSL, Deleter> ssl);
  static Result<std::unique_ptr<TlsStream>> create(const TlsContext& context, UniqueFd fd);
  Result<> handshake(Deadline deadline);
  // What a call that yielded `result` needs: events to wait for, nothing at the end of stream, or an error.
  Result<Attempt> explain(int result, std::string_view what);

  std::unique_ptr<SSL, Deleter> ssl_;
  bool write_ended_ = false;
};

}  // namespace corten::http
