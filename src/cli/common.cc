#include "cli/common.h"

#include <poll.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <ctime>
#include <optional>
#include <thread>

#include "base/id.h"
#include "cli/terminal.h"
#include "cli/units.h"

namespace corten::cli {
namespace {

constexpr std::size_t most_at_once = 16;

}  // namespace

Outcome for_each(Context& context, const std::vector<std::string>& names,
                 const std::function<Result<>(client::Client&, const std::string& name)>& action,
                 bool missing_is_fine) {
  client::Client& client = *TRY(context.client());
  std::vector<std::optional<Result<>>> results(names.size());
  // The first one alone: it also settles the API's version.
  results[0] = action(client, names[0]);
  std::atomic<std::size_t> next{1};
  const auto work = [&] {
    for (std::size_t i; (i = next++) < names.size();) results[i] = action(client, names[i]);
  };
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 2; i < names.size() && threads.size() + 1 < most_at_once; ++i) threads.emplace_back(work);
    work();
  }
  int code = 0;
  std::vector<const Error*> errors;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const Result<>& result = *results[i];
    if (result) {
      context.print_line(names[i]);
    } else if (missing_is_fine && result.error().kind() == ErrorKind::not_found) {
      context.report(result.error());
    } else {
      errors.push_back(&result.error());
    }
  }
  for (const Error* error : errors) {
    context.report(*error);
    code = 1;
  }
  return done(code);
}

std::string filters_json(const std::vector<std::string>& given) {
  if (given.empty()) return {};
  client::Filters filters;
  for (const auto& text : given) {
    if (text.empty()) continue;
    const auto equals = text.find('=');
    std::string name = text.substr(0, equals);
    while (!name.empty() && name.back() == ' ') name.pop_back();
    for (char& c : name) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c + 32 : c);
    std::string value = equals == std::string::npos ? "" : text.substr(equals + 1);
    filters.emplace_back(std::move(name), std::move(value));
  }
  return client::encode_filters(filters);
}

Result<bool> confirm(Context& context, std::string_view question) {
  context.print(question);
  CHECK(context.flush());
  std::string line;
  char c = 0;
  while (line.size() < 1024 && ::read(context.in(), &c, 1) == 1 && c != '\n') line += c;
  while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
  return line == "y" || line == "Y";
}

Result<> copy_body(http::ClientResponse& response, int fd, TransferMeter* meter) {
  std::string chunk(1 << 20, '\0');
  for (;;) {
    const std::size_t count = TRY(response.read(std::as_writable_bytes(std::span(chunk))));
    if (count == 0) return {};
    CHECK(write_all(fd, std::string_view(chunk).substr(0, count)));
    if (meter != nullptr) meter->add(count);
  }
}

http::BodySource body_from(int fd, TransferMeter* meter) {
  return [fd, meter](std::span<std::byte> into) -> Result<std::size_t> {
    for (;;) {
      const ssize_t count = ::read(fd, into.data(), into.size());
      if (count >= 0) {
        if (meter != nullptr && count > 0) meter->add(static_cast<std::uint64_t>(count));
        return static_cast<std::size_t>(count);
      }
      if (errno == EAGAIN) {
        pollfd wait{fd, POLLIN, 0};
        ::poll(&wait, 1, -1);
      } else if (errno != EINTR) {
        return sys_fail("read");
      }
    }
  };
}

client::Client::Upload upload_from(int fd, TransferMeter* meter) {
  const off_t at = ::lseek(fd, 0, SEEK_CUR);
  const auto size = file_size(fd);
  // Some of the kernel's files have a content and no size.
  if (at < 0 || !size || *size <= static_cast<std::uint64_t>(at)) return {.source = body_from(fd, meter)};
  const auto offset = static_cast<std::uint64_t>(at);
  return {.length = *size - offset,
          .file = fd,
          .offset = offset,
          .progress = [meter, told = std::uint64_t{0}](std::uint64_t sent) mutable {
            if (meter != nullptr) meter->add(sent - std::exchange(told, sent));
          }};
}

std::string go_time(std::int64_t seconds) {
  const std::time_t time = seconds;
  std::tm parts{};
  ::localtime_r(&time, &parts);
  char buffer[64];
  const std::size_t length = std::strftime(buffer, sizeof buffer, "%Y-%m-%d %H:%M:%S %z %Z", &parts);
  return {buffer, length};
}

std::string local_rfc3339_fixed(std::int64_t nanoseconds) {
  const std::time_t time = nanoseconds / 1'000'000'000;
  std::tm parts{};
  ::localtime_r(&time, &parts);
  char buffer[64];
  const std::size_t length = std::strftime(buffer, sizeof buffer, "%Y-%m-%dT%H:%M:%S", &parts);
  std::string out(buffer, length);
  out += fmt::format(".{:09}", nanoseconds % 1'000'000'000);
  if (parts.tm_gmtoff == 0) return out + "Z";
  const long offset = parts.tm_gmtoff < 0 ? -parts.tm_gmtoff : parts.tm_gmtoff;
  return out + fmt::format("{}{:02}:{:02}", parts.tm_gmtoff < 0 ? '-' : '+', offset / 3600, offset % 3600 / 60);
}

std::string since(std::int64_t seconds) {
  const auto then = std::chrono::seconds(seconds);
  return human_duration(now().time_since_epoch() - then);
}

std::string truncate_id(std::string_view id) {
  if (const auto colon = id.find(':'); colon != std::string_view::npos) id.remove_prefix(colon + 1);
  return std::string(id.substr(0, 12));
}

std::string join(const std::vector<std::string>& parts, std::string_view separator) {
  std::string out;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (i > 0) out += separator;
    out += parts[i];
  }
  return out;
}

}  // namespace corten::cli
