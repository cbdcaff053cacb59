// The one place where an error becomes an HTTP answer.
#pragma once

#include "base/error.h"
#include "http/request.h"

namespace corten::server {

int http_status(ErrorKind kind);
// {"message": "…"} with the status of its kind; where the head is out already, the stream is cut.
void write_error(http::ResponseWriter& response, const Error& error);

}  // namespace corten::server
