#include <openssl/err.h>
#include <openssl/ssl.h>

#include "http/tls.h"

namespace corten::http {
namespace {

// The innermost reason OpenSSL left behind, with the queue emptied.
std::string last_reason() {
  std::string reason = "unknown reason";
  while (const unsigned long code = ERR_get_error())
    if (const char* text = ERR_reason_error_string(code)) reason = text;
  return reason;
}

Result<std::shared_ptr<SSL_CTX>> new_context(const SSL_METHOD* method) {
  std::shared_ptr<SSL_CTX> context(SSL_CTX_new(method), SSL_CTX_free);
  if (!context) return fail(ErrorKind::internal, "make a TLS context: {}", last_reason());
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_mode(context.get(),
                   SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
  return context;
}

Result<> use_key_pair(SSL_CTX* context, const std::string& certificate, const std::string& key) {
  if (SSL_CTX_use_certificate_chain_file(context, certificate.c_str()) != 1)
    return fail(ErrorKind::invalid, "read the TLS certificate {}: {}", certificate, last_reason());
  if (SSL_CTX_use_PrivateKey_file(context, key.c_str(), SSL_FILETYPE_PEM) != 1)
    return fail(ErrorKind::invalid, "read the TLS key {}: {}", key, last_reason());
  if (SSL_CTX_check_private_key(context) != 1)
    return fail(ErrorKind::invalid, "the TLS key {} does not belong to the certificate {}", key, certificate);
  return {};
}

Result<> trust(SSL_CTX* context, const std::string& ca_file) {
  if (SSL_CTX_load_verify_locations(context, ca_file.c_str(), nullptr) != 1)
    return fail(ErrorKind::invalid, "read the certificate authority {}: {}", ca_file, last_reason());
  return {};
}

// We speak HTTP/1.1 only; a client that offers no protocol we know goes on without.
int choose_protocol(SSL*, const unsigned char** out, unsigned char* out_length, const unsigned char* in,
                    unsigned in_length, void*) {
  static constexpr unsigned char offered[] = "\x08http/1.1";
  unsigned char* chosen = nullptr;
  if (SSL_select_next_proto(&chosen, out_length, offered, sizeof offered - 1, in, in_length) != OPENSSL_NPN_NEGOTIATED)
    return SSL_TLSEXT_ERR_NOACK;
  *out = chosen;
  return SSL_TLSEXT_ERR_OK;
}

}  // namespace

Result<TlsContext> TlsContext::for_server(const TlsServerConfig& config) {
  auto context = TRY(new_context(TLS_server_method()));
  CHECK(use_key_pair(context.get(), config.certificate_file, config.key_file));
  SSL_CTX_set_num_tickets(context.get(), 0);  // clients of a daemon do not resume sessions
  SSL_CTX_set_alpn_select_cb(context.get(), choose_protocol, nullptr);
  if (config.verify_client) {
    if (config.ca_file.empty())
      return fail(ErrorKind::invalid, "verifying TLS clients needs a certificate authority (tlscacert)");
    CHECK(trust(context.get(), config.ca_file));
    SSL_CTX_set_client_CA_list(context.get(), SSL_load_client_CA_file(config.ca_file.c_str()));
    SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  }
  return TlsContext(std::move(context));
}

Result<TlsContext> TlsContext::for_client(const TlsClientConfig& config) {
  auto context = TRY(new_context(TLS_client_method()));
  if (!config.certificate_file.empty()) CHECK(use_key_pair(context.get(), config.certificate_file, config.key_file));
  if (!config.ca_file.empty()) {
    CHECK(trust(context.get(), config.ca_file));
  } else if (config.verify_server && SSL_CTX_set_default_verify_paths(context.get()) != 1) {
    return fail(ErrorKind::unavailable, "read the system's certificate authorities: {}", last_reason());
  }
  for (const auto& file : config.extra_ca_files) CHECK(trust(context.get(), file));
  SSL_CTX_set_verify(context.get(), config.verify_server ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nullptr);
  return TlsContext(std::move(context));
}

}  // namespace corten::http
