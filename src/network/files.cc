#include "network/files.h"

#include <fcntl.h>

#include <algorithm>
#include <optional>

#include "base/unique_fd.h"
#include "network/address.h"

namespace corten::network {
namespace {

constexpr std::size_t max_resolv_size = 64 * 1024;
// What the C library's resolver reads; more lines than that only help an attacker.
constexpr std::size_t max_words = 64;

std::vector<std::string_view> split_words(std::string_view line) {
  std::vector<std::string_view> words;
  std::size_t at = 0;
  while (words.size() < max_words && (at = line.find_first_not_of(" \t\r", at)) != std::string_view::npos) {
    const std::size_t end = std::min(line.find_first_of(" \t\r", at), line.size());
    words.push_back(line.substr(at, end - at));
    at = end;
  }
  return words;
}

template <class Visit>
void for_each_line(std::string_view text, Visit&& visit) {
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    visit(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

struct ParsedResolv {
  std::vector<std::string> servers, search, options;
};

ParsedResolv parse_resolv(std::string_view text) {
  ParsedResolv parsed;
  for_each_line(text.substr(0, max_resolv_size), [&](std::string_view line) {
    const auto words = split_words(line);
    if (words.size() < 2 || words[0][0] == '#' || words[0][0] == ';') return;
    const std::vector<std::string> values(words.begin() + 1, words.end());
    if (words[0] == "nameserver") {
      if (parsed.servers.size() < max_words) parsed.servers.push_back(values[0]);
    } else if (words[0] == "search" || words[0] == "domain") {
      parsed.search = values;  // the last one counts, resolv.conf(5)
    } else if (words[0] == "options") {
      if (parsed.options.size() < max_words) parsed.options.insert(parsed.options.end(), values.begin(), values.end());
    }
  });
  return parsed;
}

// A zone ("fe80::1%eth0") means nothing inside another namespace.
bool reachable_server(const std::string& server, bool with_ipv6) {
  const auto address = parse_ip(server);
  if (!address) return false;
  if (!address->v6) return !address->v4.is_loopback();
  const bool loopback = to_string(*address) == "::1";
  return with_ipv6 && !loopback;
}

std::optional<std::string> read_bounded(const char* path) {
  const UniqueFd file(::open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file) return std::nullopt;
  std::string text(max_resolv_size, '\0');
  std::size_t size = 0;
  while (size < text.size()) {
    const ssize_t got = ::read(file.get(), text.data() + size, text.size() - size);
    if (got <= 0) break;
    size += static_cast<std::size_t>(got);
  }
  text.resize(size);
  return text;
}

std::string join(std::span<const std::string> words) {
  std::string line;
  for (const std::string& word : words) line += (line.empty() ? "" : " ") + word;
  return line;
}

}  // namespace

std::string hosts_file(std::span<const HostsEntry> own, std::span<const HostsEntry> extra, bool with_ipv6) {
  std::string text = "127.0.0.1\tlocalhost\n";
  if (with_ipv6)
    text +=
        "::1\tlocalhost ip6-localhost ip6-loopback\n"
        "fe00::\tip6-localnet\n"
        "ff00::\tip6-mcastprefix\n"
        "ff02::1\tip6-allnodes\n"
        "ff02::2\tip6-allrouters\n";
  for (const auto& list : {extra, own})
    for (const HostsEntry& entry : list) text += fmt::format("{}\t{}\n", entry.address, entry.names);
  return text;
}

Result<HostsEntry> parse_extra_host(std::string_view text, std::string_view gateway) {
  const std::size_t equals = text.find('=');
  const std::size_t at = equals != std::string_view::npos ? equals : text.find(':');
  if (at == std::string_view::npos || at == 0 || at + 1 == text.size())
    return fail(ErrorKind::invalid, "bad format for add-host: \"{}\"", text);
  const std::string_view name = text.substr(0, at);
  std::string_view address = text.substr(at + 1);
  // The name goes into a file whose lines and fields are split at white space.
  if (name.find_first_of(" \t\r\n#") != std::string_view::npos)
    return fail(ErrorKind::invalid, "bad format for add-host: \"{}\"", text);
  if (address == "host-gateway") {
    if (gateway.empty()) return fail(ErrorKind::invalid, "unable to derive the IP value for host-gateway");
    return HostsEntry{std::string(gateway), std::string(name)};
  }
  if (address.size() > 2 && address.front() == '[' && address.back() == ']')
    address = address.substr(1, address.size() - 2);
  if (!parse_ip(address)) return fail(ErrorKind::invalid, "invalid IP address in add-host: \"{}\"", address);
  return HostsEntry{std::string(address), std::string(name)};
}

std::string hostname_file(std::string_view hostname) { return fmt::format("{}\n", hostname); }

std::string resolv_file(std::string_view host_text, const ResolvConfig& config, bool with_ipv6) {
  ParsedResolv host = parse_resolv(host_text);
  std::vector<std::string> servers = config.servers;
  if (servers.empty()) {
    std::ranges::copy_if(host.servers, std::back_inserter(servers),
                         [&](const std::string& server) { return reachable_server(server, with_ipv6); });
    if (servers.empty()) servers = {"8.8.8.8", "8.8.4.4"};
  }
  std::vector<std::string> search = config.search.empty() ? host.search : config.search;
  if (search.size() == 1 && search[0] == ".") search.clear();
  const std::vector<std::string>& options = config.options.empty() ? host.options : config.options;

  std::string text;
  for (const std::string& server : servers) text += fmt::format("nameserver {}\n", server);
  if (!search.empty()) text += fmt::format("search {}\n", join(search));
  if (!options.empty()) text += fmt::format("options {}\n", join(options));
  return text;
}

std::string read_host_resolv() {
  auto text = read_bounded("/etc/resolv.conf");
  if (!text) return {};
  const auto servers = parse_resolv(*text).servers;
  const bool stub = !servers.empty() && std::ranges::all_of(servers, [](const auto& s) { return s == "127.0.0.53"; });
  if (!stub) return *text;
  return read_bounded("/run/systemd/resolve/resolv.conf").value_or(*text);
}

}  // namespace corten::network
