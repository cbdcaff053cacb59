#include "daemon/daemon.h"

#include <fcntl.h>
#include <grp.h>
#include <link.h>
#include <malloc.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <charconv>
#include <climits>
#include <csignal>
#include <filesystem>
#include <span>

#include "base/id.h"
#include "base/log.h"
#include "base/mutex.h"
#include "base/unique_fd.h"
#include "daemon/build_parts.h"
#include "daemon/host_info.h"
#include "daemon/listening.h"
#include "daemon/preflight.h"
#include "daemon/reload.h"
#include "engine/make_engine.h"
#include "http/headers.h"
#include "http/server.h"
#include "json/codec.h"
#include "server/router.h"
#include "server/trust_route.h"
#include "shimproto/shim_client.h"
#include "sys/files.h"

namespace corten::daemon {
namespace {

using namespace std::chrono_literals;

constexpr auto shutdown_grace = 5s;

sigset_t handled_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int number : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, number);
  return signals;
}

// corten-shim and corten-init stand beside this program.
Result<std::string> beside_this_program(std::string_view name) {
  std::array<char, PATH_MAX> own;
  const ssize_t length = readlink("/proc/self/exe", own.data(), own.size());
  if (length < 0) return sys_fail("find this program");
  const std::filesystem::path path =
      std::filesystem::path(std::string(own.data(), static_cast<std::size_t>(length))).parent_path() / name;
  if (access(path.c_str(), X_OK) != 0) return sys_fail("{}: the program must stand beside cortend", path.string());
  return path.string();
}

// A network's identity outlives the daemon.
struct NetworkRecord {
  std::string name;
  template <class Self, class Visitor>
  static void fields(Self& self, Visitor& visit) {
    visit("Name", self.name);
  }
};

Result<std::string> default_network_id(store::Database& database) {
  for (const store::ObjectRow& row : TRY(database.list_objects("network"))) {
    const auto record = json::from_text<NetworkRecord>(row.json);
    if (record && record->name == "bridge") return row.id;
  }
  std::string id = random_id();
  CHECK(database.put_object("network", id, json::to_text(NetworkRecord{"bridge"})));
  return id;
}

// The id that `info` shows, made at the first start of a data root.
Result<std::string> daemon_id(store::Database& database) {
  const auto rows = TRY(database.list_objects("daemon"));
  if (!rows.empty()) return rows[0].id;
  const std::string hex = random_id();
  std::string id = fmt::format("{}-{}-{}-{}-{}", hex.substr(0, 8), hex.substr(8, 4), hex.substr(12, 4),
                               hex.substr(16, 4), hex.substr(20, 12));
  CHECK(database.put_object("daemon", id, "{}"));
  return id;
}

Result<network::NetworkConfig> bridge_config(const Config& config, std::string id) {
  network::NetworkConfig bridge;
  bridge.id = std::move(id);
  bridge.name = "bridge";
  if (!config.bridge.empty()) bridge.link = config.bridge;
  if (!config.bridge_address.empty()) bridge.address = TRY(network::parse_ipv4_prefix(config.bridge_address));
  if (!config.fixed_cidr.empty()) bridge.ip_range = TRY(network::parse_ipv4_prefix(config.fixed_cidr));
  if (!config.default_binding.empty()) bridge.default_binding = TRY(network::parse_ipv4(config.default_binding));
  bridge.mtu = config.mtu;
  bridge.masquerade = config.masquerade;
  bridge.inter_container = config.inter_container;
  return bridge;
}

// sd_notify(3) in the few lines that it takes.
void notify_service_manager(std::string_view state) {
  const char* path = std::getenv("NOTIFY_SOCKET");
  if (path == nullptr || path[0] == '\0') return;
  const UniqueFd socket_fd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::string_view name = path;
  if (!socket_fd || name.size() >= sizeof address.sun_path) return;
  name.copy(address.sun_path, name.size());
  if (address.sun_path[0] == '@') address.sun_path[0] = '\0';
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
  (void)sendto(socket_fd.get(), state.data(), state.size(), MSG_NOSIGNAL, reinterpret_cast<const sockaddr*>(&address),
               length);
}

// As many descriptors as we may have: each running container holds a few.
void raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
  }
}

