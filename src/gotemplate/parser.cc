#include "gotemplate/parser.h"

#include <charconv>
#include <cstdlib>

#include "gotemplate/lexer.h"
#include "gotemplate/literal.h"

namespace corten::gotemplate {
namespace {

// Ends the parse; caught in parse_forest, never leaves this file.
struct ParseError {
  std::string text;
};

NodePtr make(NodeKind kind, std::size_t position) {
  return std::make_unique<Node>(Node{.kind = kind, .position = position});
}

class Parser {
 public:
  Parser(std::string_view text, const std::function<bool(std::string_view)>& is_function)
      : tokens_(tokenize(text)), is_function_(is_function) {}

  Forest run() {
    NodePtr root = make(NodeKind::list, 0);
    while (peek().kind != TokenKind::end_of_text) {
      if (peek().kind == TokenKind::left_delimiter && peek_after_delimiter().kind == TokenKind::keyword_define) {
        next();
        next_non_space();
        parse_define();
        continue;
      }
      NodePtr node = text_or_action();
      if (node->kind == NodeKind::list) fail(node->text == "end" ? "unexpected {{end}}" : "unexpected {{else}}");
      root->children.push_back(std::move(node));
    }
    forest_[""] = std::move(root);
    return std::move(forest_);
  }

 private:
  [[noreturn]] void fail(const std::string& message) {
    throw ParseError{"template: :" + std::to_string(line_) + ": " + message};
  }
  [[noreturn]] void unexpected(const Token& token, std::string_view context) {
    if (token.kind == TokenKind::error) fail(token.text);
    fail("unexpected " + token.shown() + " in " + std::string(context));
  }

  const Token& peek() const { return tokens_[std::min(index_, tokens_.size() - 1)]; }
  const Token& peek_after_delimiter() const {
    std::size_t i = index_ + 1;
    while (i + 1 < tokens_.size() && tokens_[i].kind == TokenKind::space) ++i;
    return tokens_[std::min(i, tokens_.size() - 1)];
  }
  const Token& next() {
    const Token& token = peek();
    line_ = token.line;
    if (index_ < tokens_.size()) ++index_;
    return token;
  }
  const Token& next_non_space() {
    while (peek().kind == TokenKind::space) next();
    return next();
  }
  const Token& peek_non_space() {
    while (peek().kind == TokenKind::space) next();
    line_ = peek().line;
    return peek();
  }
  const Token& expect(TokenKind kind, std::string_view context) {
    const Token& token = next_non_space();
    if (token.kind != kind) unexpected(token, context);
    return token;
  }

  void enter() {
    if (++depth_ > max_nesting) fail("nested too deeply");
  }
  void leave() { --depth_; }

  // Reads the body of a template, which sees no variables of the text around it.
  void define(const std::string& name, const std::string& context) {
    const auto saved = std::move(variables_);
    variables_ = {"$"};
    auto [body, end] = item_list();
    if (end != "end") fail("unexpected {{else}} in " + context);
    variables_ = saved;
    if (forest_.size() > 1000) fail("too many templates");
    forest_[name] = std::move(body);
  }

  std::string template_name(const Token& token, std::string_view context) {
    if (token.kind != TokenKind::string && token.kind != TokenKind::raw_string) unexpected(token, context);
    auto name = unquote(token.text);
    if (!name) fail(name.error().text());
    return *name;
  }

  void parse_define() {
    const std::string name = template_name(next_non_space(), "define clause");
    expect(TokenKind::right_delimiter, "define clause");
    define(name, "define clause");
  }

  // Items up to {{end}} or {{else}}; which of the two is the second of the pair.
  std::pair<NodePtr, std::string> item_list() {
    NodePtr list = make(NodeKind::list, peek().position);
    while (peek().kind != TokenKind::end_of_text) {
      NodePtr node = text_or_action();
      if (node->kind == NodeKind::list && !node->text.empty()) return {std::move(list), node->text};
      list->children.push_back(std::move(node));
    }
    line_ = peek().line;
    fail("unexpected EOF");
  }

  NodePtr text_or_action() {
    const Token& token = next();
    if (token.kind == TokenKind::text) {
      NodePtr node = make(NodeKind::text, token.position);
      node->text = token.text;
      return node;
    }
    if (token.kind == TokenKind::left_delimiter) return action();
    unexpected(token, "input");
  }

  NodePtr marker(std::string what) {
    NodePtr node = make(NodeKind::list, peek().position);
    node->text = std::move(what);
    return node;
  }

