#include "build/copy_planner.h"

#include <fcntl.h>

#include <algorithm>

#include "context/glob.h"

namespace corten::build {
namespace {

using context::Entry;
using context::Kind;

bool is_directory_word(std::string_view destination) {
  return destination.empty() || destination == "." || destination.ends_with('/') || destination.ends_with("/.");
}

char letter(Kind kind) {
  switch (kind) {
    case Kind::directory: return 'd';
    case Kind::symlink: return 'l';
    case Kind::device: return 'n';
    case Kind::fifo: return 'p';
    case Kind::file: break;
  }
  return 'f';
}

// Everything about a file that its copy depends on; no two files share a text.
std::string description(const Node& node, std::string_view content) {
  std::string text = fmt::format("{} {:o} {}:{} {} {}:{}", letter(node.kind), node.mode, node.owner.uid, node.owner.gid,
                                 node.device * 2 + (node.block ? 1 : 0), content.size(), content);
  for (const auto& [name, value] : node.xattrs)
    text += fmt::format(" {}:{}{}:{}", name.size(), name, value.size(), value);
  return std::string(oci::Digest::of(text).hex());
}

// Which entries of a directory are meant, asked in the order of a listing.
class Filter {
 public:
  enum class Verdict : std::uint8_t { take, leave, nothing_below };
  Filter(const context::Ignore& include, const context::Ignore& exclude) : include_(include), exclude_(exclude) {}
  bool takes_all() const { return include_.empty() && exclude_.empty(); }

  // `end`: the index after all that is below it.
  Verdict judge(std::string_view path, std::size_t index, std::size_t end) {
    while (!above_.empty() && above_.back().end <= index) above_.pop_back();
    Level here{.end = end, .include = {}, .exclude = {}};
    const Level none;
    const Level& above = above_.empty() ? none : above_.back();
    const bool included = include_.empty() || include_.ignores(path, above.include, &here.include);
    const bool excluded = !exclude_.empty() && exclude_.ignores(path, above.exclude, &here.exclude);
    const bool nothing = excluded && !exclude_.may_take_back_below(path, here.exclude);
    if (end > index + 1 && !nothing) above_.push_back(std::move(here));
    if (nothing) return Verdict::nothing_below;
    return included && !excluded ? Verdict::take : Verdict::leave;
  }

