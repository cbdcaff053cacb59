#include "http/tls.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>

namespace corten::http {
namespace {

// A socket BIO that never raises SIGPIPE. OpenSSL's own uses write(), which would need the whole process to ignore it.
int socket_of(BIO* bio) { return static_cast<int>(reinterpret_cast<std::intptr_t>(BIO_get_data(bio))); }

int bio_write(BIO* bio, const char* bytes, int count) {
  BIO_clear_retry_flags(bio);
  const auto written = ::send(socket_of(bio), bytes, static_cast<std::size_t>(count), MSG_NOSIGNAL | MSG_DONTWAIT);
  if (written < 0 && (errno == EAGAIN || errno == EINTR)) BIO_set_retry_write(bio);
  return static_cast<int>(written);
}

int bio_read(BIO* bio, char* into, int count) {
  BIO_clear_retry_flags(bio);
  const auto received = ::recv(socket_of(bio), into, static_cast<std::size_t>(count), MSG_DONTWAIT);
  if (received < 0 && (errno == EAGAIN || errno == EINTR)) BIO_set_retry_read(bio);
  return static_cast<int>(received);
}

long bio_control(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

BIO_METHOD* socket_method() {
  static BIO_METHOD* const method = [] {
    BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "corten socket");
    BIO_meth_set_write(made, bio_write);
    BIO_meth_set_read(made, bio_read);
    BIO_meth_set_ctrl(made, bio_control);
    return made;
  }();
  return method;
}

bool is_address(const std::string& host) {
  std::array<unsigned char, sizeof(in6_addr)> parsed{};
  return ::inet_pton(AF_INET, host.c_str(), parsed.data()) == 1 ||
         ::inet_pton(AF_INET6, host.c_str(), parsed.data()) == 1;
}

}  // namespace

void TlsStream::Deleter::operator()(SSL* ssl) const { SSL_free(ssl); }

TlsStream::TlsStream(UniqueFd fd, std::unique_ptr<SSL, Deleter> ssl) : Stream(std::move(fd)), ssl_(std::move(ssl)) {}

TlsStream::~TlsStream() { end_of_writing(); }

Result<std::unique_ptr<TlsStream>> TlsStream::create(const TlsContext& context, UniqueFd fd) {
  std::unique_ptr<SSL, Deleter> ssl(SSL_new(context.get()));
  BIO* bio = BIO_new(socket_method());
  if (!ssl || !bio) {
    BIO_free(bio);
    return fail(ErrorKind::exhausted, "make a TLS connection: out of memory");
  }
  BIO_set_data(bio, reinterpret_cast<void*>(static_cast<std::intptr_t>(fd.get())));
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl.get(), bio, bio);
  return std::unique_ptr<TlsStream>(new TlsStream(std::move(fd), std::move(ssl)));
}

Result<std::unique_ptr<TlsStream>> TlsStream::accept(const TlsContext& context, UniqueFd fd, Deadline deadline) {
  auto stream = TRY(create(context, std::move(fd)));
  SSL_set_accept_state(stream->ssl_.get());
  CHECK(stream->handshake(deadline));
  return stream;
}

Result<std::unique_ptr<TlsStream>> TlsStream::connect(const TlsContext& context, UniqueFd fd,
                                                      const std::string& server_name, bool verify, Deadline deadline) {
  auto stream = TRY(create(context, std::move(fd)));
  SSL* ssl = stream->ssl_.get();
  const bool address = is_address(server_name);
  if (!address) SSL_set_tlsext_host_name(ssl, server_name.c_str());
  if (verify) {
    X509_VERIFY_PARAM* parameters = SSL_get0_param(ssl);
    const int set = address ? X509_VERIFY_PARAM_set1_ip_asc(parameters, server_name.c_str())
                            : X509_VERIFY_PARAM_set1_host(parameters, server_name.c_str(), server_name.size());
    if (set != 1) return fail(ErrorKind::invalid, "\"{}\" cannot be a TLS server's name", server_name);
  }
  SSL_set_connect_state(ssl);
  CHECK(stream->handshake(deadline));
  return stream;
}

Result<> TlsStream::handshake(Deadline deadline) {
  for (;;) {
    ERR_clear_error();
    const int result = SSL_do_handshake(ssl_.get());
    if (result == 1) return {};
    const auto attempt = TRY(explain(result, "TLS handshake"));
    if (attempt.events == 0) return fail(ErrorKind::cancelled, "TLS handshake: the peer closed the connection");
    if (TRY(wait_for(fd(), attempt.events, deadline)) == 0)
      return fail(ErrorKind::deadline, "TLS handshake: the peer did nothing for too long");
  }
}

