#include "remote/problem.h"

#include <algorithm>

#include "http/headers.h"
#include "json/codec.h"
#include "remote/text.h"

namespace corten::remote {
namespace {

constexpr std::size_t max_code = 64;
constexpr std::size_t max_message = 1000;

std::string string_of(const json::Object& object, std::string_view name, std::size_t limit) {
  const auto* value = object.if_contains(name);
  if (value == nullptr || !value->is_string()) return {};
  return printable(std::string_view(value->get_string()), limit);
}

void read_document(const json::Object& object, Problem& problem) {
  if (const auto* errors = object.if_contains("errors"); errors != nullptr && errors->is_array()) {
    const auto& list = errors->get_array();
    if (list.empty() || !list[0].is_object()) return;
    problem.code = string_of(list[0].get_object(), "code", max_code);
    problem.message = string_of(list[0].get_object(), "message", max_message);
    return;
  }
  problem.code = string_of(object, "error", max_code);
  problem.message = string_of(object, "error_description", max_message);
  if (problem.message.empty()) problem.message = string_of(object, "details", max_message);
}

ErrorKind kind_of_status(int status) {
  switch (status) {
    case 401: return ErrorKind::unauthorized;
    case 403: return ErrorKind::forbidden;
    case 404:
    case 410: return ErrorKind::not_found;
    case 405:
    case 501: return ErrorKind::not_implemented;
    case 408:
    case 429: return ErrorKind::unavailable;
    default: break;
  }
  return status / 100 == 4 ? ErrorKind::invalid : ErrorKind::unavailable;
}

}  // namespace

std::string Problem::text() const {
  if (code.empty()) {
    if (status == 429) return "toomanyrequests: the registry asks to come back later";
    if (status == 401) return "unauthorized: authentication required";
    if (status == 403) return "denied: requested access to the resource is denied";
    return fmt::format("unexpected status {} {}{}{}", status, http::reason_phrase(status), message.empty() ? "" : ": ",
                       message);
  }
  auto words = lower(code);
  std::ranges::replace(words, '_', ' ');
  return message.empty() ? words : words + ": " + message;
}

Problem parse_problem(int status, std::string_view body) {
  Problem problem{.status = status, .code = {}, .message = {}};
  if (body.size() > max_problem_body) return problem;
  const auto value = json::parse(body);
  if (value && value->is_object()) read_document(value->get_object(), problem);
  return problem;
}

Error to_error(const Problem& problem) {
  auto kind = kind_of_status(problem.status);
  if (problem.status / 100 == 5) return {kind, problem.text()};
  if (problem.code == "DENIED") kind = ErrorKind::forbidden;
  if (problem.code == "UNAUTHORIZED") kind = ErrorKind::unauthorized;
  if (problem.code == "TOOMANYREQUESTS") kind = ErrorKind::unavailable;
  for (const auto* unknown : {"MANIFEST_UNKNOWN", "NAME_UNKNOWN", "BLOB_UNKNOWN", "BLOB_UPLOAD_UNKNOWN"})
    if (problem.code == unknown) kind = ErrorKind::not_found;
  return {kind, problem.text()};
}

}  // namespace corten::remote
