#include "gotemplate/template.h"

#include <gtest/gtest.h>

namespace corten::gotemplate {
namespace json = boost::json;
namespace {

std::string run(std::string_view text, const json::value& data = {}, ExecuteOptions options = {}) {
  auto parsed = Template::parse(text);
  if (!parsed) return "PARSE " + parsed.error().text();
  auto out = parsed->execute(Value::view(data), options);
  return out ? *out : "EXEC " + out.error().text();
}

const json::value sample = json::parse(R"({
  "Id": "abc", "Name": "/web", "Count": 3, "Ratio": 2.5, "Big": 12345678901, "Off": false, "On": true, "Nothing": null,
  "Env": ["A=1", "B=2"], "Empty": [], "Labels": {"b": "2", "a": "1"},
  "Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "53/udp": null},
  "State": {"Status": "running", "Pid": 42}})");

struct Case {
  std::string_view text;
  std::string_view want;
};

class TemplateTable : public testing::TestWithParam<Case> {};

TEST_P(TemplateTable, Prints) { EXPECT_EQ(run(GetParam().text, sample), GetParam().want) << GetParam().text; }

INSTANTIATE_TEST_SUITE_P(
    Fields, TemplateTable,
    testing::Values(Case{"plain text", "plain text"}, Case{"{{.Id}}", "abc"}, Case{"{{ .State.Status }}!", "running!"},
                    Case{"{{.Count}} {{.Ratio}} {{.Big}} {{.On}}", "3 2.5 12345678901 true"},
                    Case{"{{.Missing}}", "<no value>"}, Case{"{{.Nothing}}", "<no value>"},
                    Case{"{{.Env}}", "[A=1 B=2]"}, Case{"{{.Labels}}", "map[a:1 b:2]"},
                    Case{"{{.Ports}}", "map[53/udp:<nil> 80/tcp:[map[HostIp:0.0.0.0 HostPort:8080]]]"},
                    Case{"{{$.Id}}", "abc"}, Case{"{{(index .Env 1)}}", "B=2"}, Case{"{{(.State).Pid}}", "42"},
                    Case{"a {{- .Id -}}  b", "aabcb"}, Case{"{{/* note */}}x", "x"},
                    Case{"a {{- /* note */ -}} b", "ab"}, Case{"{{with .State}}{{.Pid}}{{end}}", "42"}));

INSTANTIATE_TEST_SUITE_P(
    Control, TemplateTable,
    testing::Values(
        Case{"{{if .On}}y{{else}}n{{end}}", "y"}, Case{"{{if .Off}}y{{else}}n{{end}}", "n"},
        Case{"{{if .Off}}1{{else if .Empty}}2{{else if .Count}}3{{else}}4{{end}}", "3"},
        Case{"{{range .Env}}<{{.}}>{{end}}", "<A=1><B=2>"},
        Case{"{{range $i, $e := .Env}}{{$i}}={{$e}};{{end}}", "0=A=1;1=B=2;"},
        Case{"{{range $k, $v := .Labels}}{{$k}}{{$v}}{{end}}", "a1b2"},
        Case{"{{range .Empty}}x{{else}}none{{end}}", "none"}, Case{"{{range .Nothing}}x{{else}}none{{end}}", "none"},
        Case{"{{range $i, $e := .Env}}{{if $i}}{{break}}{{end}}{{$e}}{{end}}", "A=1"},
        Case{"{{range $i, $e := .Env}}{{if not $i}}{{continue}}{{end}}{{$e}}{{end}}", "B=2"},
        Case{"{{range 3}}{{.}}{{end}}", "012"}, Case{"{{$x := 1}}{{$x = 2}}{{$x}}", "2"},
        Case{"{{$x := .Id}}{{with .State}}{{$x}}{{.Status}}{{end}}", "abcrunning"},
        Case{"{{with .Nothing}}x{{else}}none{{end}}", "none"},
        Case{"{{with .Off}}1{{else with .Id}}{{.}}{{end}}", "abc"},
        Case{R"({{define "T"}}[{{.}}]{{end}}{{template "T" .Id}})", "[abc]"},
        Case{R"({{block "B" .State}}{{.Pid}}{{end}})", "42"},
        Case{R"({{range $p, $c := .Ports}}{{$p}} -> {{(index $c 0).HostPort}} {{break}}{{end}})",
             R"(EXEC template: :1:39: executing "" at <index $c 0>: error calling index: index of untyped nil)"},
        Case{R"({{range $p, $c := .Ports}}{{if $c}}{{$p}} -> {{(index $c 0).HostPort}}{{end}}{{end}})",
             "80/tcp -> 8080"}));

INSTANTIATE_TEST_SUITE_P(
    Functions, TemplateTable,
    testing::Values(
        Case{"{{json .State}}", R"({"Status":"running","Pid":42})"}, Case{"{{json .Missing}}", "null"},
        Case{R"({{json "<a>\n\"&"}})", R"("<a>\n\"&")"}, Case{R"({{join .Env ","}})", "A=1,B=2"},
        Case{R"({{split "a,b" ","}})", "[a b]"}, Case{R"({{join (split "abc" "") "-"}})", "a-b-c"},
        Case{R"({{title "hello world"}})", "Hello World"}, Case{"{{upper .Id}}{{lower \"X\"}}", "ABCx"},
        Case{R"({{pad "x" 1 2}}|)", " x  |"}, Case{"{{truncate .Id 2}}", "ab"}, Case{"{{truncate .Id 20}}", "abc"},
        Case{"{{len .Env}} {{len .Labels}} {{len .Id}}", "2 2 3"}, Case{R"({{index .Labels "a"}})", "1"},
        Case{R"({{index .Labels "z"}})", "<no value>"}, Case{R"({{slice .Id 1}} {{slice .Id 0 2}})", "bc ab"},
        Case{"{{and .On .Id}} {{or .Off .Id}} {{not .On}}", "abc abc false"}, Case{"{{or .Off .Empty}}", "[]"},
        Case{R"({{if and .Off (index .Env 9)}}x{{else}}short{{end}})", "short"},
        Case{"{{eq .Count 3}} {{ne .Id \"abc\"}} {{lt .Count 4}} {{ge .Ratio 2.5}}", "true false true true"},
        Case{"{{eq .Id \"x\" \"abc\"}}", "true"}, Case{"{{eq .Nothing nil}}", "true"},
        Case{R"({{print 1 2 "a" "b" 3}})", "1 2ab3"}, Case{"{{println .Id 1}}", "abc 1\n"},
        Case{"{{.Id | printf \"%s-%d\" | print}}", "abc-%!d(MISSING)"}, Case{"{{html \"<&>\"}}", "&lt;&amp;&gt;"},
        Case{"{{urlquery \"a b&c\"}}", "a+b%26c"}, Case{"{{js \"<'>\"}}", R"(\u003C\'\u003E)"}));

