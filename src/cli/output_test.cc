#include <gtest/gtest.h>

#include "cli/container_row.h"
#include "cli/formatter.h"
#include "cli/image_row.h"
#include "cli/inspect_format.h"
#include "cli/progress.h"
#include "cli/stdcopy.h"
#include "cli/tabwriter.h"
#include "cli/terminal.h"
#include "cli/units.h"
#include "json/codec.h"

namespace corten::cli {
namespace {

using namespace std::chrono_literals;

TEST(Units, SizesAndDurations) {
  EXPECT_EQ(human_size(1000), "1kB");
  EXPECT_EQ(human_size(1234567), "1.235MB");
  EXPECT_EQ(human_size(1981974, 3), "1.98MB");
  EXPECT_EQ(human_size(0, 3), "0B");
  EXPECT_EQ(human_size(999, 3), "999B");
  EXPECT_EQ(bytes_size(1536), "1.5KiB");
  EXPECT_EQ(bytes_size(25276973056), "23.54GiB");
  EXPECT_EQ(human_duration(999ms), "Less than a second");
  EXPECT_EQ(human_duration(1s), "1 second");
  EXPECT_EQ(human_duration(59s), "59 seconds");
  EXPECT_EQ(human_duration(60s), "About a minute");
  EXPECT_EQ(human_duration(3min), "3 minutes");
  EXPECT_EQ(human_duration(60min), "About an hour");
  EXPECT_EQ(human_duration(89min), "About an hour");
  EXPECT_EQ(human_duration(90min), "2 hours");
  EXPECT_EQ(human_duration(48h), "2 days");
  EXPECT_EQ(human_duration(24h * 14), "2 weeks");
  EXPECT_EQ(human_duration(24h * 60), "2 months");
  EXPECT_EQ(human_duration(24h * 365 * 2), "2 years");
}

TEST(Tabwriter, AlignsAsGo) {
  EXPECT_EQ(align_tabs("A\tB\nlonger than ten\tx\n"), "A                 B\nlonger than ten   x\n");
  EXPECT_EQ(align_tabs("ID\tNAME\na\tb\n"), "ID        NAME\na         b\n");
  EXPECT_EQ(align_tabs("é\tb\nxx\tb\n"), "é         b\nxx        b\n");
  // A line without cells ends the column.
  EXPECT_EQ(align_tabs("aaaaaaaaaaaa\tb\nplain\nc\td\n"), "aaaaaaaaaaaa   b\nplain\nc         d\n");
  EXPECT_EQ(align_tabs("a\t\tb\n"), "a                   b\n");
  EXPECT_EQ(align_tabs(""), "");
  const std::string tabs(200'000, '\t');
  EXPECT_GE(align_tabs(tabs + "x\n").size(), tabs.size());
}

TEST(Formatter, EllipsisCountsRunes) {
  EXPECT_EQ(ellipsis("short", 20), "short");
  EXPECT_EQ(ellipsis("abcdefghij", 5), "abcd…");
  EXPECT_EQ(ellipsis("ééééé", 5), "ééééé");
  EXPECT_EQ(ellipsis("éééééé", 5), "éééé…");
}

std::string ports(std::string_view text) { return displayed_ports(json::parse(text).value().get_array()); }

TEST(ContainerRows, PortsBecomeRanges) {
  EXPECT_EQ(ports("[]"), "");
  EXPECT_EQ(ports(R"([{"PrivatePort":80,"Type":"tcp"}])"), "80/tcp");
  EXPECT_EQ(
      ports(R"([{"PrivatePort":81,"Type":"tcp"},{"PrivatePort":80,"Type":"tcp"},{"PrivatePort":83,"Type":"tcp"}])"),
      "80-81/tcp, 83/tcp");
  EXPECT_EQ(
      ports(
          R"([{"IP":"0.0.0.0","PrivatePort":80,"PublicPort":8080,"Type":"tcp"},{"IP":"::","PrivatePort":80,"PublicPort":8080,"Type":"tcp"}])"),
      "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp");
  EXPECT_EQ(
      ports(
          R"([{"IP":"0.0.0.0","PrivatePort":80,"PublicPort":80,"Type":"tcp"},{"IP":"0.0.0.0","PrivatePort":81,"PublicPort":81,"Type":"tcp"}])"),
      "0.0.0.0:80-81->80-81/tcp");
}

constexpr std::string_view summary_text = R"({"Id":"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
  "Names":["/web","/other/web"],"Image":"nginx","ImageID":"sha256:ff","Command":"nginx -g 'daemon off;' and more","Created":0,
  "Ports":[],"Labels":{"b":"2","a":"1"},"State":"running","Status":"Up 2 hours","Mounts":[{"Type":"volume","Name":"v","Driver":"local"}],
  "NetworkSettings":{"Networks":{"bridge":{}}}})";

TEST(ContainerRows, TablesTemplatesAndJson) {
  const json::Value summary = json::parse(summary_text).value();
  const std::vector<ContainerRow> rows{{&summary, true}};
  EXPECT_EQ(format_containers("table {{.ID}}\\t{{.Names}}\\t{{upper .State}}", rows).value(),
            "CONTAINER ID   NAMES     STATE\n0123456789ab   web       RUNNING\n");
  EXPECT_EQ(format_containers("{{.Names}} {{.Label \"a\"}} {{.Labels}} {{.Command}}", rows).value(),
            "web 1 a=1,b=2 \"nginx -g 'daemon of…\"\n");
  const auto line = json::parse(format_containers("json", rows).value());
  ASSERT_TRUE(line);
  EXPECT_EQ(line->at("Names").as_string(), "web");
  EXPECT_EQ(line->at("LocalVolumes").as_string(), "1");
  EXPECT_FALSE(line->as_object().contains("Label"));
  EXPECT_EQ(
      format_containers("{{.Nope}}", rows).error().text(),
      R"(template parsing error: template: :1:2: executing "" at <.Nope>: can't evaluate field Nope in type *formatter.ContainerContext)");
  EXPECT_EQ(format_containers("{{", rows).error().text(), "template parsing error: template: :1: unclosed action");
  EXPECT_EQ(format_containers("table {{.Names}}", std::vector<ContainerRow>{}).value(), "NAMES\n");
}

TEST(ContainerRows, HostileAnswersDoNotBreakTheTable) {
  for (const char* text :
       {"{}", "[]", "null", "5", R"({"Id":5,"Names":[5,null],"Ports":[[],"x"],"Mounts":"x","Labels":{"a":5}})"}) {
    const json::Value summary = json::parse(text).value();
    EXPECT_TRUE(format_containers("json", std::vector<ContainerRow>{{&summary, true}})) << text;
    EXPECT_TRUE(format_containers("", std::vector<ContainerRow>{{&summary, true}})) << text;
  }
}

TEST(ImageRows, OneRowForEachName) {
  const json::Value image =
      json::parse(
          R"({"Id":"sha256:aa","RepoTags":["a:1","a:2","b:5000/c:3"],"RepoDigests":["a@sha256:dd","z@sha256:ee"],"Size":1})")
          .value();
  std::vector<ImageRow> rows;
  add_image_rows(image, true, false, false, rows);
  EXPECT_EQ(format_images("{{.Repository}}|{{.Tag}}|{{.Digest}}", rows).value(),
            "a|1|<none>\na|2|<none>\nb:5000/c|3|<none>\nz|<none>|\n");
  rows.clear();
  add_image_rows(image, true, true, false, rows);
  EXPECT_EQ(format_images("{{.Repository}}|{{.Tag}}|{{.Digest}}", rows).value(),
            "a|1|sha256:dd\na|2|sha256:dd\nb:5000/c|3|<none>\nz|<none>|sha256:ee\n");
  rows.clear();
  const json::Value dangling = json::parse(R"({"Id":"sha256:aa","RepoTags":[],"RepoDigests":null})").value();
  add_image_rows(dangling, true, false, false, rows);
  EXPECT_EQ(format_images("{{.Repository}}:{{.Tag}}", rows).value(), "<none>:<none>\n");
}

TEST(Inspect, IndentsWithoutTouchingTokens) {
  EXPECT_EQ(indent_json(R"([{"a":1e2,"b":"x{,}\"","c":[],"d":{},"e":[1,{"f":null}]}])"),
            "[\n    {\n        \"a\": 1e2,\n        \"b\": \"x{,}\\\"\",\n        \"c\": [],\n        \"d\": {},\n     "
            "   \"e\": [\n            1,\n"
            "            {\n                \"f\": null\n            }\n        ]\n    }\n]");
  EXPECT_EQ(indent_json("[]"), "[]");
  EXPECT_LT(indent_json(std::string(100'000, '[')).size(), 50'000'000U);
  EXPECT_EQ(compact_json("{ \"a b\" : [ 1 , 2 ] }"), "{\"a b\":[1,2]}");
  for (const char* broken : {"", "\"", "\"\\", "}}}]]", "[[[", ",,"}) {
    (void)indent_json(broken);
    (void)compact_json(broken);
  }
}

TEST(Inspect, TemplatesAndEmptyOutput) {
  auto plain = Inspector::create("").value();
  EXPECT_EQ(plain.finish(), "[]\n");
  auto inspector = Inspector::create("{{.Name}}").value();
  ASSERT_TRUE(inspector.add(R"({"Name":"x"})"));
  EXPECT_EQ(inspector.add("{}").error().text(),
            R"(template parsing error: template: :1:2: executing "" at <.Name>: map has no entry for key "Name")");
  EXPECT_EQ(inspector.finish(), "x\n");
  EXPECT_EQ(Inspector::create("{{").error().text(), "template parsing error: template: :1: unclosed action");
  EXPECT_FALSE(inspector.add("not json"));
}

class Pipes : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(::pipe(out_), 0);
    ASSERT_EQ(::pipe(err_), 0);
  }
  void TearDown() override {
    for (const int fd : {out_[0], out_[1], err_[0], err_[1]}) {
      if (fd >= 0) ::close(fd);
    }
  }
  static std::string drain(int (&ends)[2]) {
    ::close(ends[1]);
    ends[1] = -1;
    char text[256];
    const ssize_t count = ::read(ends[0], text, sizeof text);
    return {text, static_cast<std::size_t>(count < 0 ? 0 : count)};
  }
  int out_[2] = {-1, -1};
  int err_[2] = {-1, -1};
};

TEST_F(Pipes, FramesArriveInAnyPieces) {
  const std::string stream(
      "\x01\0\0\0\0\0\0\x03out\x02\0\0\0\0\0\0\x03"
      "err\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\x01!",
      39);
  FrameReader reader(true, out_[1], err_[1]);
  for (const char c : stream) ASSERT_TRUE(reader.feed(std::string_view(&c, 1)));
  EXPECT_EQ(drain(out_), "out!");
  EXPECT_EQ(drain(err_), "err");
}

TEST_F(Pipes, UnknownStreamsAreRefused) {
  FrameReader reader(true, out_[1], err_[1]);
  EXPECT_EQ(reader.feed(std::string_view("\x09\0\0\0\0\0\0\x01x", 9)).error().text(), "unrecognized stream: 9");
}

TEST(DetachKeys, SequencesAreFoundAcrossReads) {
  EXPECT_EQ(parse_detach_keys("ctrl-p,ctrl-q").value(), "\x10\x11");
  EXPECT_EQ(parse_detach_keys("a,ctrl-[").value(), "a\x1b");
  for (const char* bad : {"", "foo", "ctrl-", "ctrl-1", "a,,b"}) EXPECT_FALSE(parse_detach_keys(bad)) << bad;
  DetachFilter filter("\x10\x11");
  std::string out;
  EXPECT_FALSE(filter.feed("ab\x10", out));
  EXPECT_EQ(out, "ab");
  EXPECT_FALSE(filter.feed("c", out));
  EXPECT_EQ(out,
            "ab\x10"
            "c");
  EXPECT_FALSE(filter.feed("\x10\x10", out));
  EXPECT_TRUE(filter.feed("\x11", out));
  EXPECT_EQ(out,
            "ab\x10"
            "c\x10");
}

TEST(Progress, BarsFitTheTerminal) {
  EXPECT_EQ(progress_bar(500, 1000, 60), "    500B/1kB");
  EXPECT_EQ(progress_bar(500, 1000, 80), "[==========>          ]      500B/1kB");
  EXPECT_EQ(progress_bar(5, 0, 80), "5B");
  EXPECT_EQ(progress_bar(1000, 1000, 200).substr(0, 53), "[" + std::string(50, '=') + ">]");
}

}  // namespace
}  // namespace corten::cli
