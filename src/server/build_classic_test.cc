#include "server/build_classic.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

namespace corten::server {
namespace {

using testing::HasSubstr;
using testing::Not;

// An answer that is kept instead of sent.
class KeptAnswer : public http::ResponseWriter {
 public:
  Result<> write_all(int status, std::string_view body, std::string_view) override {
    head_sent_ = true;
    status_ = status;
    text += body;
    return {};
  }
  Result<> write_empty(int status) override { return write_all(status, "", ""); }
  Result<> begin_stream(int status, std::string_view) override { return write_all(status, "", ""); }
  Result<> begin_stream(int status, std::string_view, std::uint64_t) override { return write_all(status, "", ""); }
  Result<> write(std::string_view bytes) override {
    text += bytes;
    return {};
  }
  void fail_stream() override { text += "<cut>"; }
  Result<http::HijackedConnection> hijack(std::string_view) override { return fail(ErrorKind::internal, "no socket"); }
  Result<http::HijackedConnection> hijack_websocket(bool) override { return fail(ErrorKind::internal, "no socket"); }
  std::string text;
};

// What `stream` members say, one after another.
std::string stream_of(const std::string& lines) {
  std::string out;
  for (std::size_t at = 0; at < lines.size();) {
    const std::size_t end = lines.find("\r\n", at);
    const auto line = json::parse(lines.substr(at, end - at));
    if (line && line->as_object().contains("stream")) out += line->at("stream").as_string();
    at = end + 2;
  }
  return out;
}

class Classic : public testing::Test {
 protected:
  // The stream asks its call for the answer only.
  struct Parts {
    alignas(Services) std::byte services[sizeof(Services)];
    http::Request request;
    KeptAnswer answer;
  };
  explicit Classic(ClassicTeller::Options options = {})
      : call_{*reinterpret_cast<const Services*>(parts_.services), parts_.request, parts_.answer, {1, 51}, {}},
        teller_(call_, options) {}

  void begin(unsigned id, unsigned number, const std::string& text) {
    build::StepBegun event;
    event.id = id;
    event.number = number;
    event.total = 4;
    event.text = text;
    teller_.event(event);
  }
  void say(unsigned id, std::string_view bytes, bool is_stderr = false) {
    teller_.event(build::StepOutput{id, is_stderr, bytes});
  }
  void end(unsigned id, bool cached = false) {
    build::StepEnded event;
    event.id = id;
    event.cached = cached;
    event.image = "sha256:0123456789abcdef";
    teller_.event(event);
  }
  std::string told() const { return stream_of(parts_.answer.text); }

  Parts parts_;
  Call call_;
  ClassicTeller teller_;
};

class Small : public Classic {
 protected:
  Small() : Classic({.quiet = false, .kept_bytes = 100}) {}
};
class Quiet : public Classic {
 protected:
  Quiet() : Classic({.quiet = true, .kept_bytes = 100}) {}
};

TEST_F(Classic, StepsOfOtherStagesWaitForTheirTurn) {
  begin(1, 1, "FROM a");
  begin(2, 3, "RUN late");
  say(2, "late words\n");
  end(2);
  EXPECT_EQ(told(), "Step 1/4 : FROM a\n");
  end(1);
  begin(3, 2, "RUN early");
  say(3, "early words\n");
  EXPECT_THAT(told(), Not(HasSubstr("late")));
  end(3, true);
  EXPECT_EQ(told(),
            "Step 1/4 : FROM a\n ---> 0123456789ab\nStep 2/4 : RUN early\nearly words\n ---> Using cache\n"
            " ---> 0123456789ab\nStep 3/4 : RUN late\nlate words\n ---> 0123456789ab\n");
}

TEST_F(Small, NothingIsDroppedWhereTooMuchWouldBeKept) {
  begin(1, 1, "FROM a");
  begin(2, 3, "RUN late");
  for (int i = 0; i < 20; ++i) say(2, "0123456789");
  const std::string early = told();
  EXPECT_THAT(early, HasSubstr("RUN late\n0123456789"));
  ASSERT_TRUE(teller_.finish(std::unexpected(Error(ErrorKind::invalid, "why"))));
  std::size_t digits = 0;
  for (const char c : told()) digits += c == '9' ? 1 : 0;
  EXPECT_EQ(digits, 20U);
}

TEST_F(Classic, CharactersAreNotCut) {
  begin(1, 1, "RUN x");
  say(1, "\xe2\x82");
  say(1, "\xac ");
  say(1, "\xf0\x9f");
  end(1);
  EXPECT_THAT(told(), HasSubstr("\xe2\x82\xac \xef\xbf\xbd"));
}

TEST_F(Classic, AnErrorBeforeTheFirstLineIsTheAnswer) {
  const auto done = teller_.finish(std::unexpected(Error(ErrorKind::invalid, "wrong")));
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().text(), "wrong");
  EXPECT_FALSE(parts_.answer.head_sent());
}

TEST_F(Classic, TheEndTellsOfTheImage) {
  BuildOutcome outcome;
  outcome.result.images.push_back({.platform = {}, .id = "sha256:0123456789abcdef", .manifest_digest = {}});
  outcome.familiar = {"x:latest"};
  ASSERT_TRUE(teller_.finish(outcome));
  EXPECT_THAT(parts_.answer.text, HasSubstr(R"({"aux":{"ID":"sha256:0123456789abcdef"}})"));
  EXPECT_EQ(told(), "Successfully built 0123456789ab\nSuccessfully tagged x:latest\n");
}

TEST_F(Quiet, TellsTheIdAloneAndAllOfAFailure) {
  begin(1, 1, "RUN x");
  for (int i = 0; i < 30; ++i) say(1, "0123456789");
  say(1, "the end\n");
  EXPECT_EQ(parts_.answer.text, "");
  const std::string text = "Dockerfile:1: RUN: The command 'x y' returned a non-zero code: 7\n  1 | RUN x";
  ASSERT_TRUE(teller_.finish(std::unexpected(Error(ErrorKind::invalid, text))));
  EXPECT_LE(told().size(), 110U);
  EXPECT_THAT(told(), testing::EndsWith("the end\n"));
  const ClassicError error = classic_error(text);
  EXPECT_EQ(error.code, 7);
  EXPECT_EQ(error.message, "The command 'x y' returned a non-zero code: 7");
}

TEST(ClassicErrors, OthersAreWhole) {
  for (const char* text : {"", "x", "The command 'x", "returned a non-zero code: 3",
                           "The command 'x' returned a non-zero code: ", "The command 'x' returned a non-zero code: y"})
    EXPECT_EQ(classic_error(text).message, text);
}

}  // namespace
}  // namespace corten::server