INSTANTIATE_TEST_SUITE_P(
    Printf, TemplateTable,
    testing::Values(Case{R"({{printf "%s %q %v" .Id .Id .Count}})", R"(abc "abc" 3)"},
                    Case{R"({{printf "%5d|%-5d|%05d|%+d" 42 42 42 42}})", "   42|42   |00042|+42"},
                    Case{R"({{printf "%.2f %6.1f %e %g" .Ratio .Ratio .Ratio .Ratio}})",
                         "2.50    2.5 2.500000e+00 2.5"},
                    Case{R"({{printf "%x %X %o %b %#x" 255 255 8 5 255}})", "ff FF 10 101 0xff"},
                    Case{R"({{printf "%x" "hi"}})", "6869"}, Case{R"({{printf "%t %v" true false}})", "true false"},
                    Case{R"({{printf "%-10s|%10s|%.2s" "ab" "cd" "efg"}})", "ab        |        cd|ef"},
                    Case{R"({{printf "%d" "x"}})", "%!d(string=x)"}, Case{R"({{printf "%s" 5}})", "%!s(int=5)"},
                    Case{R"({{printf "%d"}})", "%!d(MISSING)"}, Case{R"({{printf "x" 1}})", "x%!(EXTRA int=1)"},
                    Case{R"({{printf "100%%"}})", "100%"}, Case{R"({{printf "%"}})", "%!(NOVERB)"},
                    Case{R"({{printf "%c%U" 65 65}})", "AU+0041"}, Case{R"({{printf "%*d" 5 42}})", "   42"},
                    Case{R"({{printf "%T" .Id}})", "string"}, Case{R"({{printf "%s" .Env}})", "[A=1 B=2]"},
                    Case{R"({{printf "%v" .Nothing}})", "<nil>"}));

INSTANTIATE_TEST_SUITE_P(Literals, TemplateTable,
                         testing::Values(Case{R"({{"a\tb\u00e9\x41"}})", "a\tb\xc3\xa9\x41"},
                                         Case{"{{`raw\\n`}}", "raw\\n"}, Case{"{{'a'}}", "97"},
                                         Case{"{{0x1F}} {{-7}} {{1_000}} {{0b11}}", "31 -7 1000 3"},
                                         Case{"{{1.5e3}} {{1e100}}", "1500 1e+100"}, Case{"{{true}}", "true"},
                                         Case{"{{print nil}}", "<nil>"},
                                         Case{"{{9223372036854775807}}", "9223372036854775807"}));

INSTANTIATE_TEST_SUITE_P(ParseErrors, TemplateTable,
                         testing::Values(Case{"{{", "PARSE template: :1: unclosed action"},
                                         Case{"\n{{.A", "PARSE template: :2: unclosed action"},
                                         Case{"{{foo .}}", R"(PARSE template: :1: function "foo" not defined)"},
                                         Case{"{{if}}", "PARSE template: :1: missing value for if"},
                                         Case{"{{}}", "PARSE template: :1: missing value for command"},
                                         Case{"{{if .A}}", "PARSE template: :1: unexpected EOF"},
                                         Case{"{{end}}", "PARSE template: :1: unexpected {{end}}"},
                                         Case{"{{else}}", "PARSE template: :1: unexpected {{else}}"},
                                         Case{"{{(.A}}", "PARSE template: :1: unclosed left paren"},
                                         Case{"{{.A)}}", "PARSE template: :1: unexpected right paren"},
                                         Case{"{{\"a}}", "PARSE template: :1: unterminated quoted string"},
                                         Case{"{{`a}}", "PARSE template: :1: unterminated raw quoted string"},
                                         Case{"{{$x}}", R"(PARSE template: :1: undefined variable "$x")"},
                                         Case{"{{.A | 5}}",
                                              "PARSE template: :1: non executable command in pipeline stage 2"},
                                         Case{"{{break}}", "PARSE template: :1: {{break}} outside {{range}}"},
                                         Case{"{{/* a", "PARSE template: :1: unclosed comment"},
                                         Case{"{{1a}}", R"(PARSE template: :1: bad number syntax: "1a")"},
                                         Case{"{{.A!}}", "PARSE template: :1: bad character U+0021 '!'"},
                                         Case{"{{| .A}}", R"(PARSE template: :1: unexpected "|" in command)"}));

INSTANTIATE_TEST_SUITE_P(
    ExecErrors, TemplateTable,
    testing::Values(
        Case{"{{.Id.Foo}}",
             R"(EXEC template: :1:5: executing "" at <.Id.Foo>: can't evaluate field Foo in type interface {})"},
        Case{"{{index .Env 7}}",
             R"(EXEC template: :1:2: executing "" at <index .Env 7>: error calling index: index out of range: 7)"},
        Case{"{{range .Id}}{{end}}", R"(EXEC template: :1:8: executing "" at <.Id>: range can't iterate over abc)"},
        Case{"{{eq .Id 1}}",
             R"(EXEC template: :1:2: executing "" at <eq .Id 1>: error calling eq: incompatible types for comparison)"},
        Case{"{{5 .Id}}", R"(EXEC template: :1:2: executing "" at <5>: can't give argument to non-function 5)"},
        Case{R"({{template "x"}})",
             R"(EXEC template: :1:11: executing "" at <{{template "x"}}>: template "x" not defined)"},
        Case{"{{upper 5}}",
             R"(EXEC template: :1:2: executing "" at <upper 5>: wrong type for value; expected string; got int)"}));

TEST(Template, MissingKeyIsAnErrorWhenAsked) {
  EXPECT_EQ(run("{{.Foo}}", sample, {.missing_key_is_error = true}),
            R"(EXEC template: :1:2: executing "" at <.Foo>: map has no entry for key "Foo")");
  EXPECT_EQ(run("{{.State.Foo}}", sample, {.missing_key_is_error = true}),
            R"(EXEC template: :1:8: executing "" at <.State.Foo>: map has no entry for key "Foo")");
}

TEST(Template, EndlessRecursionAndLoopsEnd) {
  EXPECT_THAT(run(R"({{define "T"}}{{template "T" .}}{{end}}{{template "T" .}})"),
              testing::HasSubstr("exceeded maximum template depth"));
  EXPECT_THAT(run("{{range 9000000000}}{{end}}"), testing::HasSubstr("too many steps"));
  EXPECT_THAT(run(std::string(300, '(').insert(0, "{{") + "1"), testing::StartsWith("PARSE "));
  EXPECT_THAT(run(R"({{range 100000}}{{printf "%9999d" 1}}{{end}})"), testing::HasSubstr("output too large"));
}

TEST(Template, ShapesGiveStructBehaviour) {
  static constexpr Shape text{.kind = Shape::Kind::string};
  static constexpr Shape number{.kind = Shape::Kind::integer};
  static constexpr ShapeField health_fields[] = {{"Status", "Status", &text}};
  static constexpr Shape health{.kind = Shape::Kind::structure, .fields = health_fields};
  static constexpr Shape health_pointer{.kind = Shape::Kind::pointer, .element = &health};
  static constexpr ShapeField fields[] = {
      {"ID", "Id", &text}, {"Health", "Health", &health_pointer}, {"Pid", "Pid", &number}};
  static constexpr Shape state{.kind = Shape::Kind::structure, .fields = fields};
  const json::value data = json::parse(R"({"Id": "x"})");
  const auto shaped = [&](std::string_view source) {
    auto out = Template::parse(source).value().execute(Value::view(data, &state));
    return out ? *out : out.error().text();
  };
  EXPECT_EQ(shaped("{{.ID}} {{.Pid}} {{.Health}}"), "x 0 <nil>");
  EXPECT_EQ(shaped("{{if .Health}}y{{else}}n{{end}}"), "n");
  EXPECT_EQ(shaped("{{.}}"), "{x <nil> 0}");
  EXPECT_THAT(shaped("{{.Nope}}"), testing::HasSubstr("can't evaluate field Nope"));
}

class Row : public Object {
 public:
  std::string_view type_name() const override { return "*formatter.Row"; }
  Result<std::optional<Value>> get(std::string_view name, std::span<const Value> arguments) const override {
    if (name == "ID") return Value::string("abc");
    if (name == "Label" && arguments.size() == 1) return Value::string("label-" + std::string(arguments[0].text()));
    return std::nullopt;
  }
  json::value to_json() const override { return {{"ID", "abc"}}; }
};

TEST(Template, ObjectsComputeTheirFields) {
  const Row row;
  const auto of = [&](std::string_view source) {
    auto out = Template::parse(source).value().execute(Value::object(row));
    return out ? *out : out.error().text();
  };
  EXPECT_EQ(of(R"({{.ID}} {{.Label "x"}} {{json .}})"), R"(abc label-x {"ID":"abc"})");
  EXPECT_EQ(of("{{.Foo}}"),
            R"(template: :1:2: executing "" at <.Foo>: can't evaluate field Foo in type *formatter.Row)");
}

TEST(Template, AnyBytesAreSafe) {
  std::string text =
      "{{range $i, $e := .Env}}{{printf \"%*d\" 5 'x'}}{{else if (index . 1).A | json}}`\xff\x00{{end -}} ";
  for (std::size_t cut = 0; cut <= text.size(); ++cut) {
    (void)run(text.substr(0, cut), sample);
    (void)run(text.substr(cut), sample);
    for (const char c : {'{', '}', '(', ')', '"', '\'', '.', '$', '|', '-', '\0', '\xff'}) {
      std::string changed = text;
      changed.insert(cut, 1, c);
      (void)run(changed, sample);
    }
  }
}

}  // namespace
}  // namespace corten::gotemplate
