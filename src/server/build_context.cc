#include "server/build_context.h"

#include <algorithm>
#include <array>

#include "context/glob.h"
#include "context/ignore.h"
#include "context/tar_intake.h"
#include "dockerfile/parse.h"
#include "store/archive.h"
#include "store/tar.h"

namespace corten::server {
namespace {

using context::Entry;
using context::Kind;
using context::Listing;
using context::Tree;

constexpr unsigned max_links = 40;

bool is_text(std::string_view bytes) {
  return std::ranges::none_of(bytes, [](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte < 0x20 && c != '\n' && c != '\r' && c != '\t' && c != '\f';
  });
}

// A tree without some of its entries. Everything else is the other one's.
class Filtered : public Tree {
 public:
  Filtered(std::shared_ptr<Tree> all, std::shared_ptr<const Listing> left)
      : all_(std::move(all)), left_(std::move(left)) {}
  std::string name() const override { return all_->name(); }
  Result<std::shared_ptr<const Listing>> listing(const std::stop_token&) override { return left_; }
  Result<oci::Digest> digest(const Entry& entry, const std::stop_token& stop) override {
    return all_->digest(entry, stop);
  }
  Result<UniqueFd> open(const Entry& entry) override { return all_->open(entry); }
  Result<std::string> read(const Entry& entry, std::size_t limit) override { return all_->read(entry, limit); }

 private:
  std::shared_ptr<Tree> all_;
  std::shared_ptr<const Listing> left_;
};

std::string parent_of(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  return std::string(slash == std::string_view::npos ? "" : path.substr(0, slash));
}

// The entry that a path leads to, links followed inside the listing as under chroot; nullptr where there is none.
const Entry* follow(const Listing& listing, std::string path) {
  for (unsigned links = 0; links < max_links; ++links) {
    path.insert(0, "/");
    path = context::clean_path(path).substr(1);
    const Entry* found = nullptr;
    for (std::size_t end = path.find('/');; end = path.find('/', end + 1)) {
      found = listing.find(path.substr(0, end));
      if (found == nullptr) return nullptr;
      if (found->kind == Kind::symlink) {
        const std::string rest = end == std::string::npos ? "" : path.substr(end);
        const std::string from = found->link.starts_with('/') ? "" : parent_of(found->path);
        path = fmt::format("{}/{}{}", from, found->link, rest);
        found = nullptr;
        break;
      }
      if (end == std::string::npos) break;
      if (found->kind != Kind::directory) return nullptr;
    }
    if (found != nullptr) return found;
  }
  return nullptr;
}

// Docker looks whether a path leaves the context before it looks whether there is such a file.
Result<> require_inside(const std::string& path) {
  const std::string clean = context::clean_path(path);
  if (path.find('\0') == std::string::npos && clean != ".." && !clean.starts_with("../")) return {};
  return fail(ErrorKind::invalid, "Forbidden path outside the build context: {} ()", path);
}

Result<std::string> read_text(Tree& tree, const Entry& entry, std::size_t limit) {
  if (entry.kind != Kind::file) return fail(ErrorKind::invalid, "{} is not a file", entry.path);
  return tree.read(entry, limit);
}

Result<context::Ignore> ignore_of(Tree& tree, const Listing& listing, const std::string& dockerfile) {
  for (const std::string& name : {dockerfile + ".dockerignore", std::string(".dockerignore")}) {
    const Entry* entry = follow(listing, name);
    if (entry == nullptr) continue;
    return context::Ignore::parse(TRY(read_text(tree, *entry, context::max_ignore_bytes)), name);
  }
  return context::Ignore();
}

}  // namespace

Result<BuildInput> take_input(store::ByteSource& body, context::Pool& pool, const std::stop_token& stop) {
  const auto plain = TRY(store::decompress(body));
  std::vector<std::byte> head(store::tar_block);
  head.resize(TRY(store::read_full(*plain, head)));
  const bool tar = store::looks_like_tar(head);
  const std::string_view text(reinterpret_cast<const char*>(head.data()), head.size());
  if (!tar && (head.empty() || !is_text(text)))
    return fail(ErrorKind::invalid, "the build context is neither a tar archive nor a Dockerfile{}",
                head.empty() ? ": it is empty" : "");
  store::PrefixSource whole(head, *plain);
  BuildInput input;
  if (!tar) {
    input.dockerfile = TRY(store::read_all(whole, dockerfile::max_file_bytes, "the Dockerfile"));
    return input;
  }
  auto hold = pool.hold();
  // Docker's client leaves the end out where it has put a Dockerfile in; the request's own end says that all is there.
  const context::TarIntakeOptions options{.need_end_marker = false, .decompress = false};
  auto listing = std::make_shared<const Listing>(
      TRY_AS(context::take_tar(whole, pool, *hold, options, stop), "read the build context"));
  input.tree = context::pooled_tree(pool, std::move(listing), std::move(hold), "build context");
  return input;
}

Result<BuildInput> open_dockerfile(std::shared_ptr<Tree> tree, const std::string& path, const std::stop_token& stop) {
  BuildInput input;
  input.dockerfile_name = path.empty() ? "Dockerfile" : path;
  CHECK(require_inside(input.dockerfile_name));
  const auto listing = TRY(tree->listing(stop));
  const Entry* entry = follow(*listing, input.dockerfile_name);
  if (entry == nullptr && input.dockerfile_name == "Dockerfile") {
    entry = follow(*listing, "dockerfile");
    if (entry != nullptr) input.dockerfile_name = "dockerfile";
  }
  if (entry == nullptr)
    return fail(ErrorKind::invalid, "Cannot locate specified Dockerfile: {}", input.dockerfile_name);
  if (entry->kind == Kind::file && entry->size > dockerfile::max_file_bytes)
    return fail(ErrorKind::invalid, "the Dockerfile ({}) is larger than {} bytes", input.dockerfile_name,
                dockerfile::max_file_bytes);
  input.dockerfile = TRY(read_text(*tree, *entry, dockerfile::max_file_bytes));
  input.tree = TRY(without_ignored(std::move(tree), input.dockerfile_name, stop));
  return input;
}

Result<std::shared_ptr<Tree>> without_ignored(std::shared_ptr<Tree> tree, const std::string& dockerfile,
                                              const std::stop_token& stop) {
  const auto listing = TRY(tree->listing(stop));
  const context::Ignore ignore = TRY(ignore_of(*tree, *listing, dockerfile));
  if (ignore.empty()) return tree;
  return std::make_shared<Filtered>(std::move(tree), std::make_shared<const Listing>(without(*listing, ignore)));
}

Result<> check_dockerfile(const BuildInput& input) {
  const std::string& text = *input.dockerfile;
  if (text.empty()) return fail(ErrorKind::invalid, "the Dockerfile ({}) cannot be empty", input.dockerfile_name);
  const auto parsed = dockerfile::parse(text);
  if (parsed) return {};
  const dockerfile::Problem& problem = parsed.error();
  const unsigned line = problem.lines.first;
  if (line == 0) return fail(ErrorKind::invalid, "{}", problem.reason);
  return fail(ErrorKind::invalid, "dockerfile parse error on line {}: {}\n{}", line, problem.reason,
              dockerfile::excerpt(text, problem.lines));
}

}  // namespace corten::server