 private:
  struct Level {
    std::size_t end = 0;
    context::Ignore::Matched include, exclude;
  };
  const context::Ignore& include_;
  const context::Ignore& exclude_;
  std::vector<Level> above_;
};

}  // namespace

Result<CopyPlanner> CopyPlanner::make(const CopyRequest& request, std::shared_ptr<context::Tree> source, int root,
                                      const std::stop_token& stop) {
  const auto owner = TRY(find_owner(request.chown, root));
  std::shared_ptr<const UniqueFd> kept;
  if (root >= 0 && !request.link) {
    const int copy = ::fcntl(root, F_DUPFD_CLOEXEC, 3);
    if (copy < 0) return sys_fail("keep the root of a step");
    kept = std::make_shared<const UniqueFd>(copy);
  }
  CopyPlanner planner(request, std::move(source), Target(std::move(kept), owner.value_or(Owner{})), stop);
  planner.owner_ = owner;
  planner.mode_ = TRY(ModeChange::parse(request.chmod));
  planner.exclude_ = TRY(context::Ignore::of(request.excludes, "--exclude"));
  std::string path = request.destination;
  planner.destination_slash_ = is_directory_word(path);
  if (!path.starts_with('/')) path = request.working_dir + "/" + path;
  planner.destination_ = in_tree(path);
  if (planner.destination_.empty()) planner.destination_slash_ = true;
  return planner;
}

Result<> CopyPlanner::run() {
  std::vector<Source> sources;
  for (const auto& source : request_.sources) {
    sources.push_back(TRY(find(source)));
    sources.back().number = static_cast<unsigned>(sources.size());
  }
  CHECK(check_count(sources));
  for (const auto& source : sources) CHECK(place(source));
  for (const auto& [name, text] : request_.texts) CHECK(place_text(name, text));
  if (files_ == 0 && std::ranges::any_of(sources, [](const Source& source) { return source.parents; }) &&
      target_.nodes().empty())
    return fail(ErrorKind::invalid, "no source files were specified");

  std::string words;
  for (const auto& source : request_.sources) {
    const auto remote = request_.remotes.find(source);
    words += fmt::format("{:?} ", remote == request_.remotes.end() ? source : remote->second.shown);
  }
  for (const auto& text : request_.texts) words += fmt::format("<<{:?} ", text.first);
  add_part("sources", words);
  add_part("destination", went_to_.value_or("/" + destination_));
  if (owner_) add_part("chown", fmt::format("{}:{}", owner_->uid, owner_->gid));
  if (!request_.chmod.empty()) add_part("chmod", request_.chmod);
  for (const auto& pattern : request_.excludes) add_part("exclude " + pattern, "yes");
  if (request_.link) add_part("link", "yes");
  if (request_.parents) add_part("parents", "yes");
  return {};
}

Result<> CopyPlanner::make_destination() {
  const Destination there = TRY(destination());
  add_part("directory", "/" + there.path);
  if (owner_) add_part("chown", fmt::format("{}:{}", owner_->uid, owner_->gid));
  return {};
}

CopyPlan CopyPlanner::take_plan() {
  CopyPlan plan;
  plan.archives = std::move(archives_);
  // What is named only as a parent is left out where nothing in it is.
  const auto holds = [](std::string_view directory, std::string_view path) {
    return path == directory || (path.starts_with(directory) && path.substr(directory.size()).starts_with('/'));
  };
  std::string last;
  for (auto node = target_.nodes().rbegin(); node != target_.nodes().rend(); ++node) {
    const auto& [path, what] = *node;
    const auto unpacks = [&](const Archive& archive) { return holds(path, archive.base); };
    if (what.listed && !(holds(path, last) && !last.empty()) && std::ranges::none_of(plan.archives, unpacks)) continue;
    plan.nodes.emplace_back(path, what);
    last = path;
  }
  std::ranges::reverse(plan.nodes);
  if (plan.archives.empty()) return plan;
  plan.target.emplace(target_);
  // Parents that an archive does not list are root's, whoever its files are given to.
  plan.target->set_owner(Owner{});
  return plan;
}

Result<CopyPlanner::Source> CopyPlanner::find(const std::string& source) {
  if (const auto remote = request_.remotes.find(source); remote != request_.remotes.end())
    return find_remote(remote->second);
  switch (source_kind(source)) {
    case SourceKind::url:
      if (!request_.add) return fail(ErrorKind::invalid, "source can't be a URL for COPY");
      return fail(ErrorKind::internal, "a URL of ADD was not fetched");
    case SourceKind::repository:
      if (!request_.add) return fail(ErrorKind::invalid, "source can't be a git ref for COPY");
      return fail(ErrorKind::internal, "a repository of ADD was not fetched");
    case SourceKind::path: break;
  }
  if (!tree_) return fail(ErrorKind::not_found, "\"{}\": there is no build context to copy from", source);
  if (request_.parents) return find_with_parents(source);
  Source found{.tree = tree_, .shown = source};
  found.unpack = request_.unpack.value_or(request_.add);
  found.selected = TRY(select(*tree_, source, stop_));
  return found;
}

Result<CopyPlanner::Source> CopyPlanner::find_remote(const RemoteSource& remote) {
  Source found{.tree = remote.tree, .label = remote.shown + " ", .shown = remote.shown};
  if (!request_.add) return fail(ErrorKind::invalid, "source can't be a URL for COPY");
  auto listing = TRY(remote.tree->listing(stop_));
  if (remote.repository) {
    found.selected.push_back({.name = "", .place = {.listing = std::move(listing), .path = ""}});
    return found;
  }
  if (listing->entries.size() != 1) return fail(ErrorKind::internal, "{} is not one file", remote.shown);
  found.unpack = request_.unpack.value_or(false);
  found.label = remote.shown.substr(0, remote.shown.rfind('/') + 1);
  const Entry& entry = listing->entries.front();
  found.selected.push_back({.name = entry.path, .place = {.listing = listing, .path = entry.path, .entry = &entry}});
  return found;
}

// "a/./b/c": from a on, b/c with its parents; without the pivot from the top on.
Result<CopyPlanner::Source> CopyPlanner::find_with_parents(const std::string& source) {
  const std::size_t pivot = source.find("/./");
  const std::string head = in_tree(pivot == std::string::npos ? "" : source.substr(0, pivot));
  const std::string pattern = in_tree(pivot == std::string::npos ? source : source.substr(pivot + 3));
  Source found{.tree = tree_, .shown = source, .parents = true};
  found.unpack = request_.unpack.value_or(request_.add);
  found.selected = TRY(select(*tree_, head, stop_));
  if (!pattern.empty()) found.include = TRY(context::Ignore::of({pattern}, "the source"));
  for (const auto& one : found.selected)
    if (!one.place.directory()) return fail(ErrorKind::invalid, "/{}: not a directory", one.place.path);
  if (pattern.empty() || context::has_wildcards(head) || context::has_wildcards(pattern)) return found;
  for (const auto& one : found.selected) {
    const std::string path = join(one.place.path, pattern);
    if (one.place.listing->find(path) == nullptr)
      return std::unexpected(missing(*tree_, path, {.listing = one.place.listing, .path = path}, stop_));
  }
  return found;
}

Result<> CopyPlanner::check_count(const std::vector<Source>& sources) {
  std::size_t count = request_.texts.size();
  for (const auto& source : sources) count += source.selected.size();
  if (count == 0) return fail(ErrorKind::invalid, "no source files were specified");
  if (count == 1 || destination_slash_) return {};
  const std::string path = TRY(target_.resolve(destination_));
  const auto seen = TRY(target_.look(path));
  if (seen && seen->directory()) return {};
  return fail(ErrorKind::invalid,
              "When using {} with more than one source file, the destination must be a directory and end with a /",
              request_.add ? "ADD" : "COPY");
}

// Where the next source goes, with links followed; what leads there is made.
Result<CopyPlanner::Destination> CopyPlanner::destination() {
  const std::string leads =
      TRY(target_.resolve(destination_slash_ ? std::string_view(destination_) : parent_of(destination_)));
  CHECK(target_.make_directories(leads));
  Destination there{.path = TRY(target_.resolve(destination_))};
  const auto seen = TRY(target_.look(there.path));
  there.there = seen.has_value();
  there.directory = seen && seen->directory();
  if (!went_to_) went_to_ = fmt::format("/{}{}", there.path, there.directory ? "/" : "");
  return there;
}

bool CopyPlanner::excluded(const Selected& one) const {
  if (exclude_.empty()) return false;
  return exclude_.ignores(one.name) || exclude_.ignores(one.place.path);
}

Result<> CopyPlanner::place(const Source& source) {
  for (const auto& one : source.selected) {
    if (stop_.stop_requested()) return fail(ErrorKind::cancelled, "context canceled");
    if (one.place.directory()) {
      CHECK(place_directory(source, one.place));
      continue;
    }
    if (excluded(one)) continue;
    const Entry& entry = *one.place.entry;
    Node node = TRY(node_of(source, one.place, entry));
    CHECK(note(source, entry, node));
    if (source.unpack && entry.kind == Kind::file && is_archive(node.content)) {
      CHECK(place_archive(source, one, std::move(node.content)));
      continue;
    }
    CHECK(place_file(std::move(node), one.name));
  }
  return {};
}

Result<> CopyPlanner::place_text(const std::string& name, const std::string& text) {
  Node node{.mode = mode_.apply(0644, false), .owner = owner_.value_or(Owner{}), .size = text.size()};
  node.content.text = std::make_shared<const std::string>(text);
  node.source = static_cast<unsigned>(request_.sources.size() + 1);
  ++files_;
  add_part("file <<" + name, description(node, oci::Digest::of(text).text()));
  const std::string clean = in_tree(name);
  if (clean.empty()) return fail(ErrorKind::invalid, "a here-document needs a name that a file can have");
  return place_file(std::move(node), base_of(clean));
}

Result<> CopyPlanner::place_file(Node node, std::string_view name) {
  Destination there = TRY(destination());
  if (there.directory) there.path = join(there.path, name);
  CHECK(target_.make_directories(parent_of(there.path)));
  return target_.put(there.path, std::move(node));
}

Result<> CopyPlanner::place_archive(const Source& source, const Selected& one, Content content) {
  const Destination there = TRY(destination());
  CHECK(target_.make_directories(there.path));
  archives_.push_back(
      {.name = source.label + one.name, .content = std::move(content), .base = there.path, .source = source.number});
  add_part("unpack " + source.label + one.name, "yes");
  return {};
}

// What is in it, not the directory itself.
Result<> CopyPlanner::place_directory(const Source& source, const Place& place) {
  const Destination there = TRY(destination());
  if (there.there && !there.directory) return fail(ErrorKind::invalid, "cannot copy to non-directory: /{}", there.path);
  if (!source.parents || !there.there) CHECK(target_.make_directories(there.path));
  const auto [first, last] = place.listing->below(place.path);
  const std::size_t skipped = place.path.empty() ? 0 : place.path.size() + 1;
  Filter filter(source.include, exclude_);
  for (std::size_t i = first; i < last; ++i) {
    const Entry& entry = place.listing->entries[i];
    const std::string_view relative = std::string_view(entry.path).substr(skipped);
    if ((i & 1023) == 0 && stop_.stop_requested()) return fail(ErrorKind::cancelled, "context canceled");
    if (!filter.takes_all()) {
      const std::size_t end = entry.kind == Kind::directory ? place.listing->below(entry.path).second : i + 1;
      const auto verdict = filter.judge(relative, i, end);
      if (verdict == Filter::Verdict::nothing_below) i = end - 1;
      if (verdict != Filter::Verdict::take) continue;
      CHECK(place_parents(place, there.path, relative, source));
    }
    Node node = TRY(node_of(source, place, entry));
    CHECK(note(source, entry, node));
    CHECK(target_.put(join(there.path, relative), std::move(node)));
  }
  return {};
}

// Directories that are not copied themselves, but something in them is.
Result<> CopyPlanner::place_parents(const Place& place, const std::string& at, std::string_view relative,
                                    const Source& source) {
  for (std::size_t slash = relative.find('/'); slash != std::string_view::npos; slash = relative.find('/', slash + 1)) {
    const std::string_view above = relative.substr(0, slash);
    const std::string path = join(at, above);
    const auto known = target_.nodes().find(path);
    if (known != target_.nodes().end() && known->second.source == source.number) continue;
    const Entry* entry = place.listing->find(join(place.path, above));
    if (entry == nullptr || entry->kind != Kind::directory)
      return fail(ErrorKind::internal, "/{} has no parent", relative);
    Node node = TRY(node_of(source, place, *entry));
    // One that is there keeps its owner.
    if (const auto seen = TRY(target_.look(path)); seen && seen->directory()) node.owner = seen->owner;
    CHECK(note(source, *entry, node));
    CHECK(target_.put(path, std::move(node)));
  }
  return {};
}

Result<Node> CopyPlanner::node_of(const Source& source, const Place& place, const Entry& entry) {
  Node node{.kind = entry.kind,
            .mode = entry.mode & 07777,
            .owner = owner_.value_or(Owner{.uid = entry.uid, .gid = entry.gid}),
            .mtime_ns = entry.mtime_ns,
            .size = entry.kind == Kind::file ? entry.size : 0,
            .link = entry.link,
            .device = entry.device,
            .block = entry.block,
            .xattrs = entry.xattrs};
  node.source = source.number;
  if (entry.kind == Kind::symlink)
    node.mode = 0777;
  else
    node.mode = mode_.apply(node.mode, entry.kind == Kind::directory);
  if (entry.kind == Kind::file) node.content = {.tree = source.tree, .listing = place.listing, .entry = &entry};
  return node;
}

Result<> CopyPlanner::note(const Source& source, const Entry& entry, const Node& node) {
  std::string content = entry.link;
  if (entry.kind == Kind::file)
    content = entry.digest
                  ? entry.digest->text()
                  : TRY_AS(source.tree->digest(entry, stop_), "failed to compute cache key: /" + entry.path).text();
  if (entry.kind != Kind::directory) {
    ++files_;
    newest_ = std::max(newest_.value_or(entry.mtime_ns), entry.mtime_ns);
  }
  add_part("file " + source.label + entry.path, description(node, content));
  return {};
}

// The parts say what is read. Which of it comes to which name is in no name of theirs: links and patterns give others.
RecipeParts CopyPlanner::take_parts() {
  oci::Hasher placement;
  const auto add = [&](std::string_view text) { placement.update(fmt::format("{}:{}", text.size(), text)); };
  for (const auto& [path, node] : target_.nodes()) {
    if (node.listed) continue;
    add(path);
    add(fmt::format("{} {}", static_cast<int>(node.kind), node.source));
    add(node.content.entry != nullptr ? node.content.entry->path : node.link);
  }
  for (const auto& archive : archives_) {
    add(archive.name);
    add(fmt::format("{} {}", archive.base, archive.source));
  }
  parts_["placement"] = placement.finish().text();
  return std::move(parts_);
}

// The same file may be copied twice; what is different has another name.
void CopyPlanner::add_part(std::string name, std::string value) {
  for (unsigned count = 2;; ++count) {
    const auto [part, is_new] = parts_.emplace(count == 2 ? name : fmt::format("{} ({})", name, count - 1), value);
    if (is_new || part->second == value) return;
  }
}

}  // namespace corten::build
