// Flags that more than one command has, word for word.
#pragma once

#include "cli/common.h"
#include "cli/flags.h"
#include "cli/validators.h"

namespace corten::cli::shared {

inline constexpr Flag blkio_weight{
    .name = "blkio-weight",
    .kind = FlagKind::uint16,
    .type_name = "uint16",
    .usage = "Block IO (relative weight), between 10 and 1000, or 0 to disable (default 0)",
    .initial = "0"};
inline constexpr Flag change{.name = "change",
                             .shorthand = 'c',
                             .kind = FlagKind::list,
                             .type_name = "list",
                             .usage = "Apply Dockerfile instruction to the created image"};
inline constexpr Flag cpu_period{.name = "cpu-period",
                                 .kind = FlagKind::integer,
                                 .type_name = "int",
                                 .usage = "Limit CPU CFS (Completely Fair Scheduler) period"};
inline constexpr Flag cpu_quota{.name = "cpu-quota",
                                .kind = FlagKind::integer,
                                .type_name = "int",
                                .usage = "Limit CPU CFS (Completely Fair Scheduler) quota"};
inline constexpr Flag cpu_shares{.name = "cpu-shares",
                                 .shorthand = 'c',
                                 .kind = FlagKind::integer,
                                 .type_name = "int",
                                 .usage = "CPU shares (relative weight)"};
inline constexpr Flag cpuset_cpus{.name = "cpuset-cpus",
                                  .kind = FlagKind::string,
                                  .type_name = "string",
                                  .usage = "CPUs in which to allow execution (0-3, 0,1)"};
inline constexpr Flag cpuset_mems{.name = "cpuset-mems",
                                  .kind = FlagKind::string,
                                  .type_name = "string",
                                  .usage = "MEMs in which to allow execution (0-3, 0,1)"};
inline constexpr Flag detach_keys{.name = "detach-keys",
                                  .kind = FlagKind::string,
                                  .type_name = "string",
                                  .usage = "Override the key sequence for detaching a container"};
inline constexpr Flag env{.name = "env",
                          .shorthand = 'e',
                          .kind = FlagKind::list,
                          .type_name = "list",
                          .usage = "Set environment variables",
                          .validate = validate::environment};
inline constexpr Flag env_file{.name = "env-file",
                               .kind = FlagKind::list,
                               .type_name = "list",
                               .usage = "Read in a file of environment variables"};
inline constexpr Flag filter{.name = "filter",
                             .shorthand = 'f',
                             .kind = FlagKind::list,
                             .type_name = "filter",
                             .usage = "Filter output based on conditions provided",
                             .validate = validate::filter};
inline constexpr Flag output{.name = "output",
                             .shorthand = 'o',
                             .kind = FlagKind::string,
                             .type_name = "string",
                             .usage = "Write to a file, instead of STDOUT"};
inline constexpr Flag pids_limit{.name = "pids-limit",
                                 .kind = FlagKind::integer,
                                 .type_name = "int",
                                 .usage = "Tune container pids limit (set -1 for unlimited)"};
inline constexpr Flag plain_format{
    .name = "format", .shorthand = 'f', .kind = FlagKind::string, .type_name = "string", .usage = plain_format_usage};
inline constexpr Flag platform{.name = "platform",
                               .kind = FlagKind::string,
                               .type_name = "string",
                               .usage = "Set platform if server is multi-platform capable",
                               .environment = "DOCKER_DEFAULT_PLATFORM"};
inline constexpr Flag prune_filter{.name = "filter",
                                   .kind = FlagKind::list,
                                   .type_name = "filter",
                                   .usage = "Provide filter values (e.g. \"until=<timestamp>\")",
                                   .validate = validate::filter};
inline constexpr Flag signal{.name = "signal",
                             .shorthand = 's',
                             .kind = FlagKind::string,
                             .type_name = "string",
                             .usage = "Signal to send to the container"};
inline constexpr Flag workdir{.name = "workdir",
                              .shorthand = 'w',
                              .kind = FlagKind::string,
                              .type_name = "string",
                              .usage = "Working directory inside the container"};

}  // namespace corten::cli::shared
