// What a registry says when it refuses: the error document of the distribution specification, and Docker's words.
#pragma once

#include <string>
#include <string_view>

#include "base/error.h"

namespace corten::remote {

inline constexpr std::size_t max_problem_body = 64 << 10;

struct Problem {
  int status = 0;
  std::string code;     // "MANIFEST_UNKNOWN", empty where the body was something else
  std::string message;  // fit to be shown
  // "manifest unknown: manifest unknown", "toomanyrequests: …"; without a document "unexpected status 502 Bad Gateway".
  std::string text() const;
};

// The first error of {"errors":[{"code","message"}]}, also {"details": "…"} and OAuth's {"error","error_description"}.
Problem parse_problem(int status, std::string_view body);
// 401 unauthorized, 403 forbidden, 404 not_found, 429 and 5xx unavailable, other 4xx invalid; codes go before numbers
// below 500.
Error to_error(const Problem& problem);

}  // namespace corten::remote
