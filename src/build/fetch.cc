#include "build/fetch.h"

#include <time.h>

#include <algorithm>
#include <array>
#include <thread>

#include "build/fetch_memory.h"
#include "build/fetch_web.h"
#include "build/git.h"
#include "build/git_address.h"
#include "sys/files.h"

namespace corten::build {
namespace {

constexpr std::uint64_t max_bytes = 32ULL << 30;
constexpr std::size_t piece = 256U << 10;
constexpr int attempts = 3;
constexpr std::string_view unnamed = "__unnamed__";

// "Tue, 15 Nov 1994 08:12:31 GMT"; the epoch for what is none.
std::int64_t http_time(std::string_view text) {
  tm parts{};
  const std::string whole(text);
  const char* end = ::strptime(whole.c_str(), "%a, %d %b %Y %H:%M:%S GMT", &parts);
  if (end == nullptr || *end != '\0') return 0;
  const time_t seconds = ::timegm(&parts);
  return seconds < 0 || seconds > 9'000'000'000 ? 0 : seconds * 1'000'000'000;
}

bool is_name(std::string_view name) {
  return !name.empty() && name != "." && name != ".." && name.size() <= 255 &&
         std::ranges::none_of(name, [](char c) { return c == '/' || static_cast<unsigned char>(c) < 0x20; });
}

std::string name_of(const remote::Url& url) {
  const auto path = http::percent_decode(url.target.substr(0, url.target.find('?')));
  if (!path) return std::string(unnamed);
  const std::size_t end = path->find_last_not_of('/');
  if (end == std::string::npos) return std::string(unnamed);
  const std::string name = path->substr(0, end + 1).substr(path->rfind('/', end) + 1);
  return is_name(name) ? name : std::string(unnamed);
}

// attachment; filename="x.tar"
std::optional<std::string> disposition(const http::Headers& headers) {
  const auto field = headers.get("Content-Disposition");
  if (!field) return std::nullopt;
  const std::size_t at = field->find("filename=");
  if (at == std::string_view::npos) return std::nullopt;
  std::string_view name = field->substr(at + 9);
  if (name.starts_with('"'))
    name = name.substr(1, name.substr(1).find('"'));
  else
    name = name.substr(0, name.find(';'));
  if (!is_name(name)) return std::nullopt;
  return std::string(name);
}

std::shared_ptr<context::Tree> tree_of(context::Pool& pool, const Fetched& file, std::unique_ptr<context::Hold> hold,
                                       const std::string& shown) {
  auto listing = std::make_shared<context::Listing>();
  listing->entries.push_back({.path = file.name,
                              .kind = context::Kind::file,
                              .mode = 0600,
                              .mtime_ns = file.mtime_ns,
                              .size = file.size,
                              .digest = file.digest});
  return context::pooled_tree(pool, std::move(listing), std::move(hold), shown);
}

ErrorKind kind_of(int status) {
  if (status == 404 || status == 410) return ErrorKind::not_found;
  if (status == 401) return ErrorKind::unauthorized;
  if (status == 403) return ErrorKind::forbidden;
  return status >= 500 ? ErrorKind::unavailable : ErrorKind::invalid;
}

class Web : public Fetcher {
 public:
  explicit Web(Parts parts) : parts_(std::move(parts)), memory_(parts_.directory + "/fetched") {}

  Result<RemoteSource> get(const FetchRequest& request, const std::stop_token& stop) override {
    if (const auto git = TRY(GitAddress::parse(request.address, request.as_context)))
      return fetch_repository({.pool = parts_.pool,
                               .hosts = *parts_.hosts,
                               .address = *git,
                               .request = request,
                               .directory = parts_.directory,
                               .memory = git_memory_},
                              stop);
    const WebAddress address = TRY(WebAddress::parse(request.address));
    oci::Digest wanted;
    if (!request.checksum.empty()) wanted = TRY_AS(oci::Digest::parse(request.checksum), "--checksum");
    for (int attempt = 1;; ++attempt) {
      auto file = file_of(address, request, wanted, stop);
      if (file || attempt == attempts || !is_passing(file.error()) || stop.stop_requested()) return file;
      wait(std::chrono::milliseconds(200) * attempt, stop);
    }
  }

 private:
  static bool is_passing(const Error& error) {
    return error.kind() == ErrorKind::unavailable || error.kind() == ErrorKind::deadline;
  }
  static void wait(std::chrono::milliseconds time, const std::stop_token& stop) {
    for (; time.count() > 0 && !stop.stop_requested(); time -= std::chrono::milliseconds(50))
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }

  Result<RemoteSource> file_of(const WebAddress& address, const FetchRequest& request, const oci::Digest& wanted,
                               const std::stop_token& stop) {
    // With the one who asks: what a password opened is not for those who have none.
    const std::string key = address.url.origin() + address.url.target + "\n" + address.authorization;
    auto hold = parts_.pool.hold();
    auto known = memory_.find(key);
    if (known && !hold->keep(known->digest)) known.reset();
    const auto source = [&](const Fetched& file) {
      return RemoteSource{.tree = tree_of(parts_.pool, file, std::move(hold), address.url.shown()),
                          .shown = address.url.shown()};
    };
    if (known && known->digest == wanted) return source(*known);

    WebRequest sent{.address = address, .stop = stop};
    if (known && !known->etag.empty())
      sent.headers.set("If-None-Match", known->etag);
    else if (known && !known->last_modified.empty())
      sent.headers.set("If-Modified-Since", known->last_modified);
    auto answer = TRY(ask(*parts_.hosts, sent));
    const int status = answer.response.status();
    if (status == 304 && known) {
      if (!wanted.empty()) return mismatch(answer.shown, known->digest, wanted);
      return source(*known);
    }
    if (status < 200 || status > 299 || status == 204 || status == 206)
      return fail(kind_of(status), "{}: invalid response status {}", answer.shown, status);

    const auto& headers = answer.response.headers();
    Fetched file{.url = key,
                 .etag = std::string(headers.get("ETag").value_or("")),
                 .last_modified = std::string(headers.get("Last-Modified").value_or("")),
                 .name = name_of(address.url)};
    if (request.as_context) file.name = disposition(headers).value_or(file.name);
    file.mtime_ns = http_time(file.last_modified);
    CHECK(receive(answer, *hold, file, request));
    if (!wanted.empty() && file.digest != wanted) return mismatch(answer.shown, file.digest, wanted);
    if (!file.etag.empty() || !file.last_modified.empty() || !wanted.empty()) memory_.remember(file);
    return source(file);
  }

  static std::unexpected<Error> mismatch(const std::string& shown, const oci::Digest& got, const oci::Digest& wanted) {
    return fail(ErrorKind::invalid, "{}: digest mismatch {}: {} was wanted", shown, got.text(), wanted.text());
  }

  Result<> receive(WebAnswer& answer, context::Hold& hold, Fetched& file, const FetchRequest& request) {
    const auto too_large = [&] {
      return fail(ErrorKind::invalid, "{}: larger than {} bytes", answer.shown, max_bytes);
    };
    const auto length = answer.response.content_length();
    if (length.value_or(0) > max_bytes) return too_large();
    const auto writer = TRY(parts_.pool.writer(hold));
    std::vector<std::byte> buffer(piece);
    std::uint64_t told = 0;
    for (;;) {
      const std::size_t got = TRY_AS(answer.response.read(buffer), answer.shown);
      if (got == 0) break;
      if (got > max_bytes - writer->size()) return too_large();
      CHECK(writer->write(std::span(buffer).first(got)));
      if (!request.status || writer->size() - told < (4U << 20)) continue;
      told = writer->size();
      request.status(length ? fmt::format("{}: {} of {} bytes", answer.url.shown(), told, *length)
                            : fmt::format("{}: {} bytes", answer.url.shown(), told));
    }
    file.size = writer->size();
    file.digest = TRY(writer->commit());
    return {};
  }

  const Parts parts_;
  FetchMemory memory_;
  GitMemory git_memory_;
};

}  // namespace

Result<std::unique_ptr<Fetcher>> Fetcher::open(Parts parts) {
  CHECK(sys::make_directories(parts.directory, 0700));
  return std::make_unique<Web>(std::move(parts));
}

Result<> fetch_remotes(CopyRequest& copy, Fetcher* fetcher, const std::string& checksum, bool keep_git_dir,
                       const std::function<void(const std::string&)>& status, const std::stop_token& stop) {
  if (!checksum.empty()) {
    if (!copy.add) return fail(ErrorKind::invalid, "checksum can't be specified for COPY");
    if (copy.sources.size() + copy.texts.size() != 1)
      return fail(ErrorKind::invalid, "checksum can't be specified for multiple sources");
    if (source_kind(copy.sources.front()) == SourceKind::path)
      return fail(ErrorKind::invalid, "checksum requires HTTP(S) or Git sources");
  }
  if (!copy.add) return {};
  for (const auto& source : copy.sources) {
    if (source_kind(source) == SourceKind::path || copy.remotes.contains(source)) continue;
    if (fetcher == nullptr) return fail(ErrorKind::unavailable, "nothing can be fetched here");
    FetchRequest request{.address = source, .checksum = checksum, .keep_git_dir = keep_git_dir, .status = status};
    copy.remotes.emplace(source, TRY(fetcher->get(request, stop)));
  }
  return {};
}

}  // namespace corten::build
