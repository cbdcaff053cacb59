#include "cli/info_text.h"

#include <fmt/format.h>

#include <algorithm>

#include "cli/common.h"
#include "cli/json_get.h"
#include "cli/units.h"

namespace corten::cli {
namespace {

std::vector<std::string> texts_of(const json::Array& array) {
  std::vector<std::string> out;
  for (const auto& item : array) out.push_back(text_of(item));
  return out;
}

std::string joined(const json::Array& array) { return join(texts_of(array), " "); }

class Text {
 public:
  explicit Text(const json::Value& info) : info_(info) {}

  std::string run() {
    counts();
    storage();
    engine();
    security();
    host();
    registries();
    return std::move(out_);
  }

 private:
  void line(std::string_view title, std::string_view value, int depth = 1) {
    out_ += fmt::format("{}{}: {}\n", std::string(static_cast<std::size_t>(depth), ' '), title, value);
  }
  void line(std::string_view title, std::int64_t value, int depth = 1) { line(title, std::to_string(value), depth); }
  void optional(std::string_view title, const char* key) {
    if (const std::string text = text_at(info_, key); !text.empty()) line(title, text);
  }

  void counts() {
    line("Containers", number_at(info_, "Containers"));
    line("Running", number_at(info_, "ContainersRunning"), 2);
    line("Paused", number_at(info_, "ContainersPaused"), 2);
    line("Stopped", number_at(info_, "ContainersStopped"), 2);
    line("Images", number_at(info_, "Images"));
    optional("Server Version", "ServerVersion");
  }

  void storage() {
    optional("Storage Driver", "Driver");
    for (const auto& pair : array_at(info_, "DriverStatus")) {
      if (pair.is_array() && pair.get_array().size() == 2)
        line(text_of(pair.get_array()[0]), text_of(pair.get_array()[1]), 2);
    }
  }

  void engine() {
    optional("Logging Driver", "LoggingDriver");
    optional("Cgroup Driver", "CgroupDriver");
    optional("Cgroup Version", "CgroupVersion");
    out_ += " Plugins:\n";
    for (const char* kind : {"Volume", "Network", "Authorization", "Log"}) {
      const auto& names = array_at(info_, "Plugins", kind);
      if (!names.empty() || kind[0] == 'V' || kind[0] == 'N') line(kind, joined(names), 2);
    }
    if (const auto& directories = array_at(info_, "CDISpecDirs"); !directories.empty()) {
      out_ += " CDI spec directories:\n";
      for (const auto& directory : directories) out_ += "  " + text_of(directory) + "\n";
    }
    if (const std::string swarm = text_at(info_, "Swarm", "LocalNodeState"); !swarm.empty()) line("Swarm", swarm);
    std::vector<std::string> runtimes;
    for (const auto& entry : object_at(info_, "Runtimes")) runtimes.emplace_back(entry.key());
    std::sort(runtimes.begin(), runtimes.end());
    if (!runtimes.empty()) {
      line("Runtimes", join(runtimes, " "));
      line("Default Runtime", text_at(info_, "DefaultRuntime"));
    }
    optional("Init Binary", "InitBinary");
    for (const auto& [title, key] : {std::pair{"containerd version", "ContainerdCommit"},
                                     {"runc version", "RuncCommit"},
                                     {"init version", "InitCommit"}}) {
      if (const std::string commit = text_at(info_, key, "ID"); !commit.empty()) line(title, commit);
    }
  }

  // "name=seccomp,profile=builtin": the name, then its options a level deeper.
  void security() {
    const auto& options = array_at(info_, "SecurityOptions");
    if (options.empty()) return;
    out_ += " Security Options:\n";
    for (const auto& item : options) {
      for (const auto& part : parts_of(text_of(item))) {
        const auto equals = part.find('=');
        const std::string key = part.substr(0, equals);
        const std::string value = equals == std::string::npos ? key : part.substr(equals + 1);
        out_ += key == "name"      ? "  " + value + "\n"
                : key == "profile" ? "   Profile: " + value + "\n"
                                   : "   " + part + "\n";
      }
    }
  }

  static std::vector<std::string> parts_of(const std::string& text) {
    std::vector<std::string> parts;
    std::size_t at = 0;
    while (at <= text.size()) {
      const auto comma = std::min(text.find(',', at), text.size());
      parts.push_back(text.substr(at, comma - at));
      at = comma + 1;
    }
    return parts;
  }

  void host() {
    optional("Kernel Version", "KernelVersion");
    optional("Operating System", "OperatingSystem");
    optional("OSType", "OSType");
    optional("Architecture", "Architecture");
    line("CPUs", number_at(info_, "NCPU"));
    line("Total Memory", bytes_size(real_at(info_, "MemTotal")));
    optional("Name", "Name");
    optional("ID", "ID");
    line("Docker Root Dir", text_at(info_, "DockerRootDir"));
    line("Debug Mode", bool_at(info_, "Debug") ? "true" : "false");
    if (bool_at(info_, "Debug")) {
      line("File Descriptors", number_at(info_, "NFd"), 2);
      line("Goroutines", number_at(info_, "NGoroutines"), 2);
      line("System Time", text_at(info_, "SystemTime"), 2);
      line("EventsListeners", number_at(info_, "NEventsListener"), 2);
    }
    optional("HTTP Proxy", "HttpProxy");
    optional("HTTPS Proxy", "HttpsProxy");
    optional("No Proxy", "NoProxy");
    if (const auto& labels = array_at(info_, "Labels"); !labels.empty()) {
      out_ += " Labels:\n";
      for (const auto& label : labels) out_ += "  " + text_of(label) + "\n";
    }
    line("Experimental", bool_at(info_, "ExperimentalBuild") ? "true" : "false");
  }

  void registries() {
    const auto& indexes = object_at(info_, "RegistryConfig", "IndexConfigs");
    const auto& networks = array_at(info_, "RegistryConfig", "InsecureRegistryCIDRs");
    std::string insecure;
    for (const auto& entry : indexes) {
      if (!bool_at(entry.value(), "Secure")) insecure += "  " + std::string(entry.key()) + "\n";
    }
    for (const auto& network : networks) insecure += "  " + text_of(network) + "\n";
    if (!insecure.empty()) out_ += " Insecure Registries:\n" + insecure;
    if (const auto& mirrors = array_at(info_, "RegistryConfig", "Mirrors"); !mirrors.empty()) {
      out_ += " Registry Mirrors:\n";
      for (const auto& mirror : mirrors) out_ += "  " + text_of(mirror) + "\n";
    }
    line("Live Restore Enabled", bool_at(info_, "LiveRestoreEnabled") ? "true" : "false");
    optional("Product License", "ProductLicense");
    if (const auto& pools = array_at(info_, "DefaultAddressPools"); !pools.empty()) {
      out_ += " Default Address Pools:\n";
      for (const auto& pool : pools)
        out_ += fmt::format("   Base: {}, Size: {}\n", text_at(pool, "Base"), number_at(pool, "Size"));
    }
    if (const std::string firewall = text_at(info_, "FirewallBackend", "Driver"); !firewall.empty())
      line("Firewall Backend", firewall);
    out_ += "\n";
  }

  const json::Value& info_;
  std::string out_;
};

}  // namespace

std::string info_text(const json::Value& info) { return Text(info).run(); }

}  // namespace corten::cli
