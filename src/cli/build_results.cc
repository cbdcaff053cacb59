#include "cli/build_results.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "cli/common.h"
#include "cli/files.h"
#include "cli/tar.h"
#include "cli/terminal.h"
#include "json/codec.h"

namespace corten::cli {
namespace {

constexpr unsigned export_step = BuildView::own_steps + 100;

Result<> make_folders(const std::string& path) {
  const std::string whole = absolute_path(path);
  for (std::size_t end = 1; end < whole.size(); ++end) {
    end = std::min(whole.find('/', end), whole.size());
    if (::mkdir(whole.substr(0, end).c_str(), 0777) != 0 && errno != EEXIST) return sys_fail("mkdir {}", path);
  }
  return {};
}

using Told = std::function<Result<>(std::uint64_t)>;

// Reads the answer piece by piece.
Result<> read_through(http::ClientResponse& answer, const std::function<Result<>(std::string_view)>& take,
                      const Told& told) {
  std::string chunk(1 << 20, '\0');
  for (std::uint64_t bytes = 0;;) {
    const std::size_t count = TRY(answer.read(std::as_writable_bytes(std::span(chunk))));
    if (count == 0) return {};
    CHECK(take(std::string_view(chunk).substr(0, count)));
    CHECK(told(bytes += count));
  }
}

Result<> unpack(http::ClientResponse& answer, const std::string& folder, const Told& told) {
  CHECK(make_folders(folder));
  TarExtractor files = TRY(TarExtractor::create(folder, "", ""));
  CHECK(read_through(answer, [&](std::string_view bytes) { return files.feed(bytes); }, told));
  return files.finish();
}

Result<> save(Context& context, http::ClientResponse& answer, const std::string& path, const Told& told) {
  const auto to = [](int fd) { return [fd](std::string_view bytes) { return write_all(fd, bytes); }; };
  if (path == "-") {
    CHECK(context.flush());
    return read_through(answer, to(context.out()), told);
  }
  NewFile file = TRY(NewFile::create(path));
  CHECK(read_through(answer, to(file.fd()), told));
  return file.commit();
}

Result<> fetch(Context& context, client::Client& client, const OutputSpec& output, const std::string& path,
               BuildView& view, unsigned step) {
  const std::string where = output.destination == "-" ? "standard output" : output.destination;
  CHECK(view.begin(step, fmt::format("exporting to {} ({})", where, output.type)));
  const auto written = [&]() -> Result<> {
    auto answer = TRY(client.stream("GET", path));
    const std::uint64_t total = answer.content_length().value_or(0);
    const Told told = [&](std::uint64_t bytes) { return view.status(step, "copying files", bytes, total); };
    return output.type == "local" ? unpack(answer, output.destination, told)
                                  : save(context, answer, output.destination, told);
  }();
  if (!written) {
    CHECK(view.finish(step, written.error().text()));
    return wrap(written, "write the result to " + where);
  }
  return view.finish(step);
}

const spec::BuiltImageInfo* recorded_image(const spec::BuildResult& result) {
  const auto found = std::ranges::find_if(result.images, [](const auto& image) { return !image.id.empty(); });
  return found == result.images.end() ? nullptr : &*found;
}

// The keys of buildx's file.
std::string metadata(const spec::BuildResult& result) {
  json::Object out;
  if (const auto* image = recorded_image(result)) {
    out["containerimage.config.digest"] = image->id;
    out["containerimage.digest"] = image->manifest_digest.empty() ? image->id : image->manifest_digest;
  }
  if (!result.names.empty()) out["image.name"] = join(result.names, ",");
  return json::write_pretty(out, "  ") + "\n";
}

Result<> write_file(const std::string& path, std::string_view text) {
  NewFile file = TRY(NewFile::create(path));
  CHECK_AS(write_all(file.fd(), text), path);
  return file.commit();
}

// What was recorded in the daemon, as a step like the others.
Result<> tell_image(const spec::BuildResult& result, BuildView& view) {
  if (recorded_image(result) == nullptr) return {};
  CHECK(view.begin(export_step, "exporting to image"));
  for (const auto& image : result.images) CHECK(view.status(export_step, "writing image " + image.id));
  for (const std::string& name : result.names) CHECK(view.status(export_step, "naming to " + name));
  return view.finish(export_step);
}

}  // namespace

Result<> prepare_results(const BuildPlan& plan) {
  if (plan.image_id_file.empty()) return {};
  if (::unlink(plan.image_id_file.c_str()) != 0 && errno != ENOENT)
    return sys_fail("removing image ID file {}", plan.image_id_file);
  return {};
}

Result<> take_results(Context& context, client::Client& client, const BuildPlan& plan, const spec::BuildResult& result,
                      BuildView& view) {
  CHECK(tell_image(result, view));
  for (std::size_t i = 0; i < plan.outputs.size(); ++i) {
    if (plan.outputs[i].type == "image") continue;
    if (std::ranges::find(result.fetch, i) == result.fetch.end())
      return fail(ErrorKind::internal, "the daemon has no result of type {}", plan.outputs[i].type);
    const std::string path = fmt::format("/build/results/{}/{}", client::path_part(result.results), i);
    CHECK(fetch(context, client, plan.outputs[i], path, view, export_step + 1 + static_cast<unsigned>(i)));
  }
  const auto* image = recorded_image(result);
  if (!plan.image_id_file.empty() && image != nullptr) CHECK(write_file(plan.image_id_file, image->id));
  if (!plan.metadata_file.empty()) CHECK(write_file(plan.metadata_file, metadata(result)));
  return {};
}

}  // namespace corten::cli
