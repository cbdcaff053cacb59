#include "cli/build_context.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>

#include "base/text.h"
#include "cli/build_specs.h"
#include "cli/files.h"
#include "cli/tar_format.h"
#include "context/sync.h"
#include "json/codec.h"

namespace corten::cli {
namespace {

constexpr std::size_t max_dockerfile = 4 << 20;
constexpr std::string_view default_dockerfile = "Dockerfile";

bool is_directory(const std::string& path) {
  struct stat info{};
  return ::stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}
bool exists(const std::string& path) {
  struct stat info{};
  return ::stat(path.c_str(), &info) == 0;
}

// Up to `limit` bytes, fewer only at the end.
Result<std::string> read_head(int fd, std::size_t limit) {
  std::string out(limit, '\0');
  std::size_t have = 0;
  while (have < limit) {
    const ssize_t count = ::read(fd, out.data() + have, limit - have);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return sys_fail("read standard input");
    if (count == 0) break;
    have += static_cast<std::size_t>(count);
  }
  out.resize(have);
  return out;
}

Result<std::string> rest_of_dockerfile(int fd, std::string head) {
  if (head.size() <= max_dockerfile) head += TRY_AS(read_all(fd, max_dockerfile), "the Dockerfile on standard input");
  if (head.size() > max_dockerfile)
    return fail(ErrorKind::invalid, "the Dockerfile on standard input is larger than {} bytes", max_dockerfile);
  return head;
}

// "./docker/../Dockerfile" as the messages call it.
std::string shown_name(const std::string& path, const std::string& folder) {
  const std::string whole = absolute_path(path), base = absolute_path(folder) + "/";
  return whole.starts_with(base) ? whole.substr(base.size()) : path;
}

// What a missing Dockerfile could have been meant to be.
std::string other_dockerfile(const std::string& folder) {
  for (const char* name : {"dockerfile", "Containerfile", "DockerFile"})
    if (::access((folder + "/" + name).c_str(), R_OK) == 0) return name;
  return {};
}

struct DockerfileFound {
  std::string path;  // "" where it was on standard input
  std::string name, text;
};

Result<DockerfileFound> read_dockerfile(Context& context, const std::string& folder, const std::string& file) {
  if (file == "-")
    return DockerfileFound{
        .path = {}, .name = std::string(default_dockerfile), .text = TRY(rest_of_dockerfile(context.in(), ""))};
  if (source_kind(file) == SourceKind::url)
    return fail(ErrorKind::not_implemented, "a Dockerfile from a URL is not supported: pipe it to -f - instead");
  std::string path = file.empty() ? folder + "/" + std::string(default_dockerfile) : file;
  const std::string name = shown_name(path, folder);
  struct stat info{};
  if (::stat(path.c_str(), &info) != 0) {
    const int number = errno;
    std::string hint = file.empty() && number == ENOENT ? other_dockerfile(folder) : std::string();
    if (hint == "dockerfile") return read_dockerfile(context, folder, folder + "/dockerfile");
    if (!hint.empty()) hint = fmt::format(" (there is {0}: -f {0})", hint);
    return fail(kind_of_errno(number), "failed to read dockerfile: open {}: {}{}", name, errno_text(number), hint);
  }
  if (S_ISDIR(info.st_mode))
    return fail(ErrorKind::invalid, "failed to read dockerfile: read {}: is a directory", name);
  std::string text = TRY_AS(read_file(path, max_dockerfile), "failed to read dockerfile");
  return DockerfileFound{.path = std::move(path), .name = name, .text = std::move(text)};
}

// The first of the files that is there; none ignores nothing.
Result<context::Ignore> read_ignore(const std::vector<std::string>& files) {
  for (const std::string& file : files) {
    if (!exists(file)) continue;
    return context::Ignore::parse(TRY(read_file(file, context::max_ignore_bytes)), file);
  }
  return context::Ignore();
}

Result<> find_folder(Context& context, const std::string& where, const std::string& file, BuildInput& input,
                     spec::BuildRequest& request) {
  if (!is_directory(where))
    return fail(ErrorKind::invalid, "unable to prepare context: context must be a directory: {}", absolute_path(where));
  input.kind = BuildInput::Kind::folder;
  input.folder.path = where;
  DockerfileFound found = TRY(read_dockerfile(context, where, file));
  std::vector<std::string> ignores;
  if (!found.path.empty()) ignores.push_back(found.path + ".dockerignore");
  ignores.push_back(where + "/.dockerignore");
  input.folder.ignore = TRY(read_ignore(ignores));
  request.dockerfile_name = std::move(found.name);
  request.dockerfile_text = input.dockerfile_text = std::move(found.text);
  request.explain_label = absolute_path(where) + "#" + request.dockerfile_name;
  return {};
}

// A tar or a Dockerfile.
Result<> find_standard_input(Context& context, const std::string& file, BuildInput& input,
                             spec::BuildRequest& request) {
  if (file == "-")
    return fail(ErrorKind::invalid, "invalid argument: can't use stdin for both build context and dockerfile");
  std::string head = TRY(read_head(context.in(), tar::block_size));
  request.explain_label = request.tags.empty() ? "-" : "-#" + request.tags[0].substr(0, request.tags[0].rfind(':'));
  if (looks_like_archive(head)) {
    input.kind = BuildInput::Kind::tar;
    input.tar_head = std::move(head);
    request.dockerfile = file;
    return {};
  }
  if (trim(head).empty()) return fail(ErrorKind::invalid, "unable to prepare context: standard input is empty");
  if (!file.empty())
    return fail(ErrorKind::invalid, "ambiguous Dockerfile source: both stdin and flag correspond to Dockerfiles");
  if (head.find('\0') != std::string::npos)
    return fail(ErrorKind::invalid,
                "unable to prepare context: standard input is neither a tar archive nor a Dockerfile");
  request.dockerfile_name = default_dockerfile;
  request.dockerfile_text = input.dockerfile_text = TRY(rest_of_dockerfile(context.in(), std::move(head)));
  return {};
}

Result<> find_url(Context& context, const std::string& where, const std::string& file, BuildInput& input,
                  spec::BuildRequest& request) {
  input.kind = BuildInput::Kind::url;
  input.url = where;
  request.context.url = where;
  request.explain_label = where;
  if (file != "-") {
    request.dockerfile = file;
    return {};
  }
  request.dockerfile_name = default_dockerfile;
  request.dockerfile_text = input.dockerfile_text = TRY(rest_of_dockerfile(context.in(), ""));
  return {};
}

Result<> find_named(const std::map<std::string, std::string>& named, BuildInput& input, spec::BuildRequest& request) {
  for (const auto& [name, where] : named) {
    const SourceKind kind = source_kind(where);
    if (kind == SourceKind::image) {
      request.named_contexts[name].image = where;
    } else if (kind != SourceKind::folder && !exists(where)) {
      request.named_contexts[name].url = where;
    } else if (!is_directory(where)) {
      return fail(ErrorKind::invalid, "failed to get build context {}: {} {}", name, where,
                  exists(where) ? "is not a directory" : "does not exist");
    } else {
      input.named_folders[name] = {.path = where, .ignore = TRY(read_ignore({where + "/.dockerignore"}))};
    }
  }
  return {};
}

// A source of a request's body that says how much of it has gone.
http::BodySource counted(store::ByteSource& source, std::uint64_t total, const SendStatus& status) {
  return [&source, total, &status, sent = std::uint64_t{0}](std::span<std::byte> into) mutable -> Result<std::size_t> {
    const std::size_t count = TRY(source.read(into));
    sent += count;
    if (status) status(sent, total);
    return count;
  };
}

Result<std::string> posted(client::Client& client, std::string_view path, client::Client::Upload& upload) {
  auto answer = TRY(client.stream("POST", path, {}, nullptr, &upload));
  return answer.read_all();
}

}  // namespace

bool looks_like_archive(std::string_view head) {
  using namespace std::string_view_literals;
  for (const std::string_view magic : {"\x1f\x8b"sv, "BZh"sv, "\xfd\x37zXZ\0"sv, "\x28\xb5\x2f\xfd"sv})
    if (head.starts_with(magic)) return true;
  if (head.size() < tar::block_size) return false;
  // Also archives older than ustar, which have no magic, have the sum.
  std::string_view sum = head.substr(tar::sum_field.at, tar::sum_field.size);
  sum = trim(sum.substr(0, sum.find('\0')));
  std::uint64_t stored = 0;
  const auto [end, error] = std::from_chars(sum.data(), sum.data() + sum.size(), stored, 8);
  return error == std::errc() && end == sum.data() + sum.size() && stored == tar::checksum(head);
}

Result<BuildInput> find_input(Context& context, const std::string& where, const std::string& file,
                              const std::map<std::string, std::string>& named, spec::BuildRequest& request) {
  BuildInput input;
  if (where == "-") {
    CHECK(find_standard_input(context, file, input, request));
  } else if (exists(where)) {
    CHECK(find_folder(context, where, file, input, request));
  } else if (const SourceKind kind = source_kind(where); kind == SourceKind::url || kind == SourceKind::git) {
    CHECK(find_url(context, where, file, input, request));
  } else {
    return fail(ErrorKind::not_found, "unable to prepare context: path {:?} not found", where);
  }
  CHECK(find_named(named, input, request));
  return input;
}

Result<SentFolder> send_folder(client::Client& client, const ContextFolder& folder, const SendStatus& status) {
  const auto sender = TRY(context::Sender::open(folder.path, folder.ignore));
  SentFolder out;
  out.files = sender->listing().entries.size();
  client::Client::Upload manifest{.content_type = "application/octet-stream", .text = &sender->manifest()};
  CHECK(sender->take_answer(TRY(posted(client, "/build/contexts", manifest))));
  out.session = sender->session();
  out.wanted_files = sender->wanted_files();
  out.wanted_bytes = sender->wanted_bytes();
  if (out.wanted_files == 0) return out;
  const auto contents = sender->contents();
  client::Client::Upload upload{.content_type = "application/octet-stream",
                                .source = counted(*contents, sender->content_length(), status),
                                .length = sender->content_length()};
  const std::string path = fmt::format("/build/contexts/{}/contents", client::path_part(out.session));
  TRY(posted(client, path, upload));
  return out;
}

Result<std::string> send_tar(client::Client& client, int fd, const std::string& head, const SendStatus& status) {
  store::FdSource rest(fd);
  const auto* bytes = reinterpret_cast<const std::byte*>(head.data());
  store::PrefixSource whole({bytes, bytes + head.size()}, rest);
  client::Client::Upload upload{.source = counted(whole, 0, status)};
  const std::string text = TRY(posted(client, "/build/contexts/tar", upload));
  auto answer = TRY_AS(json::from_text<spec::BuildContextAnswer>(text), "read the daemon's answer to a context");
  if (answer.session.empty()) return fail(ErrorKind::invalid, "the daemon's answer to a context names no session");
  return std::move(answer.session);
}

}  // namespace corten::cli
