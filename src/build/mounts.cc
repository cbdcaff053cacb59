#include "build/mounts.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <map>

#include "base/id.h"
#include "build/copy.h"
#include "context/glob.h"
#include "dockerfile/apply.h"
#include "image/layers.h"
#include "store/store.h"
#include "sys/beneath.h"
#include "sys/copy_tree.h"
#include "sys/files.h"
#include "sys/mounts.h"

namespace corten::build {
namespace {

// Where a part of a context is put in the layer that is mounted.
constexpr std::string_view bound_name = "bound";

Result<UniqueFd> memory_file_system(std::string_view what) {
  // Not to be written to a swap device; kernels before 6.4 have no such option.
  const std::vector<sys::MountParameter> mode = {{.key = "mode", .value = "0700"}};
  std::vector<sys::MountParameter> no_swap = mode;
  no_swap.push_back({.key = "noswap", .is_flag = true});
  auto mount = sys::mount_filesystem("tmpfs", what, no_swap, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
  if (mount) return mount;
  return sys::mount_filesystem("tmpfs", what, mode, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
}

// A scratch copy for a mount that may be written to: gone with its owner.
class ScratchCopy {
 public:
  ScratchCopy(std::string directory) : directory_(std::move(directory)) {}
  ScratchCopy(const ScratchCopy&) = delete;
  ScratchCopy& operator=(const ScratchCopy&) = delete;
  ~ScratchCopy() { static_cast<void>(sys::remove_tree(directory_)); }
  const std::string& path() const { return directory_; }

 private:
  std::string directory_;
};

}  // namespace

Result<UniqueFd> memory_file(std::string_view content, std::uint32_t mode, std::uint32_t uid, std::uint32_t gid) {
  const UniqueFd root = TRY(memory_file_system("build"));
  const UniqueFd file =
      TRY(sys::open_beneath(root.get(), "file", O_WRONLY | O_CREAT | O_EXCL, sys::Resolve::beneath, 0600));
  CHECK(sys::write_all(file.get(), content));
  if (::fchown(file.get(), uid, gid) != 0) return sys_fail("set the owner of a file in memory");
  if (::fchmod(file.get(), mode) != 0) return sys_fail("set the mode of a file in memory");
  return sys::clone_mount(root.get(), "file", false, true);
}

class MountSet::Impl {
 public:
  Impl(Job& job, std::size_t stage, std::vector<MountPlan> plans) : job_(job), stage_(stage) {
    for (MountPlan& plan : plans) mounts_.push_back({std::move(plan), {}, {}, {}});
  }

  Result<> describe(Recipe& recipe) {
    for (Mount& mount : mounts_) {
      const MountPlan& plan = mount.plan;
      const std::string key = fmt::format("mount {}", plan.target.empty() ? plan.variable : plan.target);
      switch (plan.type) {
        case MountPlan::Type::bind: CHECK_AS(describe_bind(mount, key, recipe), key); break;
        case MountPlan::Type::cache:
          CHECK_AS(find_seed(mount), key);
          recipe.set(key, fmt::format("cache {}{}", cache_id(mount), plan.writable ? "" : " read-only"));
          break;
        case MountPlan::Type::tmpfs: recipe.set(key, fmt::format("tmpfs {}", plan.size)); break;
        // Neither the value nor whether there is one: a secret is no input that a result may depend on.
        // Who may read it is one.
        case MountPlan::Type::secret:
          recipe.set(key, fmt::format("secret {} {} {}", plan.id, plan.variable, access_of(plan)));
          break;
        case MountPlan::Type::ssh: recipe.set(key, fmt::format("ssh {} {}", plan.id, access_of(plan))); break;
      }
    }
    return {};
  }

  Result<StepMounts> make() {
    StepMounts out;
    std::vector<Mount*> order;
    for (Mount& mount : mounts_) order.push_back(&mount);
    // Two steps that wait for each other's locked folders must come to them in one order.
    std::ranges::stable_sort(order, [](const Mount* a, const Mount* b) { return rank(*a) < rank(*b); });
    std::vector<std::optional<StepMount>> made(mounts_.size());
    for (Mount* mount : order) {
      const auto index = static_cast<std::size_t>(mount - mounts_.data());
      made[index] = TRY_AS(make_one(*mount, out), fmt::format("mount {}", mount->plan.target));
    }
    for (auto& mount : made)
      if (mount) out.mounts.push_back(std::move(*mount));
    return out;
  }

 private:
  struct Mount {
    MountPlan plan;
    std::string chain;                       // bind and cache with from: the layers that it is in
    std::unique_ptr<PreparedCopy> prepared;  // bind out of a context
    std::string from_name;                   // for messages
  };

  static std::string access_of(const MountPlan& plan) {
    const auto number = [](const auto& value) { return value ? fmt::format("{}", *value) : std::string("-"); };
    return fmt::format("{} {} {}{}", number(plan.mode), number(plan.uid), number(plan.gid),
                       plan.required ? " required" : "");
  }

  static std::pair<bool, std::string> rank(const Mount& mount) {
    const bool cache = mount.plan.type == MountPlan::Type::cache;
    return {!cache, cache ? cache_id(mount) : std::string()};
  }

  // Where `from` leads: layers, or a context.
  Result<std::shared_ptr<context::Tree>> resolve(Mount& mount) {
    const std::string& from = mount.plan.from;
    if (from.empty()) return job_.context();
    const Origin origin = TRY(job_.plan.origin(from, stage_));
    mount.from_name = origin.name;
    switch (origin.kind) {
      case Origin::Kind::tree: return origin.tree;
      case Origin::Kind::stage: mount.chain = TRY(job_.stage(origin.stage))->chain; break;
      case Origin::Kind::image:
        mount.chain = TRY(job_.image(origin.image, job_.plan.platform, [](const std::string&) {})).chain;
        break;
      case Origin::Kind::scratch: break;
    }
    return std::shared_ptr<context::Tree>();
  }

  Result<> describe_bind(Mount& mount, const std::string& key, Recipe& recipe) {
    const MountPlan& plan = mount.plan;
    const auto tree = TRY(resolve(mount));
    const std::string_view access = plan.writable ? "rw" : "ro";
    if (!tree) {
      // By name: a chain id is the digest of all that is in it.
      recipe.set(key, fmt::format("bind {} of {} {}", plan.source, mount.chain, access));
      return {};
    }
    CopyRequest request;
    request.sources = {plan.source.empty() ? "/" : plan.source};
    const std::string path = context::clean_path("/" + plan.source).substr(1);
    const auto listing = TRY(tree->listing(job_.stop));
    const context::Entry* entry = path.empty() ? nullptr : listing->find(path);
    const bool directory = path.empty() || (entry != nullptr && entry->kind == context::Kind::directory);
    request.destination = fmt::format("/{}{}", bound_name, directory ? "/" : "");
    mount.prepared = TRY(prepare_copy(request, tree, -1, job_.stop));
    Recipe read;
    mount.prepared->describe(read);
    Recipe rest;
    for (const auto& [name, value] : read.parts()) {
      if (name.starts_with("file "))
        recipe.set(plan.from.empty() ? name : fmt::format("file {}:{}", plan.from, name.substr(5)), value);
      else
        rest.set(name, value);
    }
    recipe.set(key, fmt::format("bind {} of {} {} {}", plan.source, plan.from, access, rest.key().text()));
    return {};
  }

  Result<> find_seed(Mount& mount) {
    if (mount.plan.from.empty()) return {};
    if (TRY(resolve(mount))) return fail(ErrorKind::invalid, "from={}: a stage or an image is wanted", mount.plan.from);
    return {};
  }

  // Folders that would begin differently are different folders.
  static std::string cache_id(const Mount& mount) {
    const MountPlan& plan = mount.plan;
    std::string out = plan.id;
    if (plan.mode || plan.uid || plan.gid)
      out +=
          fmt::format(" mode={:o},uid={},gid={}", plan.mode.value_or(0755), plan.uid.value_or(0), plan.gid.value_or(0));
    if (!mount.chain.empty()) out += fmt::format(" from={}:{}", mount.chain, plan.source);
    return out;
  }

  Result<std::optional<StepMount>> make_one(Mount& mount, StepMounts& all) {
    const MountPlan& plan = mount.plan;
    StepMount out;
    out.target = plan.target;
    out.read_only = !plan.writable;
    switch (plan.type) {
      case MountPlan::Type::tmpfs: out.size = plan.size; return out;
      case MountPlan::Type::cache: out.source = TRY(cache_folder(mount, all)); return out;
      case MountPlan::Type::bind: out.source = TRY(bound(mount, all)); return out;
      case MountPlan::Type::ssh: return ssh(plan, std::move(out), all);
      case MountPlan::Type::secret: return secret(plan, std::move(out), all);
    }
    return std::nullopt;
  }

  Sharing strictest_sharing(const std::string& id) const {
    Sharing out = Sharing::shared;
    for (const Mount& mount : mounts_)
      if (mount.plan.type == MountPlan::Type::cache && cache_id(mount) == id) out = std::max(out, mount.plan.sharing);
    return out;
  }

  Result<UniqueFd> cache_folder(Mount& mount, StepMounts& all) {
    const MountPlan& plan = mount.plan;
    const auto seed = [&](int folder) -> Result<> {
      if (!mount.chain.empty()) {
        const UniqueFd layers = TRY(job_.mount(mount.chain));
        const UniqueFd from = TRY(sys::open_beneath(layers.get(), plan.source, O_RDONLY | O_DIRECTORY));
        CHECK(sys::copy_tree(from.get(), folder));
      }
      if (plan.mode && ::fchmod(folder, *plan.mode) != 0) return sys_fail("set the mode");
      if ((plan.uid || plan.gid) && ::fchown(folder, plan.uid.value_or(0), plan.gid.value_or(0)) != 0)
        return sys_fail("set the owner");
      return {};
    };
    const std::string id = cache_id(mount);
    // Once for a step, or it would wait for itself.
    auto known = folders_.find(id);
    if (known == folders_.end()) {
      CacheMount taken = TRY(job_.shared.parts.cache.mount(id, strictest_sharing(id), seed, job_.stop));
      all.holders.push_back(std::move(taken.holder));
      known = folders_.emplace(id, std::move(taken.directory)).first;
    }
    UniqueFd copy(::fcntl(known->second.get(), F_DUPFD_CLOEXEC, 3));
    if (!copy) return sys_fail("open cache mount {} once more", id);
    return copy;
  }

  Result<UniqueFd> bound(Mount& mount, StepMounts& all) {
    std::string chain = mount.chain, path = mount.plan.source;
    if (mount.prepared) {
      const auto tar = TRY(mount.prepared->tar(mount.prepared->newest().value_or(Timestamp())));
      StoppableSource source(*tar, job_.stop);
      const auto layer = TRY(image::add_layer(job_.shared.parts.images, job_.lease, "", source));
      chain = layer ? layer->chain_id : "";
      path = bound_name;
    }
    if (chain.empty()) return memory_file_system("build");  // nothing is in it
    const UniqueFd layers = TRY(job_.mount(chain));
    const UniqueFd from = TRY(sys::open_beneath(layers.get(), path.empty() ? "/" : path, O_PATH));
    if (mount.plan.writable) return copied(from.get(), all);
    return sys::clone_mount(from.get(), "", false);
  }

  // What the command writes goes with the copy.
  Result<UniqueFd> copied(int from, StepMounts& all) {
    auto scratch = std::make_shared<ScratchCopy>(
        fmt::format("{}/build/scratch/{}", job_.shared.parts.store.data_root(), random_id().substr(0, 25)));
    CHECK(sys::make_directories(scratch->path(), 0755));
    all.holders.push_back(scratch);
    struct stat status{};
    if (::fstat(from, &status) != 0) return sys_fail("look at a mount's source");
    if (S_ISDIR(status.st_mode)) {
      const UniqueFd source = TRY(sys::open_beneath(from, ".", O_RDONLY | O_DIRECTORY));
      const UniqueFd to = TRY(sys::open_directory(scratch->path()));
      CHECK(sys::copy_tree(source.get(), to.get()));
      return sys::open_file(scratch->path(), O_PATH | O_DIRECTORY | O_NOFOLLOW);
    }
    if (!S_ISREG(status.st_mode)) return fail(ErrorKind::invalid, "neither a file nor a directory");
    const UniqueFd source(::open(fmt::format("/proc/self/fd/{}", from).c_str(), O_RDONLY | O_CLOEXEC));
    if (!source) return sys_fail("open a mount's source");
    const std::string name = scratch->path() + "/file";
    const UniqueFd to = TRY(sys::open_file(name, O_WRONLY | O_CREAT | O_EXCL, 0600));
    store::FdSource bytes(source.get());
    store::FdSink sink(to.get());
    TRY(store::copy(bytes, sink));
    if (::fchown(to.get(), status.st_uid, status.st_gid) != 0 || ::fchmod(to.get(), status.st_mode & 07777) != 0)
      return sys_fail("copy a mount's source");
    return sys::open_file(name, O_PATH | O_NOFOLLOW);
  }

  Result<std::optional<StepMount>> secret(const MountPlan& plan, StepMount mount, StepMounts& all) {
    const auto found = job_.options.secrets.find(plan.id);
    if (found == job_.options.secrets.end()) {
      if (plan.required) return fail(ErrorKind::invalid, "secret {}: not found", plan.id);
      return std::nullopt;
    }
    if (!plan.variable.empty()) {
      if (found->second.value.find('\0') != std::string::npos)
        return fail(ErrorKind::invalid, "secret {}: a zero byte cannot be in a variable", plan.id);
      all.secret_env.push_back(plan.variable + "=" + found->second.value);
    }
    if (plan.target.empty()) return std::nullopt;
    mount.source =
        TRY(memory_file(found->second.value, plan.mode.value_or(0400), plan.uid.value_or(0), plan.gid.value_or(0)));
    mount.read_only = true;
    return mount;
  }

  Result<std::optional<StepMount>> ssh(const MountPlan& plan, StepMount mount, StepMounts& all) {
    auto socket = job_.options.ssh
                      ? job_.options.ssh->socket(plan.id)
                      : fail(ErrorKind::not_found, "no agent was forwarded (build with --ssh {})", plan.id);
    if (!socket) {
      if (plan.required || socket.error().kind() != ErrorKind::not_found) return std::unexpected(socket.error());
      return std::nullopt;
    }
    mount.source = std::move(*socket);
    mount.read_only = false;
    all.env.push_back("SSH_AUTH_SOCK=" + plan.target);
    return mount;
  }

  Job& job_;
  const std::size_t stage_;
  std::vector<Mount> mounts_;
  std::map<std::string, UniqueFd> folders_;  // cache mounts that this step has, by cache_id()
};

MountSet::MountSet(Job& job, std::size_t stage, std::vector<MountPlan> plans)
    : impl_(std::make_unique<Impl>(job, stage, std::move(plans))) {}
MountSet::~MountSet() = default;
MountSet::MountSet(MountSet&&) noexcept = default;
Result<> MountSet::describe(Recipe& recipe) { return impl_->describe(recipe); }
Result<StepMounts> MountSet::make() { return impl_->make(); }

}  // namespace corten::build
