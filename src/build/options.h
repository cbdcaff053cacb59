// What a client asks of a build. Plain data: the server and the tests fill it, the builder reads it.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"
#include "context/tree.h"
#include "oci/image.h"
#include "spec/host_config.h"

namespace corten::build {

class ImageSource;

struct Secret {
  std::string value;  // bytes; never logged, never in a layer, a record or a history
};

// Agents that were forwarded for RUN --mount=type=ssh, by id ("default" where the Dockerfile names none).
class SshAgents {
 public:
  virtual ~SshAgents() = default;
  // An O_PATH descriptor of a socket that speaks an agent's protocol, to be mounted into a step; good as long as this
  // object lives. not_found: none of this id was forwarded.
  virtual Result<UniqueFd> socket(const std::string& id) = 0;
};

struct Options {
  // The Dockerfile: a path in the context, or its text given apart from it (-f - or from outside the context).
  std::string dockerfile = "Dockerfile";
  std::optional<std::string> dockerfile_text;
  std::shared_ptr<context::Tree> context;                                // none: an empty one
  std::map<std::string, std::shared_ptr<context::Tree>> named_contexts;  // --build-context name=folder
  std::map<std::string, std::string> named_images;                       // --build-context name=docker-image://ref

  std::map<std::string, std::optional<std::string>> args;  // without a value: from the predefined ones or nothing
  std::string target;
  std::vector<oci::Platform> platforms;  // empty: the host's
  std::vector<std::string> tags;
  std::map<std::string, std::string> labels;
  bool no_cache = false;
  std::set<std::string> no_cache_stages;  // --no-cache-filter
  bool pull = false;
  bool squash = false;
  bool keep_no_image = false;  // the files alone are wanted (--output type=local): no image is recorded
  bool check_only = false;     // --check: findings, nothing built

  std::map<std::string, Secret> secrets;  // by id
  std::shared_ptr<ImageSource> sources;   // instead of the builder's: with this client's credentials
  std::shared_ptr<SshAgents> ssh;         // none: nothing was forwarded
  std::string network;                    // of RUN steps that name none
  std::vector<std::string> extra_hosts;
  spec::Resources resources;
  std::vector<spec::Ulimit> ulimits;
  std::int64_t shm_size = 0;
  std::string cgroup_parent;
  bool allow_insecure = false;      // --allow security.insecure
  bool allow_host_network = false;  // --allow network.host, or the classic API, which has always had it
  // Which earlier build's steps these are compared with by --explain: the folder's name or the tag.
  std::string label_for_explain;
};

}  // namespace corten::build
