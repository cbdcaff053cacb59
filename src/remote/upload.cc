#include <algorithm>
#include <charconv>

#include "remote/registry_impl.h"
#include "remote/text.h"

namespace corten::remote {
namespace {

// How much of an upload the registry has, by the Range of its session ("0-99", also "bytes=0-99"); nullopt where it
// does not say so.
std::optional<std::uint64_t> received_bytes(const http::Headers& headers) {
  const auto field = headers.get("Range");
  if (!field) return std::nullopt;
  std::string_view text = trim(*field);
  for (const std::string_view prefix : {"bytes=", "bytes ", "0-"})
    if (text.starts_with(prefix)) text.remove_prefix(prefix.size());
  std::uint64_t last = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), last);
  if (error != std::errc() || end != text.data() + text.size() || last == 0) return std::nullopt;
  return last + 1;
}

// What one run through the source has seen. A copy of the source closure outlives no attempt.
struct Passage {
  std::optional<oci::Hasher> hasher;
  std::uint64_t sent = 0;
  std::optional<Error> source_failure;  // ours, so that trying again is of no use
};

class Upload {
 public:
  Upload(std::shared_ptr<Transport> transport, std::string_view repository, const UploadRequest& request)
      : transport_(std::move(transport)), repository_(repository), request_(request) {}

  // One attempt: of what the session of the last one lacks, else from a new one's beginning.
  Result<UploadResult> run();
  bool may_try_again(const Error& error) const {
    // A session that could not be opened has been tried for long enough.
    return begun_ && !passage_.source_failure && !request_.stop.stop_requested() &&
           (is_transient(error) || session_lost_);
  }

 private:
  // Where to send the blob; nullopt: it was mounted.
  Result<std::optional<Url>> begin();
  Result<Url> session_url(const Answer& answer);
  Result<UploadResult> put_whole(const Url& session);
  // The rest of a file, where the registry remembers the broken session; nullopt where it does not.
  Result<std::optional<UploadResult>> resume();
  Result<UploadResult> put_stream(const Url& session);
  Result<> commit(const Url& session, const oci::Digest& digest, Call call);
  Result<http::BodySource> open();
  Call call(std::string method) const;

  const std::shared_ptr<Transport> transport_;
  const std::string_view repository_;
  const UploadRequest& request_;
  Passage passage_;
  std::optional<Url> broken_;  // session of the last attempt
  bool begun_ = false;
  bool session_lost_ = false;  // the registry has forgotten it: another one may do
};

Call Upload::call(std::string method) const {
  Call call{.method = std::move(method)};
  call.scope = {.repository = std::string(repository_), .actions = "pull,push"};
  call.repeatable = false;
  call.on_wait = request_.on_wait;
  call.stop = request_.stop;
  return call;
}

Result<std::optional<Url>> Upload::begin() {
  Call post = call("POST");
  post.target = TRY(repository_path(repository_, "blobs/uploads/"));
  post.repeatable = true;
  const auto plain = post;
  const bool mount = request_.digest && !request_.mount_from.empty();
  if (mount) {
    CHECK(repository_path(request_.mount_from, ""));
    post.target = with_parameter(post.target, "mount", request_.digest->text());
    post.target = with_parameter(post.target, "from", request_.mount_from);
    post.scope.other_repository = request_.mount_from;
  }
  auto answer = TRY(transport_->send(post));
  if (mount && answer.response.status() / 100 == 4) answer = TRY(transport_->send(plain));
  const int status = answer.response.status();
  if (status != 202 && (status != 201 || !mount))
    return std::unexpected(write_refusal(*transport_, answer, "begin an upload"));
  drain(answer.response);
  if (status == 201) return std::nullopt;
  return TRY(session_url(answer));
}

Result<Url> Upload::session_url(const Answer& answer) {
  const auto location = answer.response.headers().get("Location");
  if (!location) return fail(ErrorKind::invalid, "the registry did not say where to upload to");
  Url url = TRY_AS(resolve_url(answer.url, *location), "where to upload to");
  const Url base = TRY(transport_->base(request_.stop));
  // A registry behind a proxy that ends TLS writes http into its own URLs. The host decides; the way to it is ours.
  if (url.host == base.host && base.tls && !url.tls) {
    url.tls = true;
    url.port = base.port;
  }
  CHECK_AS(transport_->check_move(base, url), "where to upload to");
  return url;
}

Result<http::BodySource> Upload::open() {
  passage_ = {};
  if (!request_.digest) passage_.hasher.emplace();
  auto source = request_.open();
  if (!source) {
    passage_.source_failure = source.error();
    return source;
  }
  return [this, inner = *std::move(source)](std::span<std::byte> into) -> Result<std::size_t> {
    if (request_.stop.stop_requested()) return fail(ErrorKind::cancelled, "context canceled");
    auto count = inner(into);
    if (!count) {
      passage_.source_failure = count.error();
      return count;
    }
    if (passage_.hasher) passage_.hasher->update(into.first(*count));
    passage_.sent += *count;
    if (request_.progress && *count > 0) request_.progress(passage_.sent);
    return count;
  };
}

Result<> Upload::commit(const Url& session, const oci::Digest& digest, Call put) {
  put.url = session;
  put.url->target = with_parameter(session.target, "digest", digest.text());
  put.head_timeout = transport_->options().commit_timeout;
  auto answer = TRY(transport_->send(put));
  session_lost_ = answer.response.status() == 404;
  if (answer.response.status() != 201 && answer.response.status() != 204)
    return std::unexpected(write_refusal(*transport_, answer, "upload blob " + digest.text()));
  const auto told = answer.response.headers().get("Docker-Content-Digest");
  drain(answer.response);
  if (told && told->starts_with("sha256:") && *told != digest.text())
    return fail(ErrorKind::invalid, "upload blob {}: the registry took it as {}", digest.text(), printable(*told, 100));
  return {};
}

