// Under which names commands can be called, and how help groups them.
#include "cli/commands/all.h"

namespace corten::cli {
namespace {

constexpr Entry entries[] = {
    // Common commands, in the order of their help.
    {.path = "run", .command = &run_command, .aliases = "container run, run", .common = true},
    {.path = "exec", .command = &exec_command, .aliases = "container exec, exec", .common = true},
    {.path = "ps", .command = &ps_command, .aliases = "container ls, container list, container ps, ps", .common = true},
    {.path = "build", .command = &build_command, .aliases = "image build, build, builder build", .common = true},
    {.path = "pull", .command = &pull_command, .aliases = "image pull, pull", .common = true},
    {.path = "push", .command = &push_command, .aliases = "image push, push", .common = true},
    {.path = "images", .command = &images_command, .aliases = "image ls, image list, images", .common = true},
    {.path = "login", .command = &login_command, .common = true},
    {.path = "logout", .command = &logout_command, .common = true},
    {.path = "search", .command = &search_command, .common = true},
    {.path = "version", .command = &version_command, .common = true},
    {.path = "info", .command = &info_command, .aliases = "system info, info", .common = true},

    {.path = "attach", .command = &attach_command, .aliases = "container attach, attach"},
    {.path = "commit", .command = &commit_command, .aliases = "container commit, commit"},
    {.path = "completion", .command = &completion_command},
    {.path = "cp", .command = &cp_command, .aliases = "container cp, cp"},
    {.path = "create", .command = &create_command, .aliases = "container create, create"},
    {.path = "diff", .command = &diff_command, .aliases = "container diff, diff"},
    {.path = "events", .command = &events_command, .aliases = "system events, events"},
    {.path = "export", .command = &export_command, .aliases = "container export, export"},
    {.path = "history", .command = &history_command, .aliases = "image history, history"},
    {.path = "import", .command = &import_command, .aliases = "image import, import"},
    {.path = "inspect", .command = &inspect_command},
    {.path = "kill", .command = &kill_command, .aliases = "container kill, kill"},
    {.path = "load", .command = &load_command, .aliases = "image load, load"},
    {.path = "logs", .command = &logs_command, .aliases = "container logs, logs"},
    {.path = "pause", .command = &pause_command, .aliases = "container pause, pause"},
    {.path = "port", .command = &port_command, .aliases = "container port, port"},
    {.path = "rename", .command = &rename_command, .aliases = "container rename, rename"},
    {.path = "restart", .command = &restart_command, .aliases = "container restart, restart"},
    {.path = "rm", .command = &rm_command, .aliases = "container rm, container remove, rm"},
    {.path = "rmi", .command = &rmi_command, .aliases = "image rm, image remove, rmi"},
    {.path = "save", .command = &save_command, .aliases = "image save, save"},
    {.path = "start", .command = &start_command, .aliases = "container start, start"},
    {.path = "stats", .command = &stats_command, .aliases = "container stats, stats"},
    {.path = "stop", .command = &stop_command, .aliases = "container stop, stop"},
    {.path = "tag", .command = &tag_command, .aliases = "image tag, tag"},
    {.path = "tags", .command = &tags_command, .aliases = "image tags, tags"},
    {.path = "top", .command = &top_command, .aliases = "container top, top"},
    {.path = "unpause", .command = &unpause_command, .aliases = "container unpause, unpause"},
    {.path = "update", .command = &update_command, .aliases = "container update, update"},
    {.path = "wait", .command = &wait_command, .aliases = "container wait, wait"},

    {.path = "builder build", .command = &build_command, .aliases = "image build, build, builder build"},
    {.path = "builder du", .command = &builder_du_command},
    {.path = "builder prune", .command = &builder_prune_command},
    // What scripts call that were written for Docker's plugin.
    {.path = "buildx build", .command = &build_command, .listed = false},
    {.path = "buildx du", .command = &builder_du_command, .listed = false},
    {.path = "buildx prune", .command = &builder_prune_command, .listed = false},

    {.path = "container attach", .command = &attach_command, .aliases = "container attach, attach"},
    {.path = "container commit", .command = &commit_command, .aliases = "container commit, commit"},
    {.path = "container cp", .command = &cp_command, .aliases = "container cp, cp"},
    {.path = "container create", .command = &create_command, .aliases = "container create, create"},
    {.path = "container diff", .command = &diff_command, .aliases = "container diff, diff"},
    {.path = "container exec", .command = &exec_command, .aliases = "container exec, exec"},
    {.path = "container export", .command = &export_command, .aliases = "container export, export"},
    {.path = "container inspect", .command = &container_inspect_command},
    {.path = "container kill", .command = &kill_command, .aliases = "container kill, kill"},
    {.path = "container logs", .command = &logs_command, .aliases = "container logs, logs"},
    {.path = "container ls", .command = &ps_command, .aliases = "container ls, container list, container ps, ps"},
    {.path = "container list",
     .command = &ps_command,
     .aliases = "container ls, container list, container ps, ps",
     .listed = false},
    {.path = "container ps",
     .command = &ps_command,
     .aliases = "container ls, container list, container ps, ps",
     .listed = false},
    {.path = "container pause", .command = &pause_command, .aliases = "container pause, pause"},
    {.path = "container port", .command = &port_command, .aliases = "container port, port"},
    {.path = "container prune", .command = &container_prune_command},
    {.path = "container rename", .command = &rename_command, .aliases = "container rename, rename"},
    {.path = "container restart", .command = &restart_command, .aliases = "container restart, restart"},
    {.path = "container rm", .command = &rm_command, .aliases = "container rm, container remove, rm"},
    {.path = "container remove",
     .command = &rm_command,
     .aliases = "container rm, container remove, rm",
     .listed = false},
    {.path = "container run", .command = &run_command, .aliases = "container run, run"},
    {.path = "container start", .command = &start_command, .aliases = "container start, start"},
    {.path = "container stats", .command = &stats_command, .aliases = "container stats, stats"},
    {.path = "container stop", .command = &stop_command, .aliases = "container stop, stop"},
    {.path = "container top", .command = &top_command, .aliases = "container top, top"},
    {.path = "container unpause", .command = &unpause_command, .aliases = "container unpause, unpause"},
    {.path = "container update", .command = &update_command, .aliases = "container update, update"},
    {.path = "container wait", .command = &wait_command, .aliases = "container wait, wait"},

    {.path = "image build", .command = &build_command, .aliases = "image build, build, builder build"},
    {.path = "image history", .command = &history_command, .aliases = "image history, history"},
    {.path = "image import", .command = &import_command, .aliases = "image import, import"},
    {.path = "image inspect", .command = &image_inspect_command},
    {.path = "image load", .command = &load_command, .aliases = "image load, load"},
    {.path = "image ls", .command = &images_command, .aliases = "image ls, image list, images"},
    {.path = "image list", .command = &images_command, .aliases = "image ls, image list, images", .listed = false},
    {.path = "image prune", .command = &image_prune_command},
    {.path = "image pull", .command = &pull_command, .aliases = "image pull, pull"},
    {.path = "image push", .command = &push_command, .aliases = "image push, push"},
    {.path = "image rm", .command = &rmi_command, .aliases = "image rm, image remove, rmi"},
    {.path = "image remove", .command = &rmi_command, .aliases = "image rm, image remove, rmi", .listed = false},
    {.path = "image save", .command = &save_command, .aliases = "image save, save"},
    {.path = "image tag", .command = &tag_command, .aliases = "image tag, tag"},
    {.path = "image tags", .command = &tags_command, .aliases = "image tags, tags"},

    {.path = "manifest annotate", .command = &manifest_annotate_command},
    {.path = "manifest create", .command = &manifest_create_command},
    {.path = "manifest inspect", .command = &manifest_inspect_command},
    {.path = "manifest push", .command = &manifest_push_command},
    {.path = "manifest rm", .command = &manifest_rm_command},

    {.path = "system check", .command = &system_check_command},
    {.path = "system df", .command = &system_df_command},
    {.path = "system events", .command = &events_command, .aliases = "system events, events"},
    {.path = "system info", .command = &info_command, .aliases = "system info, info"},
    {.path = "system prune", .command = &system_prune_command},

    {.path = "trust inspect", .command = &trust_inspect_command},

    {.path = "__complete", .command = &complete_command, .listed = false},
};

constexpr Group groups[] = {
    {"builder", "Manage builds"},
    {.name = "buildx", .summary = "The same as builder", .listed = false},
    {"container", "Manage containers"},
    {"image", "Manage images"},
    {"manifest", "Manage image manifests and manifest lists",
     "Manage image manifests and manifest lists.\n\n"
     "A manifest list gives one name to images of one program for several platforms. It is put together here, from\n"
     "images that are in the registry, and then pushed."},
    {"system", "Manage Corten"},
    {"trust", "Look at what the signature policy says"},
};

}  // namespace

std::span<const Entry> all_entries() { return entries; }
std::span<const Group> all_groups() { return groups; }

}  // namespace corten::cli
