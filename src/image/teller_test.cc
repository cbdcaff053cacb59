#include "image/teller.h"

#include <gmock/gmock.h>

#include <future>

namespace corten::image {
namespace {

using testing::ElementsAre;

TEST(Teller, TellsInOrderAndOnlyTheLastOfBarsThatNobodyHasSeen) {
  std::promise<void> begun, listen;
  auto listens = listen.get_future().share();
  std::vector<std::string> heard;
  {
    Teller teller([&](const TransferEvent& event) {
      if (heard.empty()) begun.set_value();
      listens.wait();
      heard.push_back(fmt::format("{} {} {}", event.id, event.status, event.current));
    });
    teller.tell({"a", "Pulling fs layer"});
    begun.get_future().wait();  // from here on the listener is busy
    for (std::uint64_t i = 1; i <= 50; ++i) {
      teller.tell({"a", "Downloading", i, 100});
      teller.tell({"b", "Downloading", i, 100});
    }
    teller.tell({"a", "Download complete"});
    teller.tell({"a", "Extracting", 1, 100});
    teller.tell({"b", "Downloading", 51, 100});
    for (int i = 0; i < 100'000; ++i) teller.tell({"c", "line"});
    listen.set_value();
  }
  ASSERT_GT(heard.size(), 5U);
  EXPECT_LT(heard.size(), 10'000U);
  heard.resize(5);
  EXPECT_THAT(heard, ElementsAre("a Pulling fs layer 0", "a Downloading 50", "b Downloading 51",
                                 "a Download complete 0", "a Extracting 1"));
}

TEST(Teller, NeedsNoListener) {
  Teller teller({});
  teller.tell({"a", "line"});
}

}  // namespace
}  // namespace corten::image
