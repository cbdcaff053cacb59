// What a build needs of an engine: to run a step's command on a layer and to hand over what it changed.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/unique_fd.h"
#include "oci/image.h"
#include "spec/host_config.h"

namespace corten::build {

// Something mounted into a step, opened already: no path of the host is looked up again.
struct StepMount {
  std::string target;  // absolute, in the container
  // An O_PATH descriptor or a detached mount of a directory or file; none: a tmpfs of `size` bytes (0: the default).
  UniqueFd source;
  std::uint64_t size = 0;
  bool read_only = false;
};

struct StepRequest {
  std::string parent;             // chain id of the layers below, "" for none
  std::string image_id;           // of the base image, for the record; "" for scratch
  std::string name;               // for people: "build step RUN make", in the container's labels
  std::vector<std::string> argv;  // whole: shell and all
  std::vector<std::string> env;   // whole
  // NAME=value beyond env: values of secrets. Given to the command and kept nowhere: no record, no inspect, no log.
  std::vector<std::string> secret_env;
  std::string working_dir, user;
  oci::Platform platform;
  std::string network;    // "", default, none, host, a network's name, container:…
  bool insecure = false;  // --security=insecure: as a privileged container; allowed by the caller already
  std::vector<StepMount> mounts;
  std::string stdin_text;  // a here-document that is a script goes in as a file mount instead; for the command
  spec::Resources resources;
  std::vector<spec::Ulimit> ulimits;
  std::vector<std::string> extra_hosts;
  std::int64_t shm_size = 0;  // 0: the engine's default
  std::string cgroup_parent;  // "": the engine's
  // Told before the command's first output. May be empty.
  std::function<void(const std::string& container_id)> started;
};

// A step that has ended. Destroyed: its container and, unless it was taken, its snapshot are gone.
class Step {
 public:
  virtual ~Step() = default;
  virtual std::string container_id() const = 0;
  virtual int exit_code() const = 0;
  virtual bool out_of_memory() const = 0;
  // The key of the snapshot with the changes; given up to the caller (image::take_changes). Mount targets that were not
  // there before, and that are still empty, have been removed from it.
  virtual std::string take_snapshot() = 0;
};

class Executor {
 public:
  virtual ~Executor() = default;
  // Runs the command to its end, as a container of the engine. `output` gets what it writes, in order, from one thread.
  // `stop`: it is killed, and the error is `cancelled`. An exit code that is not 0 is no error. Nothing that the step
  // left running survives it.
  virtual Result<std::unique_ptr<Step>> run(StepRequest request,
                                            const std::function<void(bool is_stderr, std::string_view)>& output,
                                            const std::stop_token& stop) = 0;
};

}  // namespace corten::build
