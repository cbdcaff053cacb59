#include "build/git_wire.h"

#include <algorithm>

#include "base/version.h"
#include "remote/text.h"

namespace corten::build {
namespace {

constexpr std::size_t max_references = 2'000'000;
constexpr std::size_t max_lines = 10'000;  // before a pack
constexpr std::string_view peeled = "^{}";

bool is_object(std::string_view text) {
  return text.size() == 40 &&
         std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

std::string agent() { return fmt::format("agent=corten/{}", version()); }

}  // namespace

Result<std::unique_ptr<GitConnection>> GitServer::open(bool greet) {
  auto connection = TRY(connect_git(hosts_, address_, base_, stop_));
  if (!greet && greeted_ && address_.transport == GitAddress::Transport::web) return connection;
  PacketReader packets(*TRY(connection->greeting()));
  CHECK(read_greeting(packets));
  greeted_ = true;
  return connection;
}

Result<> GitServer::read_greeting(PacketReader& packets) {
  Packet packet = TRY(packets.must());
  if (packet.line() == "# service=git-upload-pack") {
    static_cast<void>(TRY(packets.must()));  // its flush
    packet = TRY(packets.must());
  }
  version_2_ = packet.line() == "version 2";
  if (packet.line().starts_with("version ")) packet = TRY(packets.must());
  bool first = true;
  for (std::size_t count = 0; packet.kind == Packet::Kind::data; packet = TRY(packets.must()), first = false) {
    if (++count > max_references) return fail(ErrorKind::invalid, "more than {} references", max_references);
    if (version_2_) {
      note_capabilities(packet.line());
      continue;
    }
    const std::size_t zero = packet.data.find('\0');
    if (first && zero != std::string::npos) note_capabilities(packet.line().substr(zero + 1));
    CHECK(note_reference(std::string_view(packet.data).substr(0, zero)));
  }
  if (!names_format_) return {};
  return fail(ErrorKind::not_implemented, "the repository has SHA-256 objects, which are not supported");
}

// Version 2 has one a line, version 0 all in one.
void GitServer::note_capabilities(std::string_view words) {
  const auto has = [&](std::string_view word) {
    return words == word || (" " + std::string(words) + " ").contains(" " + std::string(word) + " ");
  };
  if (words.starts_with("fetch=")) shallow_ = (" " + std::string(words.substr(6)) + " ").contains(" shallow ");
  if (version_2_) {
    any_commit_ = true;
    names_format_ = names_format_ || words == "object-format=sha256";
    return;
  }
  shallow_ = has("shallow");
  any_commit_ = has("allow-reachable-sha1-in-want") || has("allow-any-sha1-in-want");
  names_format_ = has("object-format=sha256");
}

// "<object> <name>", with "^{}" behind a tag's name for what it leads to; version 2 has " peeled:<object>" instead.
Result<> GitServer::note_reference(std::string_view line) {
  line = trim(line);
  if (line.size() < 42 || line[40] != ' ') return fail(ErrorKind::invalid, "the server does not speak Git's protocol");
  std::string object(line.substr(0, 40));
  std::string_view name = line.substr(41);
  if (const std::size_t blank = name.find(' '); blank != std::string_view::npos) {
    const std::size_t at = name.find(" peeled:", blank);
    if (at != std::string_view::npos) object = std::string(name.substr(at + 8, 40));
    name = name.substr(0, blank);
  }
  if (!is_object(object)) return fail(ErrorKind::invalid, "the server does not speak Git's protocol");
  object_listed_ = object_listed_ || object == wanted_object_;
  const bool is_peeled = name.ends_with(peeled);
  if (is_peeled) name.remove_suffix(peeled.size());
  if (std::ranges::find(wanted_, name) != wanted_.end()) found_[std::string(name)] = object;
  return {};
}

std::string GitServer::list_body() const {
  std::string body = packet("command=ls-refs\n") + packet(agent() + "\n");
  body += delimiter_packet;
  body += packet("peel\n") + packet("symrefs\n");
  for (const auto& name : wanted_) body += packet(fmt::format("ref-prefix {}\n", name));
  body += flush_packet;
  return body;
}

Result<std::string> GitServer::find(const std::string& name) {
  if (is_object(name)) return name;
  if (name.empty())
    wanted_ = {"HEAD"};
  else
    wanted_ = {name, "refs/" + name, "refs/tags/" + name, "refs/heads/" + name};
  const auto connection = TRY(open(true));
  if (version_2_) {
    PacketReader packets(*TRY(connection->send(list_body())));
    std::size_t count = 0;
    for (Packet packet = TRY(packets.must()); packet.kind == Packet::Kind::data; packet = TRY(packets.must())) {
      if (++count > max_references) return fail(ErrorKind::invalid, "more than {} references", max_references);
      if (!packet.line().starts_with("unborn")) CHECK(note_reference(packet.line()));
    }
  }
  for (const auto& wanted : wanted_) {
    const auto found = found_.find(wanted);
    if (found == found_.end()) continue;
    found_name_ = wanted;
    return found->second;
  }
  if (name.empty()) return fail(ErrorKind::not_found, "the repository has no commit that HEAD is");
  const bool digits = name.size() >= 4 && std::ranges::all_of(name, [](unsigned char c) { return std::isxdigit(c); });
  return fail(ErrorKind::not_found, "repository does not contain ref {}{}", remote::printable(name, 200),
              digits ? " (a commit needs all its 40 digits)" : "");
}

std::string GitServer::fetch_body(const std::string& object) const {
  const std::string depth = shallow_ ? packet("deepen 1\n") : "";
  if (!version_2_) {
    std::string body = packet(fmt::format("want {} side-band-64k ofs-delta no-progress {}\n", object, agent()));
    return body + depth + std::string(flush_packet) + packet("done\n");
  }
  std::string body = packet("command=fetch\n") + packet(agent() + "\n");
  body += delimiter_packet;
  body += packet("no-progress\n") + packet("ofs-delta\n") + depth;
  body += packet(fmt::format("want {}\n", object)) + packet("done\n");
  body += flush_packet;
  return body;
}

Result<> GitServer::skip_to_pack(PacketReader& packets) const {
  for (std::size_t count = 0; count < max_lines; ++count) {
    const Packet packet = TRY(packets.must());
    if (packet.kind != Packet::Kind::data) {
      if (version_2_ && packet.kind == Packet::Kind::flush) break;
      continue;
    }
    if (version_2_ ? packet.line() == "packfile" : packet.line() == "NAK" || packet.line().starts_with("ACK "))
      return {};
  }
  return fail(ErrorKind::invalid, "the server sent no pack");
}

Result<> GitServer::fetch(const std::string& object, const std::function<Result<>(store::ByteSource&)>& take) {
  wanted_object_ = object;
  const auto connection = TRY(open(false));
  const bool listed =
      object_listed_ || std::ranges::any_of(found_, [&](const auto& one) { return one.second == object; });
  if (!any_commit_ && !listed)
    return fail(ErrorKind::not_found, "the server gives no commit that is not a branch's or a tag's: {}", object);
  PacketReader packets(*TRY(connection->send(fetch_body(object))));
  CHECK(skip_to_pack(packets));
  BandSource pack(packets, progress_);
  return take(pack);
}

}  // namespace corten::build
