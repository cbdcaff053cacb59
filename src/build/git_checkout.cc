#include "build/git_checkout.h"

#include <algorithm>
#include <charconv>

#include "base/text.h"
#include "build/copy_target.h"
#include "remote/text.h"

namespace corten::build {
namespace {

constexpr unsigned max_tags = 10;
constexpr std::size_t max_depth = 256;
constexpr std::size_t max_link = 4095;
constexpr std::size_t max_modules = 1000;

std::unexpected<Error> broken(std::string_view what) { return fail(ErrorKind::invalid, "broken repository: {}", what); }

// The value of a header line of a commit or tag.
std::string_view header(std::string_view text, std::string_view name) {
  for (std::string_view rest = text.substr(0, text.find("\n\n")); !rest.empty();) {
    const std::size_t end = rest.find('\n');
    const std::string_view line = rest.substr(0, end);
    if (line.starts_with(name) && line.substr(name.size()).starts_with(' ')) return line.substr(name.size() + 1);
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
  }
  return {};
}

// "Name <address> 1700000000 +0100"
std::int64_t time_of(std::string_view who) {
  const std::size_t mark = who.rfind('>');
  if (mark == std::string_view::npos) return 0;
  const std::string_view text = trim(who.substr(mark + 1));
  std::int64_t seconds = 0;
  std::from_chars(text.data(), text.data() + text.size(), seconds);
  return seconds < 0 || seconds > 9'000'000'000 ? 0 : seconds * 1'000'000'000;
}

struct TreeEntry {
  std::uint32_t mode = 0;
  std::string_view name;
  ObjectId id;
  bool is_folder() const { return mode == 040000; }
  bool is_link() const { return mode == 0120000; }
  bool is_module() const { return mode == 0160000; }
};

bool is_name(std::string_view name) {
  return !name.empty() && name.size() <= 255 && name != "." && name != ".." && !name.contains('/') &&
         remote::lower(name) != ".git";
}

// "<octal mode> <name>\0<20 bytes>", one after the other.
Result<std::vector<TreeEntry>> read_tree(const GitObjects& objects, const ObjectId& id) {
  const GitObject* object = objects.find(id);
  if (object == nullptr || object->kind != GitKind::tree) return broken("a folder is missing");
  std::vector<TreeEntry> entries;
  for (std::string_view rest = object->text; !rest.empty();) {
    TreeEntry entry;
    const std::size_t zero = rest.find('\0');
    if (zero == std::string_view::npos || rest.size() < zero + 21) return broken("a folder is damaged");
    const auto [end, error] = std::from_chars(rest.data(), rest.data() + zero, entry.mode, 8);
    if (error != std::errc() || *end != ' ') return broken("a folder is damaged");
    entry.name = std::string_view(end + 1, static_cast<std::size_t>(rest.data() + zero - end - 1));
    if (!is_name(entry.name))
      return broken(fmt::format("a file cannot be named {:?}", remote::printable(entry.name, 100)));
    std::copy_n(reinterpret_cast<const std::uint8_t*>(rest.data() + zero + 1), 20, entry.id.bytes.begin());
    rest.remove_prefix(zero + 21);
    entries.push_back(entry);
  }
  return entries;
}

class Lister {
 public:
  Lister(const GitObjects& objects, const context::Pool& pool, const GitCommit& commit, std::size_t& budget,
         const std::stop_token& stop)
      : objects_(objects), pool_(pool), commit_(commit), budget_(budget), stop_(stop) {}

  Result<GitFiles> run(std::string_view folder) {
    struct Level {
      ObjectId tree;
      std::string path;
      std::size_t depth;
    };
    std::vector<Level> ahead{{.tree = TRY(enter(folder)), .path = "", .depth = 0}};
    while (!ahead.empty()) {
      const Level level = std::move(ahead.back());
      ahead.pop_back();
      if (level.depth > max_depth) return broken("folders are too deep");
      if (stop_.stop_requested()) return fail(ErrorKind::cancelled, "context canceled");
      for (const auto& entry : TRY(read_tree(objects_, level.tree))) {
        std::string path = join(level.path, entry.name);
        if (path.size() > context::max_path) return broken("a path is too long");
        if (entry.is_folder()) ahead.push_back({.tree = entry.id, .path = path, .depth = level.depth + 1});
        if (entry.is_module()) files_.links.push_back({.path = join(folder, path), .commit = entry.id});
        CHECK(add(entry, std::move(path)));
      }
    }
    auto& entries = files_.entries;
    std::ranges::sort(entries, context::path_before, &context::Entry::path);
    if (std::ranges::adjacent_find(entries, {}, &context::Entry::path) != entries.end())
      return broken("a folder has two files of one name");
    return std::move(files_);
  }