// The errors of a kernel that lacks what a bridge or its firewall is made of.
Error explain_network(const Error& error) {
  switch (error.sys_errno()) {
    case EPROTONOSUPPORT:
    case EAFNOSUPPORT:
    case EOPNOTSUPP:
    case EINVAL:
    case ENOENT:
      return with_advice(error,
                         "the kernel needs bridge, veth and nf_tables with its nat and masq modules (modprobe "
                         "nft_chain_nat nft_masq bridge veth); --bridge none does without");
    default: return error;
  }
}

class Daemon {
 public:
  Daemon(Config config, std::vector<std::string> arguments)
      : config_(std::move(config)), arguments_(std::move(arguments)) {}

  Result<> start() {
    CHECK(check_overlayfs());
    CHECK(make_root(config_.data_root, 0711, "data-root"));
    CHECK(make_root(config_.exec_root, 0711, "exec-root"));
    exec_root_claim_ = TRY(claim_directory(config_.exec_root, "exec root", "exec-root"));
    config_.engine.shim_program = TRY(beside_this_program("corten-shim"));
    if (config_.engine.init_program.empty()) config_.engine.init_program = TRY(beside_this_program("corten-init"));
    CHECK(load_trust());
    CHECK_AS(open_state(), "open the data root");
    if (const auto opened = open_network(); !opened)
      return std::unexpected(explain_network(Error(opened.error()).wrap("set up the default network")));
    engine_ = TRY(engine::make_engine(
        config_.engine, {*store_, *images_, *volumes_, driver_, bridge_, nullptr,
                         [this](const image::Image& image) { return server::admit_image(trust_, *images_, image); }}));
    CHECK(claim_cgroup_parent());
    CHECK(describe());
    CHECK_AS(build_->connect(*store_, *images_, *engine_, registry_access().hosts), "prepare for builds");
    router_ = std::make_unique<server::Router>(services());
    http_ = TRY(http::Server::create(
        {}, [this](http::Request& request, http::ResponseWriter& response) { router_->handle(request, response); }));
    // Sockets are there before the containers are, so that clients wait instead of failing.
    for (const std::string& host : config_.hosts) CHECK(listen_on(*http_, host, config_));
    CHECK_AS(engine_->boot(), "take over the containers");
    CHECK(http_->start());
    CHECK(write_pidfile());
    return {};
  }

  // The signal that ended it.
  int wait_for_end() {
    const sigset_t signals = handled_signals();
    for (;;) {
      int number = 0;
      if (sigwait(&signals, &number) != 0) continue;
      if (number != SIGHUP) return number;
      reload();
    }
  }

  // False: threads of requests still use this object, which must then not be destroyed.
  bool stop() {
    notify_service_manager("STOPPING=1");
    const auto served = http_->shutdown(shutdown_grace);
    if (!served) log::warn("stop serving: {}", served.error().text());
    engine_->shutdown();
    if (!config_.pidfile.empty()) unlink(config_.pidfile.c_str());
    return served.has_value();
  }

  std::vector<std::string> addresses() const { return http_->addresses(); }

 private:
  Result<> load_trust() {
    CHECK(trust_.load(config_.trust_policy, config_.trust_policy_said));
    if (const std::string file = trust_.file(); !file.empty())
      log::info("signature policy {}: {} rules", file, trust_.policy()->rules().size());
    return {};
  }

  Result<> open_state() {
    store_ = TRY(
        store::Store::open(config_.data_root, {.layers = config_.layers, .compress_images = config_.compress_images}));
    build_ = TRY(BuildParts::open(*store_));
    images_ = TRY(image::Images::open(*store_, {.keep = build_->kept()}));
    volumes_ = TRY(volume::Volumes::open(config_.data_root + "/volumes"));
    return {};
  }

  Result<> open_network() {
    driver_ = TRY(network::Driver::open({config_.exec_root, config_.address_pools, config_.ip_forward}));
    if (config_.bridge == "none") return {};
    std::string id = TRY(default_network_id(store_->database()));
    auto bridge = TRY(bridge_config(config_, std::move(id)));
    bridge_ = TRY(driver_->add_network(std::move(bridge)));
    return {};
  }

