// COPY, ADD and WORKDIR.
#include "build/fetch.h"
#include "build/stage.h"
#include "dockerfile/expand.h"
#include "image/layers.h"

namespace corten::build {
namespace {

// All that a request says, told apart from any other.
std::string words_of(const CopyRequest& request) {
  std::string out = request.add ? "ADD" : "COPY";
  const auto add = [&](const std::string& word) { out += fmt::format("\n{}:{}", word.size(), word); };
  for (const std::string& source : request.sources) add(source);
  add("to");
  for (const auto& [name, text] : request.texts) {
    add(name);
    add(text);
  }
  for (const std::string& word : {request.destination, request.working_dir, request.chown, request.chmod}) add(word);
  for (const std::string& exclude : request.excludes) add(exclude);
  return out + fmt::format("\n{} {} {}", request.parents, request.link,
                           request.unpack ? (*request.unpack ? "unpack" : "keep") : "");
}

}  // namespace

Result<StepResult> StageRun::add_copy(PreparedCopy& prepared, Timestamp time) {
  StepResult out;
  out.time = time;
  const auto tar = TRY(prepared.tar(time));
  if (!tar) return out;
  StoppableSource source(*tar, job_.stop);
  out.layer = TRY(image::add_layer(job_.shared.parts.images, job_.lease, state_.chain, source));
  return out;
}

Result<> StageRun::workdir(Step& step) {
  CHECK(dockerfile::apply(state_.config.config, step.instruction.body, lookup(), memory_, expansion()));
  const std::string& path = state_.config.config.working_dir;
  std::string created_by = created_by_configuration(step.instruction, state_.config.config);
  Recipe recipe = this->recipe();
  recipe.set("command", "WORKDIR");
  recipe.set("directory", path);
  recipe.set("user", state_.config.config.user);
  const Make make = [&]() -> Result<StepResult> {
    const UniqueFd root = TRY(job_.mount(state_.chain));
    const auto prepared = TRY(prepare_directory(path, root.get(), state_.config.config.user));
    return add_copy(*prepared, state_.time);
  };
  const StepResult result = TRY(cached(step, recipe, make));
  take(result, std::move(created_by));
  return {};
}

// Where `from` leads: a tree, and its name where that alone says what is in it.
Result<std::shared_ptr<context::Tree>> StageRun::source_of(Step& step, const std::string& from) {
  if (from.empty()) return job_.context();
  const Origin origin = TRY(job_.plan.origin(from, index_));
  switch (origin.kind) {
    case Origin::Kind::tree: return origin.tree;
    case Origin::Kind::stage: {
      const StatePtr state = TRY(job_.stage(origin.stage));
      return job_.tree(state->chain, "stage " + origin.name);
    }
    case Origin::Kind::image: {
      const BaseImage image =
          TRY(job_.image(origin.image, job_.plan.platform, [&](const std::string& text) { step.report.status(text); }));
      return job_.tree(image.chain, "image " + origin.name);
    }
    case Origin::Kind::scratch: break;
  }
  return fail(ErrorKind::invalid, "scratch has no files to copy");
}

Result<CopyRequest> StageRun::request_of(const dockerfile::Copy& copy) const {
  CopyRequest out;
  out.add = copy.add;
  for (const std::string& source : copy.sources) out.sources.push_back(TRY(word(source)));
  for (const dockerfile::Heredoc& file : copy.files) {
    std::string text = file.content;
    if (file.expand) text = TRY(dockerfile::expand_heredoc(text, lookup(), expansion())).text;
    out.texts.emplace_back(TRY(word(file.name)), std::move(text));
  }
  out.destination = TRY(word(copy.destination));
  out.working_dir = state_.config.config.working_dir;
  out.chown = TRY(word(copy.chown));
  out.chmod = TRY(word(copy.chmod));
  out.parents = copy.parents;
  out.link = copy.link;
  out.unpack = copy.unpack;
  out.excludes = copy.excludes;
  return out;
}

Result<> StageRun::copy(Step& step, const dockerfile::Copy& copy) {
  CopyRequest request = TRY(request_of(copy));
  std::string created_by = created_by_copy(copy, request.sources, request.destination, request.chown, request.chmod);
  if (copy.add)
    CHECK(fetch_remotes(
        request, job_.shared.parts.fetcher, TRY(word(copy.checksum)), copy.keep_git_dir,
        [&](const std::string& text) { step.report.status(text); }, job_.stop));
  const auto source = TRY(source_of(step, copy.from));
  Recipe quick = recipe();
  // Not of ADD: what it fetches is not in the tree.
  const std::string identity = copy.add ? std::string() : source->identity();
  if (!identity.empty()) {
    // A layer's name says what is in it: no file need be looked at where the same was copied before.
    quick.set("command", words_of(request));
    quick.set(std::string(alias_part), identity);
    if (job_.may_use_cache(plan_))
      if (auto found = job_.shared.parts.cache.find(quick, job_.lease)) {
        step.outcome = {.cached = true, .why = "cached: nothing that it reads has changed"};
        take(*found, std::move(created_by));
        return {};
      }
  }
  const UniqueFd root = TRY(job_.mount(state_.chain));
  const auto prepared = TRY(prepare_copy(request, source, root ? root.get() : -1, job_.stop));
  Recipe recipe = this->recipe();
  recipe.set("command", copy.add ? "ADD" : "COPY");
  prepared->describe(recipe);
  const StepResult result = TRY(cached(step, recipe, [&] { return add_copy(*prepared, raised(prepared->newest())); }));
  if (!identity.empty())
    static_cast<void>(
        job_.shared.parts.cache.put(quick, result, state_.layers, "", without_users(step.instruction.text)));
  take(result, std::move(created_by));
  return {};
}

}  // namespace corten::build
