#include "remote/registry.h"

#include <algorithm>

#include "json/codec.h"
#include "remote/registry_impl.h"
#include "remote/text.h"

namespace corten::remote {
namespace {

constexpr std::size_t max_repository = 255;
constexpr std::size_t max_tags_page = 16 << 20;
constexpr int tags_per_page = 1000;

struct TagsPage {
  std::vector<std::string> tags;
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("tags", self.tags);
  }
};

}  // namespace

Result<std::string> repository_path(std::string_view repository, std::string_view rest) {
  const auto good = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-' || c == '/';
  };
  if (repository.empty() || repository.size() > max_repository || !std::ranges::all_of(repository, good) ||
      repository.front() == '/' || repository.back() == '/' || repository.find("//") != std::string_view::npos ||
      repository.find("..") != std::string_view::npos)
    return fail(ErrorKind::invalid, "invalid repository name \"{}\"", printable(repository, 200));
  return fmt::format("/v2/{}/{}", repository, rest);
}

Error read_refusal(Transport& transport, Answer& answer, std::string_view repository, std::string_view what) {
  auto problem = transport.problem(answer);
  const oci::Reference name{
      .domain = transport.endpoint().domain, .path = std::string(repository), .tag = {}, .digest = {}};
  // An outage's code is not to be believed: "unknown" must not pass for "there is none".
  if (problem.status / 100 == 5) return to_error(problem).wrap(what);
  if (problem.code.empty() && !answer.own)
    return to_error(problem).wrap(fmt::format("{} from {}", what, answer.url.origin()));
  if (problem.code == "DENIED" || (problem.code.empty() && problem.status == 403))
    return {ErrorKind::not_found,
            fmt::format("pull access denied for {}, repository does not exist or may require 'docker login': {}",
                        name.familiar_name(), problem.text())};
  if (problem.code == "NAME_UNKNOWN")
    return {ErrorKind::not_found, fmt::format("repository {} not found: {}", name.familiar_name(), problem.text())};
  if (problem.code == "MANIFEST_UNKNOWN" || problem.code == "BLOB_UNKNOWN" || problem.status == 404)
    return {ErrorKind::not_found, fmt::format("{} not found: {}", what, problem.text())};
  return to_error(problem);
}

Error write_refusal(Transport& transport, Answer& answer, std::string_view what) {
  auto error = to_error(transport.problem(answer));
  // Docker shows these two bare.
  if (error.kind() == ErrorKind::forbidden || error.kind() == ErrorKind::unauthorized) return error;
  return std::move(error).wrap(what);
}

Result<Document> get_document(Transport& transport, const Call& call, std::size_t limit, std::string_view repository,
                              std::string_view what) {
  return get_document(transport, call, limit, what,
                      [&](Answer& answer) { return read_refusal(transport, answer, repository, what); });
}

Result<Document> get_document(Transport& transport, const Call& call, std::size_t limit, std::string_view what,
                              const std::function<Error(Answer&)>& refusal) {
  for (int attempt = 1;; ++attempt) {
    auto answer = TRY(transport.send(call));
    Document document{answer.response.status(), answer.response.headers(), {}, answer.url};
    if (document.status != 200) return std::unexpected(refusal(answer));
    auto bytes = transport.document(answer.response, limit);
    if (bytes) {
      document.bytes = *std::move(bytes);
      return document;
    }
    if (attempt >= transport.options().attempts || !is_transient(bytes.error()))
      return std::unexpected(std::move(bytes).error().wrap(what));
    if (call.stop.stop_requested()) return fail(ErrorKind::cancelled, "context canceled");
    CHECK(transport.wait(Wait::Reason::retry, transport.back_off(attempt), bytes.error().text(), call.stop,
                         call.on_wait));
  }
}

Result<std::optional<std::string>> next_page(const http::Headers& headers, const Url& url) {
  const auto link = headers.get("Link");
  if (!link) return std::nullopt;
  const auto begin = link->find('<');
  const auto end = link->find('>', begin == std::string_view::npos ? 0 : begin);
  if (begin == std::string_view::npos || end == std::string_view::npos) return std::nullopt;
  const auto rest = lower(link->substr(end + 1));
  if (rest.find("rel=\"next\"") == std::string::npos && rest.find("rel=next") == std::string::npos) return std::nullopt;
  const Url next = TRY_AS(resolve_url(url, link->substr(begin + 1, end - begin - 1)), "the next page");
  // A registry behind a proxy that ends TLS writes http into its own URLs. The host decides; the way to it is ours.
  if (next.host != url.host || !next.target.starts_with("/v2/"))
    return fail(ErrorKind::invalid, "the next page is said to be at {}: refused", next.shown());
  if (next.target == url.target) return fail(ErrorKind::invalid, "the next page of {} is itself", url.shown());
  return next.target;
}

bool worth_another_endpoint(const Error& error) {
  return error.kind() != ErrorKind::cancelled && error.kind() != ErrorKind::exhausted &&
         error.kind() != ErrorKind::internal;
}

Registry::Registry(std::shared_ptr<Transport> transport) : transport_(std::move(transport)) {}
Registry::~Registry() = default;

std::unique_ptr<Registry> Registry::create(std::shared_ptr<const Hosts> hosts, Endpoint endpoint,
                                           Credentials credentials, Options options) {
  return std::unique_ptr<Registry>(new Registry(
      std::make_shared<Transport>(std::move(hosts), std::move(endpoint), std::move(credentials), std::move(options))));
}

RateLimit Registry::rate_limit() const { return transport_->rate_limit(); }

Result<> Registry::ping(const std::stop_token& stop) {
  Call call{.target = "/v2/"};
  call.stop = stop;
  auto answer = TRY(transport_->send(call));
  if (answer.response.status() == 200) {
    drain(answer.response);
    return {};
  }
  return std::unexpected(write_refusal(*transport_, answer, fmt::format("ping {}", answer.url.origin())));
}

Result<std::string> Registry::login() {
  auto ping = this->ping();
  if (!ping) {
    if (ping.error().kind() == ErrorKind::unauthorized && transport_->authorizer().has_credentials())
      return fail(ErrorKind::unauthorized, "unauthorized: incorrect username or password");
    return std::unexpected(std::move(ping).error());
  }
  return transport_->authorizer().refresh_token({});
}

Result<std::vector<std::string>> Registry::tags(std::string_view repository, const std::stop_token& stop) {
  Call call{.target = TRY(repository_path(repository, fmt::format("tags/list?n={}", tags_per_page)))};
  call.scope = {.repository = std::string(repository)};
  call.stop = stop;
  std::vector<std::string> result;
  for (std::size_t page = 0; page < transport_->options().max_pages; ++page) {
    const auto document = TRY(get_document(*transport_, call, max_tags_page, repository, "the list of tags"));
    auto list = json::from_text<TagsPage>(document.bytes);
    if (!list) return fail(ErrorKind::invalid, "the registry's list of tags cannot be read");
    for (auto& tag : list->tags) {
      if (result.size() == transport_->options().max_tags)
        return fail(ErrorKind::invalid, "the registry lists more than {} tags", result.size());
      // What is no tag could not be asked for either, and does not belong on a terminal.
      if (oci::valid_tag(tag)) result.push_back(std::move(tag));
    }
    const auto next = TRY(next_page(document.headers, document.url));
    if (!next) return result;
    call.target = *next;
  }
  return fail(ErrorKind::invalid, "the registry's list of tags has more than {} pages",
              transport_->options().max_pages);
}

}  // namespace corten::remote