  Result<> claim_cgroup_parent() {
    const auto trees = TRY(sys::CgroupHost::detect()).trees_for();
    if (trees.empty()) return {};
    const std::string parent = TRY(sys::clean_cgroup_path(config_.engine.cgroup_parent));
    cgroup_claim_ =
        TRY(claim_directory(fmt::format("{}/{}", trees[0].mount_point, parent), "control group", "cgroup-parent"));
    return {};
  }

  Result<> describe() EXCLUDES(info_mutex_) {
    server::DaemonInfo info;
    describe_host(info);
    info.id = TRY(daemon_id(store_->database()));
    info.data_root = config_.data_root;
    info.storage_status = store_->snapshots().status();
    const auto cgroups = TRY(sys::CgroupHost::detect());
    info.features = engine::detect_host_features(cgroups, config_.engine.cgroup_parent);
    info.cpus = info.features.cpus;
    info.cgroup_version = cgroups.mode() == sys::CgroupMode::v2 ? "2" : "1";
    info.default_log_driver = config_.engine.default_log_config.type;
    if (info.features.seccomp) {
      const std::string& profile = config_.engine.seccomp_profile;
      info.security_options.push_back(fmt::format("name=seccomp,profile={}", profile.empty() ? "builtin" : profile));
    }
    info.security_options.emplace_back("name=cgroupns");
    if (config_.engine.no_new_privileges) info.security_options.emplace_back("name=no-new-privileges");
    if (!config_.engine.userns_remap.empty()) info.security_options.emplace_back("name=userns");
    info.warnings = feature_warnings(info.features);
    const auto environment = [](const char* name) {
      return std::string(std::getenv(name) == nullptr ? "" : std::getenv(name));
    };
    info.http_proxy = environment("HTTP_PROXY");
    info.https_proxy = environment("HTTPS_PROXY");
    info.no_proxy = environment("NO_PROXY");
    const MutexLock lock(info_mutex_);
    info_ = std::move(info);
    describe_settings();
    return describe_registries();
  }

  // The part that a reload changes.
  void describe_settings() REQUIRES(info_mutex_) {
    info_.labels = config_.labels;
    info_.live_restore = config_.engine.live_restore;
    info_.debug = config_.debug;
    info_.registry_mirrors = config_.registry_mirrors;
    info_.insecure_registries = config_.insecure_registries;
  }

  // From the configuration and the environment's proxies.
  Result<> describe_registries() REQUIRES(info_mutex_) {
    remote::HostsConfig config;
    config.mirrors = config_.registry_mirrors;
    config.insecure_registries = config_.insecure_registries;
    config.proxy = {info_.http_proxy, info_.https_proxy, info_.no_proxy};
    registries_.hosts = TRY(remote::Hosts::create(std::move(config)));
    registries_.parallel_downloads = static_cast<unsigned>(config_.max_concurrent_downloads);
    registries_.download_attempts = config_.max_download_attempts;
    registries_.parallel_uploads = static_cast<unsigned>(config_.max_concurrent_uploads);
    return {};
  }

  server::RegistryAccess registry_access() EXCLUDES(info_mutex_) {
    const MutexLock lock(info_mutex_);
    return registries_;
  }

  server::Services services() {
    return {*engine_,
            *images_,
            *volumes_,
            *store_,
            [this] { return bridge_ ? std::vector{bridge_->config()} : std::vector<network::NetworkConfig>(); },
            [this](const std::string&) { return bridge_ ? to_string(bridge_->prefix().masked()) : std::string(); },
            [this](const std::string&) { return bridge_ ? to_string(bridge_->prefix().address) : std::string(); },
            [this] {
              const MutexLock lock(info_mutex_);
              server::DaemonInfo info = info_;
              if (const std::string file = trust_.file(); !file.empty())
                // A comma would end the option, for Docker's clients as well.
                info.security_options.push_back("name=trust,policy=" + http::percent_encode(file, "/ :=+@"));
              return info;
            },
            [this] { return registry_access(); },
            trust_,
            build_->services()};
  }

  Result<> write_pidfile() const {
    if (config_.pidfile.empty()) return {};
    return wrap(sys::write_file_atomic(config_.pidfile, fmt::format("{}\n", getpid()), 0644), "write the pid file");
  }

