// The flags before the command's name.
#pragma once

#include "cli/flags.h"

namespace corten::cli {

inline constexpr Flag global_flags[] = {
    {.name = "config",
     .kind = FlagKind::string,
     .type_name = "string",
     .usage = "Location of client config files (default \"~/.docker\")"},
    {.name = "context",
     .shorthand = 'c',
     .kind = FlagKind::string,
     .type_name = "string",
     .usage = "Name of the context to use to connect to the daemon (overrides CORTEN_HOST and DOCKER_HOST env vars)"},
    {.name = "debug", .shorthand = 'D', .usage = "Enable debug mode"},
    {.name = "host",
     .shorthand = 'H',
     .kind = FlagKind::list,
     .type_name = "list",
     .usage = "Daemon socket to connect to"},
    {.name = "log-level",
     .shorthand = 'l',
     .kind = FlagKind::string,
     .type_name = "string",
     .usage = "Set the logging level (\"debug\", \"info\", \"warn\", \"error\", \"fatal\") (default \"info\")",
     .initial = "info"},
    {.name = "tls", .usage = "Use TLS; implied by --tlsverify"},
    {.name = "tlscacert",
     .kind = FlagKind::string,
     .type_name = "string",
     .usage = "Trust certs signed only by this CA (default \"~/.docker/ca.pem\")"},
    {.name = "tlscert",
     .kind = FlagKind::string,
     .type_name = "string",
     .usage = "Path to TLS certificate file (default \"~/.docker/cert.pem\")"},
    {.name = "tlskey",
     .kind = FlagKind::string,
     .type_name = "string",
     .usage = "Path to TLS key file (default \"~/.docker/key.pem\")"},
    {.name = "tlsverify", .usage = "Use TLS and verify the remote"},
    {.name = "version", .shorthand = 'v', .usage = "Print version information and quit"},
};

}  // namespace corten::cli