  NodePtr action() {
    const Token& token = next_non_space();
    switch (token.kind) {
      case TokenKind::keyword_if: return control(NodeKind::if_else, "if", token.position);
      case TokenKind::keyword_range: return control(NodeKind::range, "range", token.position);
      case TokenKind::keyword_with: return control(NodeKind::with, "with", token.position);
      case TokenKind::keyword_block: return block(token.position);
      case TokenKind::keyword_template: return call_template();
      case TokenKind::keyword_break: return loop_jump(NodeKind::break_loop, "break", token.position);
      case TokenKind::keyword_continue: return loop_jump(NodeKind::continue_loop, "continue", token.position);
      case TokenKind::keyword_else: return else_marker();
      case TokenKind::keyword_end: expect(TokenKind::right_delimiter, "end"); return marker("end");
      default: break;
    }
    --index_;
    NodePtr node = make(NodeKind::action, peek().position);
    node->pipe = pipeline("command", TokenKind::right_delimiter);
    return node;
  }

  NodePtr else_marker() {
    const Token& token = peek_non_space();
    // "{{else if" is read as "{{else}}{{if" with one shared end; the delimiter is left for the reader of the else part.
    if (token.kind == TokenKind::keyword_if) return marker("else if");
    if (token.kind == TokenKind::keyword_with) return marker("else with");
    expect(TokenKind::right_delimiter, "else");
    return marker("else");
  }

  NodePtr loop_jump(NodeKind kind, const std::string& word, std::size_t position) {
    const Token& token = next_non_space();
    if (token.kind != TokenKind::right_delimiter) unexpected(token, "{{" + word + "}}");
    if (loop_depth_ == 0) fail("{{" + word + "}} outside {{range}}");
    return make(kind, position);
  }

  NodePtr control(NodeKind kind, const std::string& context, std::size_t position) {
    enter();
    NodePtr node = make(kind, position);
    const std::size_t variables = variables_.size();
    node->pipe = pipeline(context, TokenKind::right_delimiter);
    if (kind == NodeKind::range) ++loop_depth_;
    auto [body, end] = item_list();
    if (kind == NodeKind::range) --loop_depth_;
    node->body = std::move(body);
    if (end == "else if" || end == "else with") {
      const bool matches = kind == (end == "else if" ? NodeKind::if_else : NodeKind::with);
      if (!matches) fail("unexpected <" + end.substr(5) + "> in else");
      const std::size_t at = next_non_space().position;
      node->otherwise = make(NodeKind::list, at);
      node->otherwise->children.push_back(control(kind, context, at));
    } else if (end == "else") {
      auto [otherwise, last] = item_list();
      if (last != "end") fail("expected end; found {{else}}");
      node->otherwise = std::move(otherwise);
    }
    variables_.resize(variables);
    leave();
    return node;
  }

  NodePtr block(std::size_t position) {
    enter();
    NodePtr node = make(NodeKind::call_template, position);
    node->text = template_name(next_non_space(), "block clause");
    node->pipe = pipeline("block clause", TokenKind::right_delimiter);
    define(node->text, "block clause");
    leave();
    return node;
  }

  NodePtr call_template() {
    NodePtr node = make(NodeKind::call_template, peek_non_space().position);
    node->text = template_name(next_non_space(), "template clause");
    if (peek_non_space().kind == TokenKind::right_delimiter) {
      next();
    } else {
      node->pipe = pipeline("template clause", TokenKind::right_delimiter);
    }
    return node;
  }

  // "$x :=", "$i, $e :=" (range only) or "$x =".
  void declarations(Node& pipe, std::string_view context) {
    while (peek_non_space().kind == TokenKind::variable) {
      const std::size_t start = index_;
      const Token variable = next();
      const Token& after = peek_non_space();
      if (after.kind == TokenKind::declare || after.kind == TokenKind::assign) {
        pipe.assigns = after.kind == TokenKind::assign;
        next();
        pipe.names.push_back(variable.text);
        if (!pipe.assigns) variables_.push_back(variable.text);
        return;
      }
      if (after.kind == TokenKind::comma) {
        next();
        if (context != "range" || !pipe.names.empty()) fail("too many declarations in " + std::string(context));
        pipe.names.push_back(variable.text);
        variables_.push_back(variable.text);
        if (peek_non_space().kind != TokenKind::variable) fail("range can only initialize variables");
        continue;
      }
      index_ = start;
      return;
    }
  }

  NodePtr pipeline(const std::string& context, TokenKind end) {
    enter();
    NodePtr pipe = make(NodeKind::pipe, peek_non_space().position);
    declarations(*pipe, context);
    for (;;) {
      const Token& token = next_non_space();
      if (token.kind == end) break;
      switch (token.kind) {
        case TokenKind::boolean:
        case TokenKind::character_constant:
        case TokenKind::dot:
        case TokenKind::field:
        case TokenKind::identifier:
        case TokenKind::number:
        case TokenKind::keyword_nil:
        case TokenKind::raw_string:
        case TokenKind::string:
        case TokenKind::variable:
        case TokenKind::left_paren:
          --index_;
          pipe->children.push_back(command());
          break;
        default: unexpected(token, context);
      }
    }
    check_pipeline(*pipe, context);
    leave();
    return pipe;
  }

