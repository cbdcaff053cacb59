// Internal: writes the answer to one request.
#pragma once

#include <cstdint>
#include <string>

#include "http/body_reader.h"
#include "http/connection.h"
#include "http/head.h"
#include "http/request.h"

namespace corten::http {

// The request's body, with "100 Continue" sent when somebody first asks for it.
class ConnectionBody final : public RequestBody {
 public:
  ConnectionBody(ServerConnection& connection, const RequestHead& head);
  Result<std::size_t> read(std::span<std::byte> into) override;
  std::stop_token stop_token() override { return connection_.watched_stop_token(); }

  bool at_end() const { return reader_.at_end(); }
  // Whether the rest is small enough to be read and dropped so that the connection can go on.
  bool worth_draining() const;
  Result<> drain();

 private:
  ServerConnection& connection_;
  BodyReader reader_;
  bool continue_pending_;
};

class Responder final : public ResponseWriter {
 public:
  Responder(ServerConnection& connection, const RequestHead& head, ConnectionBody& body);

  Result<> write_all(int status, std::string_view body, std::string_view content_type) override;
  Result<> write_empty(int status) override;
  Result<> begin_stream(int status, std::string_view content_type) override;
  Result<> begin_stream(int status, std::string_view content_type, std::uint64_t length) override;
  Result<> write(std::string_view bytes) override;
  // On a plain connection, with a length announced, from the file to the socket without passing through us.
  Result<> write_file(int fd, std::uint64_t offset, std::uint64_t count) override;
  void fail_stream() override;
  Result<HijackedConnection> hijack(std::string_view content_type) override;
  Result<HijackedConnection> hijack_websocket(bool text) override;

  bool hijacked() const { return hijacked_; }
  // After the handler: ends a stream, answers for a handler that did not. True: another request may follow.
  bool finish();

 private:
  enum class Mode : std::uint8_t { none, complete, chunked, counted, until_close };
  Result<> claim(int status, Mode mode);
  // Status line and fields up to the empty line.
  std::string make_head(std::string_view content_type, std::string_view framing);
  Result<> begin(int status, std::string_view content_type, Mode mode, std::string_view framing);
  // With a stream the client sets the pace, for ever if it likes; a whole answer has a time.
  Result<> send(std::initializer_list<std::string_view> pieces, Deadline deadline = Deadline::never());
  // The request is answered with what is not HTTP any more.
  Result<> begin_hijack(int status);

  ServerConnection& connection_;
  const RequestHead& request_;
  ConnectionBody& body_;
  Mode mode_ = Mode::none;
  std::uint64_t remaining_ = 0;  // with Mode::counted
  bool keep_alive_;
  bool broken_ = false;
  bool hijacked_ = false;
};

// {"message": "..."} as the Engine API answers errors.
std::string error_body(std::string_view message);
// The value of a Date field: "Tue, 15 Nov 1994 08:12:31 GMT".
std::string http_date();

}  // namespace corten::http
