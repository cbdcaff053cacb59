#include "base/error.h"

#include <cctype>
#include <cstring>

namespace corten {

std::string_view to_string(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::internal: return "internal";
    case ErrorKind::invalid: return "invalid";
    case ErrorKind::unauthorized: return "unauthorized";
    case ErrorKind::forbidden: return "forbidden";
    case ErrorKind::not_found: return "not found";
    case ErrorKind::conflict: return "conflict";
    case ErrorKind::not_modified: return "not modified";
    case ErrorKind::exhausted: return "exhausted";
    case ErrorKind::unavailable: return "unavailable";
    case ErrorKind::not_implemented: return "not implemented";
    case ErrorKind::cancelled: return "cancelled";
    case ErrorKind::deadline: return "deadline exceeded";
  }
  return "unknown";
}

Error Error::wrap(std::string_view what) && {
  text_ = fmt::format("{}: {}", what, text_);
  return std::move(*this);
}

ErrorKind kind_of_errno(int sys_errno) {
  switch (sys_errno) {
    case ENOENT: return ErrorKind::not_found;
    case ENOSPC:
    case EDQUOT:
    case EMFILE:
    case ENFILE:
    case ENOMEM: return ErrorKind::exhausted;
    case ECANCELED: return ErrorKind::cancelled;
    case ETIMEDOUT: return ErrorKind::deadline;
    default: return ErrorKind::internal;
  }
}

std::string errno_text(int sys_errno) {
  char buffer[128];
  std::string text = strerror_r(sys_errno, buffer, sizeof buffer);
  // "No such file" becomes "no such file"; "RPC: …" style acronyms stay.
  if (text.size() > 1 && std::islower(static_cast<unsigned char>(text[1])))
    text[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(text[0])));
  return text;
}

std::unexpected<Error> sys_fail_text(int sys_errno, std::string what) {
  what += ": ";
  what += errno_text(sys_errno);
  return std::unexpected(Error(kind_of_errno(sys_errno), std::move(what), sys_errno));
}

}  // namespace corten