Result<UploadResult> Upload::put_whole(const Url& session) {
  Call put = call("PUT");
  put.headers.add("Content-Type", "application/octet-stream");
  put.body_length = request_.size;
  if (request_.file >= 0) {
    put.body_file = request_.file;
    put.body_progress = request_.progress;
  } else {
    put.open_body = [this] { return open(); };
  }
  CHECK(commit(session, *request_.digest, std::move(put)));
  return UploadResult{.digest = *request_.digest, .size = *request_.size};
}

Result<std::optional<UploadResult>> Upload::resume() {
  const Url session = *std::exchange(broken_, std::nullopt);
  Call ask = call("GET");
  ask.url = session;
  ask.attempts = 1;
  auto state = transport_->send(ask);
  if (!state || state->response.status() != 204) return std::nullopt;
  drain(state->response);
  const auto received = received_bytes(state->response.headers());
  if (!received || *received > *request_.size) return std::nullopt;
  Url next = state->response.headers().has("Location") ? TRY(session_url(*state)) : session;
  if (*received < *request_.size) {
    Call patch = call("PATCH");
    patch.url = broken_ = next;
    patch.headers.add("Content-Type", "application/octet-stream");
    patch.headers.add("Content-Range", fmt::format("{}-{}", *received, *request_.size - 1));
    patch.body_file = request_.file;
    patch.body_offset = *received;
    patch.body_length = *request_.size - *received;
    patch.body_progress = [this, start = *received](std::uint64_t sent) {
      if (request_.progress) request_.progress(start + sent);
    };
    patch.head_timeout = transport_->options().commit_timeout;
    auto answer = TRY(transport_->send(patch));
    const int status = answer.response.status();
    if (status != 202 && status != 204) return std::nullopt;
    drain(answer.response);
    if (answer.response.headers().has("Location")) next = TRY(session_url(answer));
  }
  auto committed = commit(next, *request_.digest, call("PUT"));
  if (committed) return UploadResult{.digest = *request_.digest, .size = *request_.size};
  // The pieces do not make the blob: the registry had less than it said, or something else.
  if (committed.error().kind() != ErrorKind::invalid) return std::unexpected(std::move(committed).error());
  broken_.reset();
  return std::nullopt;
}

Result<UploadResult> Upload::put_stream(const Url& session) {
  Call patch = call("PATCH");
  patch.url = session;
  patch.headers.add("Content-Type", "application/octet-stream");
  patch.open_body = [this] { return open(); };
  patch.body_length = request_.size;
  patch.head_timeout = transport_->options().commit_timeout;
  auto answer = TRY(transport_->send(patch));
  session_lost_ = answer.response.status() == 404;
  if (answer.response.status() != 202 && answer.response.status() != 204)
    return std::unexpected(write_refusal(*transport_, answer, "upload a blob"));
  drain(answer.response);
  const Url next = answer.response.headers().has("Location") ? TRY(session_url(answer)) : session;
  const auto size = passage_.sent;
  const auto digest = request_.digest ? *request_.digest : passage_.hasher->finish();
  CHECK(commit(next, digest, call("PUT")));
  return UploadResult{.digest = digest, .size = size};
}

Result<UploadResult> Upload::run() {
  session_lost_ = false;
  if (broken_) {
    auto resumed = resume();
    if (!resumed) return std::unexpected(std::move(resumed).error());
    if (*resumed) return **resumed;
  }
  begun_ = false;
  const auto session = TRY(begin());
  begun_ = true;
  if (!session) return UploadResult{.digest = *request_.digest, .mounted = true};
  if (request_.file >= 0) broken_ = session;
  auto result = request_.digest && request_.size ? put_whole(*session) : put_stream(*session);
  if (!result && passage_.source_failure) return std::unexpected(*passage_.source_failure);
  return result;
}

}  // namespace

Result<UploadResult> Registry::upload(std::string_view repository, const UploadRequest& request) {
  const auto& options = transport_->options();
  Upload upload(transport_, repository, request);
  for (int attempt = 1;; ++attempt) {
    auto result = upload.run();
    if (result || attempt >= options.attempts || !upload.may_try_again(result.error())) return result;
    CHECK(transport_->wait(Wait::Reason::retry, transport_->back_off(attempt), result.error().text(), request.stop,
                           request.on_wait));
  }
}

Result<bool> Registry::mount_blob(std::string_view repository, const oci::Digest& digest, std::string_view from,
                                  const std::stop_token& stop) {
  CHECK(repository_path(from, ""));
  auto target = TRY(repository_path(repository, "blobs/uploads/"));
  target = with_parameter(with_parameter(target, "mount", digest.text()), "from", from);
  Call post{.method = "POST", .target = std::move(target)};
  post.scope = {.repository = std::string(repository), .actions = "pull,push", .other_repository = std::string(from)};
  post.stop = stop;
  auto answer = TRY(transport_->send(post));
  const int status = answer.response.status();
  if (status != 201 && status != 202)
    return std::unexpected(
        write_refusal(*transport_, answer, fmt::format("mount blob {} from {}", digest.text(), from)));
  drain(answer.response);
  const auto location = answer.response.headers().get("Location");
  if (status == 202 && location) {
    // Nobody will use the session that the registry opened. If it does not care, it forgets it some day.
    Call cancel{.method = "DELETE"};
    cancel.scope = post.scope;
    cancel.attempts = 1;
    if (auto url = resolve_url(answer.url, *location); url && url->same_origin(answer.url)) {
      cancel.url = *url;
      static_cast<void>(transport_->send(cancel));
    }
  }
  return status == 201;
}

}  // namespace corten::remote