  // Takes over what can change while running; says what cannot.
  void reload() EXCLUDES(info_mutex_) {
    const auto fresh = load_config(arguments_);
    if (!fresh) {
      log::error("reload: {}: going on with the old configuration", fresh.error().text());
      return;
    }
    for (const std::string& key : take_over(config_, *fresh))
      log::warn("reload: {} has changed in the configuration file: that takes a restart of the daemon", key);
    if (const auto level = parse_log_level(config_.log_level)) log::set_level(*level);
    // Closed: with a policy that cannot be read, the one that could goes on.
    if (const auto taken = load_trust(); !taken)
      log::error("reload: {}: the signature policy stays as it was", taken.error().text());
    engine_->reconfigure(config_.engine.live_restore, config_.engine.shutdown_timeout);
    engine::Event event;
    event.type = "daemon";
    event.action = "reload";
    event.attributes = reload_attributes(config_);
    {
      const MutexLock lock(info_mutex_);
      describe_settings();
      if (const auto taken = describe_registries(); !taken)
        log::error("reload: {}: registries stay as they were", taken.error().text());
      event.actor_id = info_.id;
      event.attributes["name"] = info_.name;
    }
    engine_->events().publish(std::move(event));
    log::info("reloaded the configuration");
  }

  // The main thread's own: a reload changes the configuration, and nobody else reads this copy.
  Config config_;
  std::vector<std::string> arguments_;
  trust::Gate trust_;
  UniqueFd exec_root_claim_, cgroup_claim_;

  Mutex info_mutex_;
  server::DaemonInfo info_ GUARDED_BY(info_mutex_);
  server::RegistryAccess registries_ GUARDED_BY(info_mutex_);

  // Set by start() before anything is served, and constant from then on.
  std::unique_ptr<store::Store> store_;
  std::unique_ptr<image::Images> images_;
  std::unique_ptr<volume::Volumes> volumes_;
  std::shared_ptr<network::Driver> driver_;
  std::shared_ptr<network::Network> bridge_;
  std::unique_ptr<engine::Engine> engine_;
  std::unique_ptr<BuildParts> build_;
  std::unique_ptr<server::Router> router_;
  std::unique_ptr<http::Server> http_;
};

// The start has touched code of the program and its libraries that serving needs none of, in most daemons for ever: it
// is unmapped, and what is used again comes back from the page cache. Only segments that are never written: their pages
// are the file's.
void unmap_program() {
  dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void*) {
        const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
        for (const ElfW(Phdr) & segment : std::span(info->dlpi_phdr, info->dlpi_phnum)) {
          if (segment.p_type != PT_LOAD || (segment.p_flags & PF_W) != 0) continue;
          const std::uintptr_t begin = (info->dlpi_addr + segment.p_vaddr + page - 1) & ~(page - 1);
          const std::uintptr_t end = (info->dlpi_addr + segment.p_vaddr + segment.p_memsz) & ~(page - 1);
          if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
        }
        return 0;
      },
      nullptr);
}

// A second signal while stopping means that somebody is out of patience.
void end_on_second_signal() {
  std::thread([] {
    const sigset_t signals = handled_signals();
    int number = 0;
    while (sigwait(&signals, &number) != 0 || number == SIGHUP) {
    }
    log::warn("a second signal: ending at once");
    _exit(1);
  }).detach();
}

}  // namespace

Result<> validate(const Config& config) { return trust::Gate().load(config.trust_policy, config.trust_policy_said); }

Result<> run(Config config, const std::vector<std::string>& arguments) {
  const sigset_t signals = handled_signals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  umask(022);
  // Many short-lived threads: an arena for each would keep what none of them needs any more.
  mallopt(M_ARENA_MAX, 2);
  raise_descriptor_limit();
  CHECK(log::setup(config.log_level, config.log_format));
  CHECK(check_root_user());
  const auto began = std::chrono::steady_clock::now();
  Daemon daemon(std::move(config), arguments);
  CHECK(daemon.start());
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - began);
  for (const std::string& address : daemon.addresses()) log::info("API listens on {}", address);
  log::info("ready after {} ms", took.count());
  notify_service_manager("READY=1");
  unmap_program();
  const int number = daemon.wait_for_end();
  log::info("{}: stopping", strsignal(number));
  end_on_second_signal();
  if (!daemon.stop()) _exit(0);
  return {};
}

}  // namespace corten::daemon
