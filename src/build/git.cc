#include "build/git.h"

#include <algorithm>
#include <iterator>

#include "build/copy_target.h"
#include "build/git_checkout.h"
#include "build/git_directory.h"
#include "build/git_wire.h"
#include "context/glob.h"
#include "remote/text.h"

namespace corten::build {
namespace {

constexpr std::size_t max_files = 1'000'000;  // of a repository and its submodules
constexpr unsigned max_repositories = 200;
constexpr unsigned max_nesting = 8;
constexpr std::size_t max_remembered = 8;
constexpr std::size_t max_modules_file = 1U << 20;

// Where a submodule's address leads, seen from its parent. `invalid`: to no server.
Result<GitAddress> module_address(const GitAddress& parent, const std::string& text) {
  const auto refused = [&] {
    return fail(ErrorKind::forbidden, "the submodule at {:?}: want an address with https://, http:// or git://",
                remote::printable(text.substr(0, text.find("://")), 60));
  };
  if (std::ranges::any_of(text, [](char c) { return static_cast<unsigned char>(c) <= 0x20; })) return refused();
  GitAddress address;
  if (text.starts_with("./") || text.starts_with("../")) {
    address = parent;
    address.folder.clear();
    std::string& path = parent.transport == GitAddress::Transport::web ? address.web.url.target : address.path;
    path = context::clean_path("/" + path + "/" + text);
    return address;
  }
  if (text.starts_with("https://") || text.starts_with("http://")) {
    address.web = TRY_AS(WebAddress::parse(text.substr(0, text.find_first_of("?#"))), "a submodule");
    // What a repository says of users and passwords is nobody's secret, and nobody's business.
    address.web.authorization.clear();
    while (address.web.url.target.ends_with('/')) address.web.url.target.pop_back();
    const bool same = parent.transport == GitAddress::Transport::web && parent.web.url.host == address.web.url.host;
    address.web.stranger = !same || parent.web.stranger;
    address.shown = address.web.url.shown();
    return address;
  }
  if (!text.starts_with("git://")) return refused();
  const auto parsed = TRY(GitAddress::parse(text, false));
  if (!parsed) return refused();
  address = *parsed;
  address.ref.clear();
  address.folder.clear();
  address.stranger = parent.transport != GitAddress::Transport::git || parent.host != address.host || parent.stranger;
  return address;
}

bool is_below(std::string_view path, std::string_view folder) {
  return folder.empty() || path == folder || (path.starts_with(folder) && path.substr(folder.size()).starts_with('/'));
}

class Checkout {
 public:
  Checkout(const GitRequest& request, context::Hold& hold, const std::stop_token& stop)
      : request_(request), hold_(hold), stop_(stop) {}

  // Which object it is that is wanted.
  Result<std::string> find() {
    server_.emplace(request_.hosts, request_.address, progress(), stop_);
    return TRY_AS(server_->find(request_.address.ref), request_.address.shown);
  }
  Result<std::vector<context::Entry>> run(const std::string& object) {
    CHECK(take(request_.address, *server_, object, "", 0));
    std::ranges::sort(entries_, context::path_before, &context::Entry::path);
    return std::move(entries_);
  }

 private:
  GitServer::Progress progress() const {
    return [this](const std::string& line) {
      if (request_.request.status) request_.request.status(line);
    };
  }

  Result<> take(const GitAddress& address, GitServer& server, const std::string& object, const std::string& at,
                unsigned nesting) {
    if (nesting > max_nesting || ++repositories_ > max_repositories)
      return fail(ErrorKind::invalid, "{}: too many submodules", address.shown);
    if (request_.request.status) request_.request.status("fetching " + address.shown);
    const auto id = ObjectId::parse(object);
    if (!id) return fail(ErrorKind::internal, "{:?} is no object", object);
    GitObjects objects(request_.pool, hold_);
    CHECK_AS(
        server.fetch(object, [&](store::ByteSource& pack) { return objects.add(pack, request_.directory, stop_); }),
        address.shown);
    const GitCommit commit = TRY_AS(find_commit(objects, *id), address.shown);
    if (nesting == 0) CHECK(check_commit(commit, address));
    auto files = TRY_AS(list_files(objects, request_.pool, commit, address.folder, budget_, stop_), address.shown);
    for (auto& entry : files.entries) {
      entry.path = join(at, entry.path);
      entries_.push_back(std::move(entry));
    }
    if (nesting == 0 && keeps_git()) {
      const GitDirectory what{.objects = objects,
                              .files = files,
                              .commit = commit,
                              .name = server.found_name(),
                              .remote = address.shown,
                              .shallow = server.shallow()};
      auto made = TRY_AS(make_git_directory(what, request_.pool, hold_, stop_), address.shown);
      std::ranges::move(made, std::back_inserter(entries_));
    }
    if (files.links.empty() || !request_.address.submodules) return {};
    const auto modules = parse_modules(
        TRY_AS(read_top_file(objects, request_.pool, commit, ".gitmodules", max_modules_file), address.shown));
    for (const auto& link : files.links) CHECK(take_module(address, modules, link, at, nesting));
    return {};
  }

