#include "engine/process_table.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <array>

namespace corten::engine {
namespace {

using Texts = std::vector<std::string>;

TEST(ProcessTable, ReadsPsOptions) {
  EXPECT_EQ(parse_ps_options("")->titles, (Texts{"UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"}));
  EXPECT_EQ(parse_ps_options("-ef")->titles, parse_ps_options("")->titles);
  EXPECT_EQ(parse_ps_options("aux")->titles[2], "%CPU");
  EXPECT_EQ(parse_ps_options("-o pid,cmd")->titles, (Texts{"PID", "CMD"}));
  EXPECT_EQ(parse_ps_options("-eo pid,comm=WHAT")->titles, (Texts{"PID", "WHAT"}));
  EXPECT_EQ(parse_ps_options("-opid -o args")->columns, (Texts{"pid", "args"}));
}

TEST(ProcessTable, RefusesWhatItDoesNotKnow) {
  EXPECT_EQ(parse_ps_options("-o pid,colour").error().text(),
            "Error running ps: unknown user-defined format specifier \"colour\"");
  EXPECT_EQ(parse_ps_options("-o args").error().text(), "Couldn't find PID field in ps output");
  EXPECT_FALSE(parse_ps_options("--forest"));
  EXPECT_FALSE(parse_ps_options("-o"));
}

TEST(ProcessTable, ListsThisProcess) {
  const std::array<pid_t, 2> pids{getpid(), 0x7ffffff0};
  const TopResult result = list_processes(pids, *parse_ps_options("-o pid,uid,comm"));
  ASSERT_EQ(result.processes.size(), 1U);
  EXPECT_EQ(result.processes[0], (Texts{std::to_string(getpid()), std::to_string(geteuid()), "engine_test"}));
}

}  // namespace
}  // namespace corten::engine
