// One repository's server: which commit a name is, and a pack of it. Protocol version 2, and 0 where the server knows
// no other (gitprotocol-v2, gitprotocol-pack, gitprotocol-http). Private to the fetching of repositories.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "build/git_address.h"
#include "build/git_packet.h"
#include "remote/hosts.h"
#include "store/stream.h"

namespace corten::build {

// A request and its answers, by one of the transports.
class GitConnection {
 public:
  virtual ~GitConnection() = default;
  // What the server says by itself at the beginning.
  virtual Result<store::ByteSource*> greeting() = 0;
  // What it says to this; the one before is over.
  virtual Result<store::ByteSource*> send(std::string body) = 0;
};
// `base` of http and https: where redirects have led, changed by greeting(). Everything is borrowed.
Result<std::unique_ptr<GitConnection>> connect_git(const remote::Hosts& hosts, const GitAddress& address,
                                                   WebAddress& base, const std::stop_token& stop);

class GitServer {
 public:
  using Progress = std::function<void(const std::string&)>;
  GitServer(const remote::Hosts& hosts, const GitAddress& address, Progress progress, const std::stop_token& stop)
      : hosts_(hosts), address_(address), progress_(std::move(progress)), stop_(stop), base_(address.web) {}

  // What a name is: "" for HEAD, a branch, a tag, a whole name or a commit's 40 digits, which are taken as they are. A
  // commit, or a tag's object that leads to one. not_found.
  Result<std::string> find(const std::string& name);
  // The whole name of what find() found last, "" for a commit.
  const std::string& found_name() const { return found_name_; }
  // Whether fetch() leaves out what came before.
  bool shallow() const { return shallow_; }
  // The object, and of a commit its tree, without what came before it if the server can leave that out. `take` reads
  // the pack to its end.
  Result<> fetch(const std::string& object, const std::function<Result<>(store::ByteSource& pack)>& take);

 private:
  Result<std::unique_ptr<GitConnection>> open(bool greet);
  Result<> read_greeting(PacketReader& packets);
  Result<> note_reference(std::string_view line);
  void note_capabilities(std::string_view words);
  std::string list_body() const;
  std::string fetch_body(const std::string& object) const;
  Result<> skip_to_pack(PacketReader& packets) const;

  const remote::Hosts& hosts_;
  const GitAddress& address_;
  const Progress progress_;
  const std::stop_token& stop_;

  WebAddress base_;
  bool greeted_ = false, version_2_ = false, shallow_ = false, any_commit_ = false, names_format_ = false;
  std::vector<std::string> wanted_;           // names that are looked for
  std::map<std::string, std::string> found_;  // of these; what a tag leads to in place of its own object
  std::string found_name_;
  std::string wanted_object_;  // a commit that is asked for by its digits
  bool object_listed_ = false;
};

}  // namespace corten::build