  Result<> take_module(const GitAddress& parent, const std::vector<GitModule>& modules, const GitLink& link,
                       const std::string& at, unsigned nesting) {
    const auto module = std::ranges::find(modules, link.path, &GitModule::path);
    if (module == modules.end()) return {};  // a folder that stays empty, as Git has it
    const GitAddress address = TRY_AS(module_address(parent, module->address), parent.shown);
    std::string_view inside = link.path;
    if (is_below(inside, parent.folder) && !parent.folder.empty()) inside.remove_prefix(parent.folder.size() + 1);
    GitServer server(request_.hosts, address, progress(), stop_);
    return take(address, server, TRY_AS(server.find(link.commit.hex()), address.shown), join(at, inside), nesting + 1);
  }

  // A folder alone is no repository.
  bool keeps_git() const {
    return request_.address.folder.empty() && request_.address.keep_git_dir.value_or(request_.request.keep_git_dir);
  }

  Result<> check_commit(const GitCommit& commit, const GitAddress& address) {
    const std::string got = commit.id.hex();
    for (const auto& wanted : {address.commit, request_.request.checksum})
      if (!got.starts_with(wanted))
        return fail(ErrorKind::invalid, "{}: expected checksum to match {}, got {}", address.shown,
                    remote::printable(wanted, 80), got);
    return {};
  }

  const GitRequest& request_;
  context::Hold& hold_;
  const std::stop_token& stop_;
  std::vector<context::Entry> entries_;
  std::size_t budget_ = max_files;
  unsigned repositories_ = 0;
  std::optional<GitServer> server_;
};

}  // namespace

std::optional<RemoteSource> GitMemory::find(const std::string& key) {
  const MutexLock lock(mutex_);
  const auto found = std::ranges::find(all_, key, [](const auto& one) -> const std::string& { return one.first; });
  if (found == all_.end()) return std::nullopt;
  all_.splice(all_.begin(), all_, found);
  return found->second;
}

void GitMemory::remember(std::string key, RemoteSource source) {
  std::pair<std::string, RemoteSource> forgotten;  // let go of without the lock
  const MutexLock lock(mutex_);
  all_.emplace_front(std::move(key), std::move(source));
  if (all_.size() <= max_remembered) return;
  forgotten = std::move(all_.back());
  all_.pop_back();
}

Result<RemoteSource> fetch_repository(const GitRequest& request, const std::stop_token& stop) {
  const std::string& checksum = request.request.checksum;
  if (!checksum.empty() && checksum.size() < 7)
    return fail(ErrorKind::invalid, "--checksum: a commit needs at least 7 of its digits");
  auto hold = request.pool.hold();
  Checkout checkout(request, *hold, stop);
  const std::string object = TRY(checkout.find());
  const GitAddress& address = request.address;
  const bool keep = address.keep_git_dir.value_or(request.request.keep_git_dir);
  // With who asks: what a password opened is not for those who have none.
  const std::string key =
      fmt::format("{}\n{}\n{}\n{}\n{}\n{}\n{}\n{}{}", address.shown, address.ref, address.web.authorization, object,
                  address.folder, address.commit, checksum, keep ? "git" : "", address.submodules ? "" : "alone");
  if (auto known = request.memory.find(key)) return *known;
  auto listing = std::make_shared<context::Listing>();
  listing->entries = TRY(checkout.run(object));
  const std::string shown = fmt::format("{}{}{}", address.shown, address.ref.empty() ? "" : "#", address.ref);
  RemoteSource source{.tree = context::pooled_tree(request.pool, std::move(listing), std::move(hold), shown),
                      .repository = true,
                      .shown = shown};
  request.memory.remember(key, source);
  return source;
}

}  // namespace corten::build
