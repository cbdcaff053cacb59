#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

#include "cli/container_flags.h"
#include "cli/mount_options.h"
#include "cli/network_options.h"
#include "cli/resource_options.h"
#include "cli/run_options.h"

namespace corten::cli {
namespace {

Result<CreateRequest> request(std::vector<std::string> words) {
  const auto line = parse_flags(run_flags, words, false);
  if (!line) return std::unexpected(line.error());
  return read_create_request(line->flags, line->arguments);
}
std::string error_of(std::vector<std::string> words) {
  const auto made = request(std::move(words));
  return made ? "" : made.error().text();
}

TEST(RunOptions, DefaultsAreDockers) {
  const auto made = request({"busybox", "echo", "hi"});
  ASSERT_TRUE(made) << made.error().text();
  EXPECT_EQ(made->config.image, "busybox");
  EXPECT_EQ(made->config.cmd->args, (std::vector<std::string>{"echo", "hi"}));
  EXPECT_TRUE(made->config.attach_stdout);
  EXPECT_TRUE(made->config.attach_stderr);
  EXPECT_FALSE(made->config.attach_stdin);
  EXPECT_FALSE(made->config.entrypoint);
  EXPECT_EQ(made->host.network_mode, "default");
  EXPECT_EQ(made->host.restart_policy.name, "no");
  EXPECT_FALSE(made->host.init);
  EXPECT_FALSE(made->host.memory_swappiness);
}

TEST(RunOptions, EverythingLandsInItsPlace) {
  ::setenv("CORTEN_TEST_FROM_OUTSIDE", "yes", 1);
  const auto made = request({"-it",
                             "-a",
                             "STDIN",
                             "-e",
                             "A=1",
                             "-e",
                             "CORTEN_TEST_FROM_OUTSIDE",
                             "-l",
                             "k=v",
                             "-v",
                             "/a:/b:ro",
                             "-v",
                             "/anon",
                             "--tmpfs",
                             "/run:size=1m",
                             "-m",
                             "64m",
                             "--memory-swap",
                             "-1",
                             "--cpus",
                             "1.5",
                             "--device",
                             "/dev/null:/dev/x:r",
                             "--cap-add",
                             "NET_ADMIN",
                             "--security-opt",
                             "no-new-privileges",
                             "--security-opt",
                             "systempaths=unconfined",
                             "--add-host",
                             "h=[::1]",
                             "--dns",
                             "1.1.1.1",
                             "--ulimit",
                             "nofile=10:20",
                             "--sysctl",
                             "net.a=1",
                             "--health-cmd",
                             "true",
                             "--health-interval",
                             "5s",
                             "--restart",
                             "on-failure:3",
                             "--entrypoint",
                             "",
                             "--network",
                             "container:x",
                             "--init",
                             "--log-opt",
                             "max-size=1m",
                             "busybox"});
  ASSERT_TRUE(made) << made.error().text();
  EXPECT_TRUE(made->config.open_stdin);
  EXPECT_TRUE(made->config.stdin_once);
  EXPECT_FALSE(made->config.attach_stdout);
  EXPECT_EQ(made->config.env, (std::vector<std::string>{"A=1", "CORTEN_TEST_FROM_OUTSIDE=yes"}));
  EXPECT_EQ(made->config.entrypoint->args, std::vector<std::string>{""});
  EXPECT_EQ(made->host.binds, std::vector<std::string>{"/a:/b:ro"});
  EXPECT_TRUE(made->config.volumes.contains("/anon"));
  EXPECT_EQ(made->host.tmpfs.at("/run"), "size=1m");
  EXPECT_EQ(made->host.memory, 64 << 20);
  EXPECT_EQ(made->host.memory_swap, -1);
  EXPECT_EQ(made->host.nano_cpus, 1'500'000'000);
  EXPECT_EQ(made->host.devices[0].cgroup_permissions, "r");
  EXPECT_TRUE(made->host.masked_paths && made->host.masked_paths->empty());
  EXPECT_EQ(made->host.security_opt, std::vector<std::string>{"no-new-privileges"});
  EXPECT_EQ(made->host.extra_hosts, std::vector<std::string>{"h:::1"});
  EXPECT_EQ(made->host.ulimits[0].hard, 20);
  EXPECT_EQ(made->config.healthcheck->test, (std::vector<std::string>{"CMD-SHELL", "true"}));
  EXPECT_EQ(made->host.restart_policy.maximum_retry_count, 3);
  EXPECT_EQ(made->host.network_mode, "container:x");
  EXPECT_TRUE(*made->host.init);
}

TEST(RunOptions, ErrorsHaveDockersWords) {
  EXPECT_EQ(error_of({""}), "invalid reference format");
  EXPECT_EQ(error_of({"--rm", "--restart", "always", "x"}),
            "conflicting options: cannot specify both --restart and --rm");
  EXPECT_EQ(error_of({"--memory-swappiness", "200", "x"}),
            "invalid value: 200. Valid memory swappiness range is 0-100");
  EXPECT_EQ(error_of({"--pid", "foo", "x"}), "--pid: invalid PID mode");
  EXPECT_EQ(error_of({"-v", "", "x"}), "invalid empty volume spec");
  EXPECT_EQ(error_of({"--expose", "a:b", "x"}), "invalid port format for --expose: a:b");
  EXPECT_EQ(error_of({"--env-file", "/nonexist", "x"}), "open /nonexist: no such file or directory");
  EXPECT_EQ(error_of({"--log-driver", "none", "--log-opt", "a=b", "x"}), "invalid logging opts for driver none");
  EXPECT_EQ(error_of({"--security-opt", "foo", "x"}), "Invalid --security-opt: \"foo\"");
  EXPECT_EQ(error_of({"--no-healthcheck", "--health-cmd", "x", "x"}),
            "--no-healthcheck conflicts with --health-* options");
  EXPECT_EQ(error_of({"--network", "a", "--network", "a", "x"}), "network \"a\" is specified multiple times");
  EXPECT_EQ(error_of({"--network", "bridge", "--network", "b", "x"}),
            "conflicting options: cannot attach both user-defined and non-user-defined network-modes");
  EXPECT_EQ(error_of({"--mac-address", "zz", "x"}), "zz is not a valid mac address");
}

TEST(RunOptions, EnvironmentFiles) {
  const std::string path = testing::TempDir() + "corten-env-" + std::to_string(::getpid());
  std::ofstream(path) << "\xef\xbb\xbf# comment\n  A=1\r\n\nB= x y \nCORTEN_TEST_UNSET_NAME\n";
  EXPECT_EQ(read_environment({path}, {"C=2"}).value(), (std::vector<std::string>{"A=1", "B= x y ", "C=2"}));
  std::ofstream(path) << "bad name=1\n";
  EXPECT_FALSE(read_environment({path}, {}));
  ::unlink(path.c_str());
}

std::string published(const std::string& text) {
  spec::Set exposed;
  spec::PortMap bindings;
  if (auto read = read_published_ports({text}, exposed, bindings); !read) return read.error().text();
  std::string out;
  for (const auto& [port, hosts] : bindings) {
    for (const auto& host : hosts) out += port + "=" + host.host_ip + ":" + host.host_port + " ";
  }
  return out;
}

TEST(Ports, EveryNotation) {
  EXPECT_EQ(published("80"), "80/tcp=: ");
  EXPECT_EQ(published("8080:80/udp"), "80/udp=:8080 ");
  EXPECT_EQ(published("127.0.0.1:8080:80"), "80/tcp=127.0.0.1:8080 ");
  EXPECT_EQ(published("127.0.0.1::80"), "80/tcp=127.0.0.1: ");
  EXPECT_EQ(published("[::1]:8080:80"), "80/tcp=::1:8080 ");
  EXPECT_EQ(published("8000-8001:80-81"), "80/tcp=:8000 81/tcp=:8001 ");
  EXPECT_EQ(published("8000-8010:80"), "80/tcp=:8000-8010 ");
  EXPECT_EQ(published("target=80,published=8080,protocol=udp"), "80/udp=:8080 ");
  EXPECT_EQ(published("foo"), "invalid containerPort: foo");
  EXPECT_EQ(published("99999:80"), "invalid hostPort: 99999");
  EXPECT_EQ(published("80/foo"), "invalid proto: foo");
  EXPECT_EQ(published("1.2.3:80:80"), "invalid IP address: 1.2.3");
  EXPECT_EQ(published("8000-8001:80-82"), "invalid ranges specified for container and host Ports: 80-82 and 8000-8001");
  EXPECT_EQ(published("81-80"), "invalid containerPort: 81-80");
}

TEST(Mounts, FieldsAndErrors) {
  const auto bind = parse_mount("type=bind,src=/a,dst=/b,ro,bind-propagation=rslave").value();
  EXPECT_EQ(bind.source, "/a");
  EXPECT_TRUE(bind.read_only);
  EXPECT_EQ(bind.bind_options->propagation, "rslave");
  EXPECT_EQ(parse_mount("target=/x,volume-opt=a=b,volume-driver=local")
                .value()
                .volume_options->driver_config->options.at("a"),
            "b");
  EXPECT_EQ(parse_mount("type=tmpfs,target=/x,tmpfs-size=1m,tmpfs-mode=700").value().tmpfs_options->mode, 0700U);
  EXPECT_EQ(parse_mount("foo").error().text(), "invalid field 'foo' must be a key=value pair");
  EXPECT_EQ(parse_mount("type=volume,target=/x,foo=1").error().text(), "unexpected key 'foo' in 'foo=1'");
  EXPECT_EQ(parse_mount("type=bind,src=/a,target=/x,volume-nocopy").error().text(),
            "cannot mix 'volume-*' options with mount type 'bind'");
  spec::Strings binds;
  spec::Set volumes;
  ASSERT_TRUE(read_volumes({"./x/../y:/z"}, binds, volumes));
  EXPECT_TRUE(binds[0].starts_with('/') && binds[0].ends_with("/y:/z")) << binds[0];
}

TEST(Limits, Devices) {
  EXPECT_EQ(parse_device("/dev/null").value().path_in_container, "/dev/null");
  EXPECT_EQ(parse_device("/dev/null:rw").value().cgroup_permissions, "rw");
  EXPECT_EQ(parse_device("/dev/null:/dev/x:m").value().path_in_container, "/dev/x");
  for (const char* bad : {"", "a:b:c:d", "/dev/a:/dev/b:q", "/dev/a:b", ":/x"}) EXPECT_FALSE(parse_device(bad)) << bad;
  EXPECT_EQ(parse_throttle("/dev/sda:1mb", true).value().rate, 1U << 20);
  EXPECT_FALSE(parse_throttle("/dev/sda:1mb", false));
  EXPECT_EQ(parse_restart_policy("on-failure:x").error().text(),
            "invalid restart policy format: maximum retry count must be an integer");
}

}  // namespace
}  // namespace corten::cli
