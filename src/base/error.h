// Error and Result: how every call of Corten fails.
//
// An Error carries a kind (what the caller, and in the end the API's client, can do about it), the errno where a
// system call failed, and one line of text that grows outwards: each level prepends what it was doing, so the reader
// sees "start container web: mount /proc: permission denied". Result<T> is std::expected<T, Error> and, unlike an int
// or a bool, cannot be ignored without a compiler warning.
#pragma once

#include <fmt/format.h>

#include <cerrno>
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace corten {

// The closed set of failure classes. The one place that maps them to HTTP is server/http_status.cc.
enum class ErrorKind : std::uint8_t {
  internal,         // our bug or an unexpected kernel answer (500)
  invalid,          // the request is wrong in itself (400)
  unauthorized,     // who are you? (401)
  forbidden,        // known, and not allowed (403)
  not_found,        // no such object (404)
  conflict,         // the object's state does not allow it (409)
  not_modified,     // it already is as asked (304)
  exhausted,        // disk, memory, addresses, file descriptors: out of something (507 or 500)
  unavailable,      // a peer or the kernel feature is not there (503)
  not_implemented,  // this build refuses the request by design (501)
  cancelled,        // the caller went away
  deadline,         // took longer than the caller allowed (504)
};

std::string_view to_string(ErrorKind kind);

class [[nodiscard]] Error {
 public:
  Error(ErrorKind kind, std::string text, int sys_errno = 0) : kind_(kind), errno_(sys_errno), text_(std::move(text)) {}

  ErrorKind kind() const { return kind_; }
  // The errno of the system call that failed, 0 where none did.
  int sys_errno() const { return errno_; }
  // One line without a trailing full stop, outermost action first.
  const std::string& text() const { return text_; }

  // Prepends what the caller was doing: "what: text".
  Error wrap(std::string_view what) &&;
  // The same error in another class, for a level that knows better what its caller can do.
  Error as(ErrorKind kind) && {
    kind_ = kind;
    return std::move(*this);
  }

 private:
  ErrorKind kind_;
  int errno_;
  std::string text_;
};

template <class T = void>
using Result = std::expected<T, Error>;

// The kind that an errno stands for when nobody knows better (ENOENT: not_found, ENOSPC: exhausted, else internal).
ErrorKind kind_of_errno(int sys_errno);

// fail(kind, "no such container: {}", id) as a return value of any Result.
template <class... Args>
std::unexpected<Error> fail(ErrorKind kind, fmt::format_string<Args...> format, Args&&... args) {
  return std::unexpected(Error(kind, fmt::format(format, std::forward<Args>(args)...)));
}

// A system call failed: reads errno, so call it at once. sys_fail("mount {}", path) gives "mount /x: permission
// denied".
std::unexpected<Error> sys_fail_text(int sys_errno, std::string what);
template <class... Args>
std::unexpected<Error> sys_fail(fmt::format_string<Args...> format, Args&&... args) {
  const int saved = errno;
  return sys_fail_text(saved, fmt::format(format, std::forward<Args>(args)...));
}

// The text strerror would give, in lower case as Docker prints it, without its thread trouble.
std::string errno_text(int sys_errno);

// Adds context to a Result on its way out: return wrap(open(...), "read the configuration").
template <class T>
Result<T> wrap(Result<T> result, std::string_view what) {
  if (!result) return std::unexpected(std::move(result).error().wrap(what));
  return result;
}

}  // namespace corten

// auto fd = TRY(open_file(path)); returns the error to the caller, or yields the value. CHECK is the same for
// Result<void>. TRY_AS and CHECK_AS also say what was being done: CHECK_AS(mount_proc(), "mount /proc").
#define TRY(expression)                                                       \
  ({                                                                          \
    auto try_result_ = (expression);                                          \
    if (!try_result_) return std::unexpected(std::move(try_result_).error()); \
    std::move(*try_result_);                                                  \
  })
#define TRY_AS(expression, what)                                                         \
  ({                                                                                     \
    auto try_result_ = (expression);                                                     \
    if (!try_result_) return std::unexpected(std::move(try_result_).error().wrap(what)); \
    std::move(*try_result_);                                                             \
  })
#define CHECK(expression)                                                                                            \
  do {                                                                                                               \
    if (auto check_result_ = (expression); !check_result_) return std::unexpected(std::move(check_result_).error()); \
  } while (false)
#define CHECK_AS(expression, what)                                         \
  do {                                                                     \
    if (auto check_result_ = (expression); !check_result_)                 \
      return std::unexpected(std::move(check_result_).error().wrap(what)); \
  } while (false)