  void check_pipeline(const Node& pipe, const std::string& context) {
    if (pipe.children.empty()) fail("missing value for " + context);
    for (std::size_t i = 1; i < pipe.children.size(); ++i) {
      const NodeKind first = pipe.children[i]->children[0]->kind;
      if (first == NodeKind::constant || first == NodeKind::dot || first == NodeKind::nil) {
        fail("non executable command in pipeline stage " + std::to_string(i + 1));
      }
    }
  }

  NodePtr command() {
    NodePtr node = make(NodeKind::command, peek_non_space().position);
    for (;;) {
      peek_non_space();
      NodePtr word = operand();
      if (word != nullptr) node->children.push_back(std::move(word));
      const Token& token = next();
      if (token.kind == TokenKind::space) continue;
      if (token.kind == TokenKind::right_delimiter || token.kind == TokenKind::right_paren) {
        --index_;
      } else if (token.kind != TokenKind::pipe) {
        unexpected(token, "operand");
      }
      break;
    }
    if (node->children.empty()) fail("empty command");
    return node;
  }

  NodePtr operand() {
    NodePtr node = term();
    if (node == nullptr || peek().kind != TokenKind::field) return node;
    NodePtr chain = make(NodeKind::chain, peek().position);
    while (peek().kind == TokenKind::field) chain->names.push_back(next().text.substr(1));
    switch (node->kind) {
      case NodeKind::field:
      case NodeKind::variable:
        for (auto& name : chain->names) node->names.push_back(std::move(name));
        node->position = chain->position;
        return node;
      case NodeKind::constant:
      case NodeKind::nil:
      case NodeKind::dot: fail("unexpected . after term " + quote(node->shown()));
      default: break;
    }
    chain->pipe = std::move(node);
    return chain;
  }

  static NodePtr constant(const Token& token, Value value, bool is_string) {
    NodePtr node = make(NodeKind::constant, token.position);
    node->text = token.text;
    node->value = std::move(value);
    node->is_string = is_string;
    return node;
  }

  NodePtr term() {
    const Token token = next_non_space();
    switch (token.kind) {
      case TokenKind::identifier: {
        if (!is_function_(token.text)) fail("function " + quote(token.text) + " not defined");
        NodePtr node = make(NodeKind::identifier, token.position);
        node->text = token.text;
        return node;
      }
      case TokenKind::dot: return make(NodeKind::dot, token.position);
      case TokenKind::keyword_nil: return make(NodeKind::nil, token.position);
      case TokenKind::variable: {
        bool known = false;
        for (const auto& name : variables_) known = known || name == token.text;
        if (!known) fail("undefined variable " + quote(token.text));
        NodePtr node = make(NodeKind::variable, token.position);
        node->names.push_back(token.text);
        return node;
      }
      case TokenKind::field: {
        NodePtr node = make(NodeKind::field, token.position);
        node->names.push_back(token.text.substr(1));
        return node;
      }
      case TokenKind::boolean: return constant(token, Value::boolean(token.text == "true"), false);
      case TokenKind::character_constant:
      case TokenKind::number: {
        auto number = parse_number(token.text);
        if (!number) fail(number.error().text());
        return constant(token, std::move(*number), false);
      }
      case TokenKind::left_paren: return pipeline("parenthesized pipeline", TokenKind::right_paren);
      case TokenKind::string:
      case TokenKind::raw_string: {
        auto text = unquote(token.text);
        if (!text) fail(text.error().text());
        return constant(token, Value::string(*text), true);
      }
      case TokenKind::error: fail(token.text);
      default: break;
    }
    --index_;
    return nullptr;
  }

  std::vector<Token> tokens_;
  const std::function<bool(std::string_view)>& is_function_;
  std::size_t index_ = 0;
  std::size_t line_ = 1;
  int depth_ = 0;
  int loop_depth_ = 0;
  std::vector<std::string> variables_{"$"};
  Forest forest_;
};

}  // namespace

Result<Forest> parse_forest(std::string_view text, const std::function<bool(std::string_view)>& is_function) {
  if (text.size() > max_template_size) {
    return fail(ErrorKind::invalid, "template: :1: longer than {} bytes", max_template_size);
  }
  try {
    return Parser(text, is_function).run();
  } catch (ParseError& error) {
    return std::unexpected(Error(ErrorKind::invalid, std::move(error.text)));
  }
}

}  // namespace corten::gotemplate