 private:
  Result<ObjectId> enter(std::string_view folder) {
    ObjectId tree = commit_.tree;
    std::string done;
    for (std::string_view rest = folder; !rest.empty();) {
      const std::size_t slash = rest.find('/');
      const std::string_view name = rest.substr(0, slash);
      rest = slash == std::string_view::npos ? std::string_view() : rest.substr(slash + 1);
      done = join(done, name);
      const auto entries = TRY(read_tree(objects_, tree));
      const auto found = std::ranges::find(entries, name, &TreeEntry::name);
      if (found == entries.end()) return fail(ErrorKind::not_found, "the repository has no folder {:?}", done);
      if (found->is_link())
        return fail(ErrorKind::invalid, "{:?} in the repository is a link: name the folder that it leads to", done);
      if (!found->is_folder()) return fail(ErrorKind::invalid, "{:?} in the repository is not a folder", done);
      tree = found->id;
    }
    return tree;
  }

  Result<> add(const TreeEntry& from, std::string path) {
    if (budget_ == 0) return fail(ErrorKind::invalid, "the repository has too many files");
    --budget_;
    context::Entry entry{.path = std::move(path), .mode = 0755, .mtime_ns = commit_.time_ns};
    if (!from.is_folder()) files_.indexed.push_back({.path = entry.path, .mode = from.mode, .id = from.id});
    if (from.is_folder() || from.is_module()) {
      entry.kind = context::Kind::directory;
      files_.entries.push_back(std::move(entry));
      return {};
    }
    const GitObject* object = objects_.find(from.id);
    if (object == nullptr || object->kind != GitKind::blob) return broken("a file is missing");
    files_.indexed.back().size = object->blob.size;
    if (from.is_link()) {
      entry.kind = context::Kind::symlink;
      entry.mode = 0777;
      entry.link = TRY(pool_.read(object->blob.digest, max_link));
      if (entry.link.empty() || entry.link.contains('\0')) return broken("a link leads nowhere");
    } else {
      if ((from.mode & 0170000) != 0100000) return broken("a file of an unknown kind");
      entry.mode = (from.mode & 0100) != 0 ? 0755 : 0644;
      files_.indexed.back().mode = 0100000 | entry.mode;
      entry.size = object->blob.size;
      entry.digest = object->blob.digest;
    }
    files_.entries.push_back(std::move(entry));
    return {};
  }

  const GitObjects& objects_;
  const context::Pool& pool_;
  const GitCommit& commit_;
  std::size_t& budget_;
  const std::stop_token& stop_;
  GitFiles files_;
};

}  // namespace

Result<GitCommit> find_commit(const GitObjects& objects, const ObjectId& id) {
  ObjectId at = id;
  for (unsigned i = 0; i < max_tags; ++i) {
    const GitObject* object = objects.find(at);
    if (object == nullptr) return broken("the commit is missing");
    if (object->kind == GitKind::commit) {
      const auto tree = ObjectId::parse(header(object->text, "tree"));
      if (!tree) return broken("a commit is damaged");
      return GitCommit{.id = at, .tree = *tree, .time_ns = time_of(header(object->text, "committer"))};
    }
    if (object->kind != GitKind::tag) break;
    const auto next = ObjectId::parse(header(object->text, "object"));
    if (!next) return broken("a tag is damaged");
    at = *next;
  }
  return fail(ErrorKind::invalid, "{} is no commit", id.hex());
}

Result<GitFiles> list_files(const GitObjects& objects, const context::Pool& pool, const GitCommit& commit,
                            std::string_view folder, std::size_t& budget, const std::stop_token& stop) {
  return Lister(objects, pool, commit, budget, stop).run(folder);
}

Result<std::string> read_top_file(const GitObjects& objects, const context::Pool& pool, const GitCommit& commit,
                                  std::string_view name, std::size_t max_bytes) {
  const auto entries = TRY(read_tree(objects, commit.tree));
  const auto found = std::ranges::find(entries, name, &TreeEntry::name);
  if (found == entries.end() || (found->mode & 0170000) != 0100000) return std::string();
  const GitObject* object = objects.find(found->id);
  if (object == nullptr || object->kind != GitKind::blob) return broken("a file is missing");
  return pool.read(object->blob.digest, max_bytes);
}

std::vector<GitModule> parse_modules(std::string_view text) {
  std::vector<GitModule> modules;
  bool in_module = false;
  for (std::string_view rest = text; !rest.empty();) {
    const std::size_t end = rest.find('\n');
    const std::string_view line = trim(rest.substr(0, end));
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
    if (line.starts_with('[')) {
      in_module = line.starts_with("[submodule ") && modules.size() < max_modules;
      if (in_module) modules.emplace_back();
      continue;
    }
    const std::size_t equals = line.find('=');
    if (!in_module || equals == std::string_view::npos || line.starts_with('#') || line.starts_with(';')) continue;
    const std::string name = remote::lower(trim(line.substr(0, equals)));
    std::string_view value = trim(line.substr(equals + 1));
    if (value.size() >= 2 && value.starts_with('"') && value.ends_with('"')) value = value.substr(1, value.size() - 2);
    if (name == "path") modules.back().path = std::string(value);
    if (name == "url") modules.back().address = std::string(value);
  }
  std::erase_if(modules, [](const GitModule& module) { return module.path.empty() || module.address.empty(); });
  return modules;
}

}  // namespace corten::build
