#include "server/build_corten.h"

#include <charconv>

#include "context/sync.h"
#include "image/push.h"
#include "server/build_archive.h"
#include "server/build_detail.h"
#include "server/build_options.h"
#include "server/build_run.h"

namespace corten::server {
namespace {

class BodySource : public store::ByteSource {
 public:
  explicit BodySource(http::Request& request) : request_(request) {}
  Result<std::size_t> read(std::span<std::byte> buffer) override { return request_.read(buffer); }

 private:
  http::Request& request_;
};

class AnswerSink : public store::ByteSink {
 public:
  explicit AnswerSink(http::ResponseWriter& response) : response_(response) {}
  Result<> write(std::span<const std::byte> bytes) override {
    CHECK(begin());
    return response_.write({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  }
  Result<> write_file(int fd, std::uint64_t offset, std::uint64_t count) override {
    CHECK(begin());
    return response_.write_file(fd, offset, count);
  }

 private:
  // With the first byte, so that an error before it keeps its status.
  Result<> begin() {
    if (response_.head_sent()) return {};
    return response_.begin_stream(200, "application/x-tar");
  }
  http::ResponseWriter& response_;
};

// Sessions of folders are 32 digits, those of tars 64.
constexpr std::size_t folder_session = 32;

struct Source {
  BuildInput input;
  bool whole = false;  // nobody has left out what .dockerignore names
};

Result<Source> open_source(Call& call, const spec::BuildSource& source, const std::string& name,
                           const std::stop_token& stop) {
  const BuildServices& build = *call.services.build;
  Source out;
  if (!source.url.empty()) {
    out.input = TRY(remote_input(call, source.url, stop));
    out.whole = true;
  } else if (source.session.size() == folder_session) {
    out.input.tree = TRY(build.sessions.take(source.session, name));
  } else if (!source.session.empty()) {
    out.input.tree = build.state.take_context(source.session);
    if (out.input.tree == nullptr) return fail(ErrorKind::not_found, "No such build context: {}", source.session);
    out.whole = true;
  }
  return out;
}

std::string image_of(const std::string& source) {
  constexpr std::string_view scheme = "docker-image://";
  return source.starts_with(scheme) ? source.substr(scheme.size()) : source;
}

Result<> open_named(Call& call, const spec::BuildRequest& request, build::Options& options,
                    const std::stop_token& stop) {
  for (const auto& [name, source] : request.named_contexts) {
    if (!source.image.empty()) {
      options.named_images[name] = image_of(source.image);
      continue;
    }
    Source opened = TRY(open_source(call, source, "context " + name, stop));
    if (opened.input.tree == nullptr)
      return fail(ErrorKind::invalid, "the context {:?} is nothing that files can be copied from", name);
    options.named_contexts[name] = std::move(opened.input.tree);
  }
  return {};
}

Result<> open_context(Call& call, const spec::BuildRequest& request, build::Options& options,
                      const std::stop_token& stop) {
  if (!request.context.image.empty()) return fail(ErrorKind::invalid, "an image cannot be the build context");
  Source source = TRY(open_source(call, request.context, "build context", stop));
  if (request.dockerfile_text) {
    options.dockerfile_text = request.dockerfile_text;
    if (!request.dockerfile_name.empty()) options.dockerfile = request.dockerfile_name;
    if (source.whole && source.input.tree != nullptr)
      source.input.tree = TRY(without_ignored(std::move(source.input.tree), options.dockerfile, stop));
  } else if (source.input.dockerfile) {
    options.dockerfile_text = std::move(source.input.dockerfile);
  } else if (source.whole) {
    source.input = TRY(open_dockerfile(std::move(source.input.tree), request.dockerfile, stop));
    options.dockerfile = source.input.dockerfile_name;
    options.dockerfile_text = std::move(source.input.dockerfile);
  }
  options.context = std::move(source.input.tree);
  return {};
}

bool is_image(const spec::BuildOutput& output) { return output.type == "image"; }
bool is_pushed(const spec::BuildOutput& output) {
  const auto push = output.attributes.find("push");
  return is_image(output) && push != output.attributes.end() && push->second == "true";
}

// What each output wants of the build.
Result<> plan_outputs(const spec::BuildRequest& request, build::Options& options) {
  const std::size_t platforms = std::max<std::size_t>(1, options.platforms.size());
  options.keep_no_image = !request.outputs.empty();
  for (const spec::BuildOutput& output : request.outputs) {
    CHECK(check_output(output, platforms));
    if (!is_image(output)) continue;
    options.keep_no_image = false;
    const auto name = output.attributes.find("name");
    if (name != output.attributes.end()) {
      spec::Strings names = options.tags;
      for (std::string_view rest = name->second; !rest.empty();) {
        const std::size_t comma = rest.find(',');
        names.emplace_back(rest.substr(0, comma));
        rest.remove_prefix(comma == std::string_view::npos ? rest.size() : comma + 1);
      }
      options.tags = TRY(tag_names(names));
    }
  }
  for (const spec::BuildOutput& output : request.outputs)
    if (is_pushed(output) && options.tags.empty())
      return fail(ErrorKind::invalid, "nothing can be pushed without a tag: use --tag");
  return {};
}

Result<> refuse_cache_transfer(const spec::BuildRequest& request) {
  for (const auto* entries : {&request.cache_from, &request.cache_to})
    for (const spec::BuildCacheEntry& entry : *entries)
      return fail(ErrorKind::not_implemented, "a build cache of type {:?} cannot be {}", entry.type,
                  entries == &request.cache_from ? "imported" : "exported");
  return {};
}

Result<> push_all(Call& call, const std::vector<std::string>& names, DetailTeller& teller,
                  const std::stop_token& stop) {
  const std::string_view header = call.request.headers.get("X-Registry-Config").value_or("");
  const auto known = TRY(remote::parse_registry_config(header));
  const RegistryAccess access = call.services.registry();
  for (const std::string& name : names) {
    const oci::Reference reference = TRY(oci::parse_reference(name));
    image::PushOptions options;
    options.hosts = access.hosts;
    options.parallel = access.parallel_uploads;
    options.stop = stop;
    if (const auto found = known.find(reference.domain); found != known.end()) options.credentials = found->second;
    teller.status("pushing " + reference.familiar());
    const auto result = TRY_AS(image::push(call.services.images, reference, options), "push " + reference.familiar());
    teller.status(fmt::format("pushed {}: {}", reference.familiar(), result.digest));
  }
  return {};
}

Result<build::Options> prepare(Call& call, const spec::BuildRequest& request, const std::stop_token& stop) {
  CHECK(refuse_cache_transfer(request));
  build::Options options = TRY(build_options(request));
  CHECK(plan_outputs(request, options));
  CHECK(open_named(call, request, options, stop));
  CHECK(open_context(call, request, options, stop));
  if (!request.ssh.ids.empty()) options.ssh = TRY(call.services.build->state.ssh().agents(request.ssh));
  return options;
}

}  // namespace

Result<> corten_build(Call& call) {
  if (!call.services.build) return no_builder();
  const std::string document = TRY(call.request.read_all(spec::max_build_request));
  const auto request = TRY_AS(json::from_text<spec::BuildRequest>(document), "the build request");
  const std::stop_token stop = call.request.stop_token();
  DetailTeller teller(call);
  build::Options options = TRY(prepare(call, request, stop));
  CHECK(connect_images(call, options, teller));
  auto done = run_build(call, options, teller, stop);
  if (!done) return teller.finish(std::unexpected(done.error()));
  BuildState& state = call.services.build->state;
  std::set<unsigned> fetch;
  for (unsigned i = 0; i < request.outputs.size() && !request.check_only; ++i) {
    if (!is_image(request.outputs[i])) fetch.insert(i);
    if (!is_pushed(request.outputs[i])) continue;
    if (const auto pushed = push_all(call, done->outcome.result.names, teller, stop); !pushed)
      return teller.finish(std::unexpected(pushed.error()));
  }
  if (fetch.empty()) return teller.finish(std::move(done->outcome));
  done->product->outputs = request.outputs;
  spec::BuildResult& result = done->outcome.result;
  result.fetch = {fetch.begin(), fetch.end()};
  result.results = state.offer(std::move(done->product), std::move(fetch));
  const std::string id = result.results;
  const Result<> told = teller.finish(std::move(done->outcome));
  if (told) state.wait_until_fetched(id, stop);
  return told;
}

Result<> begin_context(Call& call) {
  if (!call.services.build) return no_builder();
  BodySource body(call.request);
  const std::string answer = TRY(call.services.build->sessions.begin(body, call.request.stop_token()));
  return call.response.write_all(200, answer, "application/octet-stream");
}

Result<> take_contents(Call& call) {
  if (!call.services.build) return no_builder();
  BodySource body(call.request);
  CHECK(call.services.build->sessions.contents(call.path("session"), body, call.request.stop_token()));
  return call.answer_empty();
}

Result<> take_tar_context(Call& call) {
  if (!call.services.build) return no_builder();
  BodySource body(call.request);
  BuildInput input = TRY(take_input(body, call.services.build->pool, call.request.stop_token()));
  if (input.tree == nullptr) return fail(ErrorKind::invalid, "the build context is not a tar archive");
  spec::BuildContextAnswer answer;
  answer.session = TRY(call.services.build->state.keep_context(std::move(input.tree)));
  return call.answer(201, json::to_json(answer));
}

Result<> drop_context(Call& call) {
  if (!call.services.build) return no_builder();
  const std::string& session = call.path("session");
  call.services.build->sessions.drop(session);
  (void)call.services.build->state.take_context(session);
  return call.answer_empty();
}

Result<> fetch_result(Call& call) {
  if (!call.services.build) return no_builder();
  BuildState& state = call.services.build->state;
  const std::string& number = call.path("output");
  unsigned output = 0;
  const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), output);
  if (error != std::errc() || end != number.data() + number.size())
    return fail(ErrorKind::invalid, "not the number of an output: {:?}", number);
  const auto product = TRY(state.product(call.path("id"), output));
  const spec::BuildOutput& wanted = product->outputs[output];
  AnswerSink sink(call.response);
  const bool files = wanted.type == "tar" || wanted.type == "local";
  CHECK(files ? write_files(call.services.store, *product, sink)
              : write_images(call.services.store, *product, wanted, sink));
  state.fetched(call.path("id"), output);
  return {};
}

Result<> forward_agent(Call& call) {
  if (!call.services.build) return no_builder();
  const std::stop_token stop = call.request.stop_token();
  SshDesk& desk = call.services.build->state.ssh();
  const UniqueFd step = TRY(desk.wait_for_call(call.path("session"), call.path("id"), stop));
  const http::HijackedConnection client = TRY(call.response.hijack("application/vnd.docker.raw-stream"));
  if (!client.already_read.empty())
    return fail(ErrorKind::invalid, "the client of an agent must wait for the answer before it sends");
  relay(client.fd.get(), step.get());
  return {};
}

}  // namespace corten::server
