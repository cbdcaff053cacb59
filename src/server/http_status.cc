#include "server/http_status.h"

#include "json/codec.h"

namespace corten::server {

int http_status(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::internal: return 500;
    case ErrorKind::invalid: return 400;
    case ErrorKind::unauthorized: return 401;
    case ErrorKind::forbidden: return 403;
    case ErrorKind::not_found: return 404;
    case ErrorKind::conflict: return 409;
    case ErrorKind::not_modified: return 304;
    case ErrorKind::exhausted: return 500;
    case ErrorKind::unavailable: return 503;
    case ErrorKind::not_implemented: return 501;
    case ErrorKind::cancelled: return 499;
    case ErrorKind::deadline: return 504;
  }
  return 500;
}

void write_error(http::ResponseWriter& response, const Error& error) {
  if (response.head_sent()) {
    response.fail_stream();
    return;
  }
  const int status = http_status(error.kind());
  // A failure to write means that nobody is there to be told.
  if (status == 304) {
    (void)response.write_empty(status);
    return;
  }
  const json::Object body{{"message", error.text()}};
  (void)response.write_all(status, json::write(body) + "\n");
}

}  // namespace corten::server
