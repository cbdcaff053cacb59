// Every command's record; registry.cc gives them their names.
#pragma once

#include "cli/command.h"

namespace corten::cli {

extern const Command attach_command, build_command, builder_du_command, builder_prune_command, commit_command,
    container_inspect_command, container_prune_command, cp_command, create_command, diff_command, events_command,
    exec_command, export_command, history_command, image_inspect_command, image_prune_command, images_command,
    import_command, info_command, inspect_command, kill_command, load_command, login_command, logout_command,
    logs_command, manifest_annotate_command, manifest_create_command, manifest_inspect_command, manifest_push_command,
    manifest_rm_command, pause_command, port_command, ps_command, pull_command, push_command, rename_command,
    restart_command, rm_command, rmi_command, run_command, save_command, search_command, start_command, stats_command,
    stop_command, system_check_command, system_df_command, system_prune_command, tag_command, tags_command, top_command,
    trust_inspect_command, unpause_command, update_command, version_command, wait_command, completion_command,
    complete_command;

}  // namespace corten::cli