Result<TlsStream::Attempt> TlsStream::explain(int result, std::string_view what) {
  const int saved = errno;
  switch (SSL_get_error(ssl_.get(), result)) {
    case SSL_ERROR_WANT_READ: return Attempt{.events = POLLIN};
    case SSL_ERROR_WANT_WRITE: return Attempt{.events = POLLOUT};
    case SSL_ERROR_ZERO_RETURN: return Attempt{};
    case SSL_ERROR_SYSCALL:
      return fail(ErrorKind::cancelled, "{}: {}", what, saved ? errno_text(saved) : "connection lost");
    default: break;
  }
  const long verdict = SSL_get_verify_result(ssl_.get());
  if (verdict != X509_V_OK && !SSL_is_init_finished(ssl_.get()) && SSL_get_verify_mode(ssl_.get()) != SSL_VERIFY_NONE) {
    ERR_clear_error();
    return fail(ErrorKind::unavailable, "{}: failed to verify certificate: {}", what,
                X509_verify_cert_error_string(verdict));
  }
  const unsigned long code = ERR_peek_error();
  const int reason = ERR_GET_REASON(code);
  const char* text = ERR_reason_error_string(code);
  ERR_clear_error();
  if (reason == SSL_R_UNEXPECTED_EOF_WHILE_READING) return fail(ErrorKind::cancelled, "{}: connection lost", what);
  // That is "HTTP/1.1 400 …" in place of a handshake. Another protocol would look the same, but who speaks one here?
  if (reason == SSL_R_WRONG_VERSION_NUMBER && SSL_is_server(ssl_.get()) == 0)
    return fail(ErrorKind::unavailable, "{}: server gave HTTP response to HTTPS client", what);
  const auto kind = reason == SSL_R_HTTP_REQUEST ? ErrorKind::invalid : ErrorKind::unavailable;
  return fail(kind, "{}: {}", what, text ? text : "protocol error");
}

Result<TlsStream::Attempt> TlsStream::try_read(std::span<char> into) {
  ERR_clear_error();
  errno = 0;
  std::size_t count = 0;
  const int result = SSL_read_ex(ssl_.get(), into.data(), into.size(), &count);
  if (result == 1) return Attempt{.count = count};
  return explain(result, "read from the TLS peer");
}

Result<TlsStream::Attempt> TlsStream::try_write(std::string_view bytes) {
  ERR_clear_error();
  errno = 0;
  std::size_t count = 0;
  const int result = SSL_write_ex(ssl_.get(), bytes.data(), bytes.size(), &count);
  if (result == 1) return Attempt{.count = count};
  return explain(result, "write to the TLS peer");
}

Result<std::size_t> TlsStream::read_some(std::span<char> into, Deadline deadline) {
  for (;;) {
    const auto attempt = TRY(try_read(into));
    if (attempt.events == 0) return attempt.count;
    if (TRY(wait_for(fd(), attempt.events, deadline)) == 0)
      return fail(ErrorKind::deadline, "read from the TLS peer: the peer did nothing for too long");
  }
}

Result<> TlsStream::write_all(std::span<iovec> pieces, Deadline deadline) {
  // One record for the pieces of a small message: head and body would otherwise be two packets.
  std::string joined;
  if (pieces.size() != 1)
    for (const auto& piece : pieces) joined.append(static_cast<const char*>(piece.iov_base), piece.iov_len);
  std::string_view rest = joined;
  if (pieces.size() == 1) rest = {static_cast<const char*>(pieces[0].iov_base), pieces[0].iov_len};
  while (!rest.empty()) {
    const auto attempt = TRY(try_write(rest));
    if (attempt.events == 0) {
      rest.remove_prefix(attempt.count);
    } else if (TRY(wait_for(fd(), attempt.events, deadline)) == 0) {
      return fail(ErrorKind::deadline, "write to the TLS peer: the peer did nothing for too long");
    }
  }
  return {};
}

bool TlsStream::has_buffered() const { return SSL_has_pending(ssl_.get()) == 1; }

void TlsStream::end_of_writing() {
  if (std::exchange(write_ended_, true) || !SSL_is_init_finished(ssl_.get())) return;
  ERR_clear_error();
  SSL_shutdown(ssl_.get());
  ERR_clear_error();
}

std::string TlsStream::peer_subject() const {
  if (SSL_get_verify_result(ssl_.get()) != X509_V_OK) return {};
  const std::unique_ptr<X509, decltype(&X509_free)> certificate(SSL_get1_peer_certificate(ssl_.get()), X509_free);
  if (!certificate) return {};
  X509_NAME* name = X509_get_subject_name(certificate.get());
  const int index = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
  if (index < 0) return {};
  unsigned char* text = nullptr;
  const int length = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, index)));
  if (length < 0) return {};
  std::string subject(reinterpret_cast<const char*>(text), static_cast<std::size_t>(length));
  OPENSSL_free(text);
  return subject;
}

}  // namespace corten::http
