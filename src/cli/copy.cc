#include "cli/copy.h"

#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/files.h"
#include "cli/json_get.h"

namespace corten::cli {
namespace {

constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

Result<std::string> decode_base64(std::string_view text) {
  std::string out;
  std::uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    if (c == '=') break;
    const auto value = alphabet.find(c == '-' ? '+' : c == '_' ? '/' : c);
    if (value == std::string_view::npos) return fail(ErrorKind::invalid, "the daemon's path information is not base64");
    bits = bits << 6 | static_cast<std::uint32_t>(value);
    count += 6;
    if (count >= 8) {
      count -= 8;
      out += static_cast<char>(bits >> count & 0xff);
    }
  }
  return out;
}

// Directory and last step of a path; "/x/." has the step ".", "/x/" the step "x".
std::pair<std::string, std::string> split_path(std::string path) {
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  const auto slash = path.rfind('/');
  if (slash == std::string::npos) return {".", path};
  return {slash == 0 ? "/" : path.substr(0, slash), path.substr(slash + 1)};
}

bool asserts_directory(std::string_view path) {
  return path.empty() || path.ends_with('/') || path == "." || path.ends_with("/.");
}

}  // namespace

Result<ContainerPath> decode_path_stat(std::string_view base64) {
  const std::string text = TRY(decode_base64(base64));
  const json::Value stat = TRY(json::parse(text));
  const auto mode = static_cast<std::uint64_t>(number_at(stat, "mode"));
  // Go's file mode bits.
  constexpr std::uint64_t directory = 1U << 31;
  constexpr std::uint64_t link = 1U << 27;
  constexpr std::pair<std::uint64_t, std::string_view> specials[] = {
      {1U << 26, "a device"}, {1U << 19, "an irregular file"}, {1U << 24, "a socket"}, {1U << 25, "a named pipe"}};
  ContainerPath path{.name = text_at(stat, "name"), .link_target = text_at(stat, "linkTarget")};
  path.is_directory = (mode & directory) != 0;
  path.is_link = (mode & link) != 0;
  for (const auto& [bit, what] : specials) {
    if (path.special.empty() && (mode & bit) != 0) path.special = what;
  }
  return path;
}

Result<ContainerPath> stat_in_container(client::Client& client, std::string_view container, std::string_view path) {
  const auto response = TRY(client.stream("HEAD", fmt::format("/containers/{}/archive", client::path_part(container)),
                                          {{"path", std::string(path)}}));
  return decode_path_stat(response.headers().get("X-Docker-Container-Path-Stat").value_or(""));
}

std::string link_destination(std::string_view link, std::string_view target) {
  if (target.starts_with('/')) return std::string(target);
  return split_path(std::string(link)).first + "/" + std::string(target);
}

Result<CopyNames> copy_names(const CopyEnd& source, const CopyEnd& destination) {
  if (destination.exists && destination.is_directory) return CopyNames{destination.path, "", ""};
  const std::string source_name = split_path(source.path).second;
  auto [directory, name] = split_path(destination.path);
  if (destination.exists && source.is_directory) return fail(ErrorKind::invalid, "cannot copy directory");
  if (!destination.exists && !source.is_directory && asserts_directory(destination.path)) {
    return fail(ErrorKind::not_found, "no such directory");
  }
  return CopyNames{std::move(directory), source_name, std::move(name)};
}

Result<> check_local_destination(const std::string& path) {
  const std::string directory = split_path(path).first;
  struct stat info{};
  if (::stat(directory.c_str(), &info) != 0) {
    return fail(ErrorKind::not_found, "invalid output path: directory \"{}\" does not exist", absolute_path(directory));
  }
  if (::stat(path.c_str(), &info) == 0 && !S_ISDIR(info.st_mode) && !S_ISREG(info.st_mode)) {
    const std::string_view what = S_ISFIFO(info.st_mode)   ? "a named pipe"
                                  : S_ISSOCK(info.st_mode) ? "a socket"
                                                           : "a device";
    return fail(ErrorKind::invalid, "invalid output path: \"{}\" must be a directory or a regular file: got {}",
                absolute_path(path), what);
  }
  return {};
}

Result<std::uint64_t> extract_copy(http::ClientResponse& response, const CopyEnd& source,
                                   const std::string& destination, TransferMeter& meter) {
  CopyEnd end{.path = destination};
  struct stat info{};
  if (::stat(destination.c_str(), &info) == 0) {
    end.exists = true;
    end.is_directory = S_ISDIR(info.st_mode);
  }
  const CopyNames names = TRY(copy_names(source, end));
  TarExtractor extractor = TRY(TarExtractor::create(names.directory, names.old_name, names.new_name));
  std::string chunk(64 << 10, '\0');
  std::uint64_t total = 0;
  for (;;) {
    const std::size_t count = TRY(response.read(std::as_writable_bytes(std::span(chunk))));
    if (count == 0) break;
    total += count;
    meter.add(count);
    CHECK(extractor.feed(std::string_view(chunk).substr(0, count)));
  }
  CHECK(extractor.finish());
  return total;
}

Result<LocalCopy> prepare_local_source(const std::string& path, bool follow_link, const CopyEnd& destination) {
  struct stat info{};
  const bool follow = follow_link || path.ends_with('/') || path.ends_with("/.");
  if ((follow ? ::stat(path.c_str(), &info) : ::lstat(path.c_str(), &info)) != 0)
    return sys_fail("lstat {}", absolute_path(path));
  CopyEnd source{.path = path, .exists = true, .is_directory = S_ISDIR(info.st_mode)};
  std::string disk_path = path;
  if (follow && !path.ends_with("/.")) {
    const std::unique_ptr<char, decltype(&::free)> real(::realpath(path.c_str(), nullptr), ::free);
    if (real == nullptr) return sys_fail("resolve {}", path);
    disk_path = real.get();
  }
  if (path == "." || path == "..") {
    const std::unique_ptr<char, decltype(&::free)> real(::realpath(path.c_str(), nullptr), ::free);
    if (real == nullptr) return sys_fail("resolve {}", path);
    if (path == "..") source.path = real.get();
    disk_path = real.get();
  }
  const CopyNames names = TRY(copy_names(source, destination));
  const std::string own_name = split_path(source.path).second;
  LocalCopy copy{.directory = names.directory, .tar = nullptr};
  copy.tar = TRY(TarSource::create(disk_path, names.new_name.empty() ? own_name : names.new_name));
  return copy;
}

}  // namespace corten::cli
