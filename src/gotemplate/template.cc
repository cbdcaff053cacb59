#include "gotemplate/template.h"

#include <algorithm>

#include "gotemplate/ast.h"
#include "gotemplate/parser.h"

namespace corten::gotemplate {
namespace json = boost::json;

struct Program {
  std::string text;
  Forest forest;
};

namespace {

enum class Flow : std::uint8_t { normal, break_loop, continue_loop };

struct Variable {
  std::string name;
  Value value;
};

constexpr int max_depth = 200;

class Executor {
 public:
  Executor(const Program& program, const Functions& functions, ExecuteOptions options)
      : program_(program), functions_(functions), options_(options) {}

  Result<std::string> run(const Value& data) {
    variables_.push_back({"$", data});
    const NodePtr& root = program_.forest.find("")->second;
    TRY(walk(data, *root));
    return std::move(out_);
  }

 private:
  // Go's error line: where, what, why.
  std::unexpected<Error> error(std::string_view why) const {
    const std::size_t position = at_ == nullptr ? 0 : at_->position;
    const std::string_view before = std::string_view(program_.text).substr(0, position);
    const std::size_t line_start = before.rfind('\n') == std::string_view::npos ? 0 : before.rfind('\n') + 1;
    const auto line = 1 + std::count(before.begin(), before.end(), '\n');
    return fail(ErrorKind::invalid, "template: :{}:{}: executing {} at <{}>: {}", line, position - line_start,
                quote(template_name_), at_ == nullptr ? "" : at_->shown(), why);
  }

  Result<> step() {
    if (++steps_ > max_steps) return error("too many steps");
    return {};
  }

  Result<> emit(std::string_view text) {
    if (out_.size() + text.size() > max_output_size) return error("output too large");
    out_ += text;
    return {};
  }

  Result<Flow> walk(const Value& dot, const Node& node) {
    CHECK(step());
    at_ = &node;
    switch (node.kind) {
      case NodeKind::text: CHECK(emit(node.text)); return Flow::normal;
      case NodeKind::action: {
        const Value value = TRY(evaluate_pipe(dot, *node.pipe));
        if (node.pipe->names.empty()) CHECK(emit(print(value)));
        return Flow::normal;
      }
      case NodeKind::list:
        for (const auto& child : node.children) {
          const Flow flow = TRY(walk(dot, *child));
          if (flow != Flow::normal) return flow;
        }
        return Flow::normal;
      case NodeKind::if_else:
      case NodeKind::with: return walk_condition(dot, node);
      case NodeKind::range: return walk_range(dot, node);
      case NodeKind::call_template: return walk_template(dot, node);
      case NodeKind::break_loop: return Flow::break_loop;
      case NodeKind::continue_loop: return Flow::continue_loop;
      default: return error("unknown node");
    }
  }

  Result<Flow> walk_condition(const Value& dot, const Node& node) {
    const std::size_t mark = variables_.size();
    const Value value = TRY(evaluate_pipe(dot, *node.pipe));
    Flow flow = Flow::normal;
    if (value.truth()) {
      flow = TRY(walk(node.kind == NodeKind::with ? value : dot, *node.body));
    } else if (node.otherwise != nullptr) {
      flow = TRY(walk(dot, *node.otherwise));
    }
    variables_.resize(mark);
    return flow;
  }

  // One round of a range; false after {{break}}.
  Result<bool> iterate(const Node& node, const Value& key, const Value& element) {
    const std::size_t mark = variables_.size();
    const auto& names = node.pipe->names;
    const auto bind = [&](const std::string& name, const Value& value) {
      if (node.pipe->assigns) {
        assign(name, value);
      } else {
        variables_.push_back({name, value});
      }
    };
    if (names.size() == 1) bind(names[0], element);
    if (names.size() == 2) {
      bind(names[0], key);
      bind(names[1], element);
    }
    const Flow flow = TRY(walk(element, *node.body));
    variables_.resize(mark);
    return flow != Flow::break_loop;
  }

  Result<Flow> walk_range(const Value& dot, const Node& node) {
    const std::size_t mark = variables_.size();
    const Value value = TRY(evaluate_pipe(dot, *node.pipe, true));
    const Shape* shape = value.pointee();
    const Shape* element = shape == nullptr ? nullptr : shape->element;
    bool any = false;
    if (value.is_list()) {
      std::int64_t i = 0;
      for (const auto& item : value.json()->get_array()) {
        any = true;
        if (!TRY(iterate(node, Value::integer(i++), value.child(item, element)))) break;
      }
    } else if (value.is_map()) {
      std::vector<const json::key_value_pair*> entries;
      for (const auto& entry : value.json()->get_object()) entries.push_back(&entry);
      std::sort(entries.begin(), entries.end(), [](const auto* a, const auto* b) { return a->key() < b->key(); });
      for (const auto* entry : entries) {
        any = true;
        if (!TRY(iterate(node, Value::string(entry->key()), value.child(entry->value(), element)))) break;
      }
    } else if (value.is_integer()) {
      const auto count = value.json()->is_int64() ? value.json()->get_int64() : 0;
      for (std::int64_t i = 0; i < count; ++i) {
        any = true;
        if (!TRY(iterate(node, Value::integer(i), Value::integer(i)))) break;
      }
    } else if (!value.is_missing() && !value.is_null()) {
      return error("range can't iterate over " + print(value));
    }
    if (!any && node.otherwise != nullptr) {
      const Flow flow = TRY(walk(dot, *node.otherwise));
      variables_.resize(mark);
      return flow;
    }
    variables_.resize(mark);
    return Flow::normal;
  }

  Result<Flow> walk_template(const Value& dot, const Node& node) {
    const auto found = program_.forest.find(node.text);
    if (found == program_.forest.end()) return error("template " + quote(node.text) + " not defined");
    if (++depth_ > max_depth) return error("exceeded maximum template depth (" + std::to_string(max_depth) + ")");
    const Value data = node.pipe != nullptr ? TRY(evaluate_pipe(dot, *node.pipe)) : Value();
    std::vector<Variable> saved{{"$", data}};
    std::swap(saved, variables_);
    const std::string caller = std::exchange(template_name_, node.text);
    TRY(walk(data, *found->second));
    template_name_ = caller;
    std::swap(saved, variables_);
    --depth_;
    return Flow::normal;
  }

  void assign(const std::string& name, const Value& value) {
    for (auto it = variables_.rbegin(); it != variables_.rend(); ++it) {
      if (it->name == name) {
        it->value = value;
        return;
      }
    }
  }

  Result<Value> variable(const std::string& name) const {
    for (auto it = variables_.rbegin(); it != variables_.rend(); ++it) {
      if (it->name == name) return it->value;
    }
    return error("undefined variable: " + name);
  }

  // `range_names`: the names belong to a range, which binds them itself.
  Result<Value> evaluate_pipe(const Value& dot, const Node& pipe, bool range_names = false) {
    at_ = &pipe;
    std::optional<Value> value;
    for (const auto& command : pipe.children) value = TRY(evaluate_command(dot, *command, value));
    if (range_names) return *value;
    for (const auto& name : pipe.names) {
      if (pipe.assigns) {
        assign(name, *value);
      } else {
        variables_.push_back({name, *value});
      }
    }
    return *value;
  }

  Result<Value> evaluate_command(const Value& dot, const Node& command, const std::optional<Value>& last) {
    CHECK(step());
    const Node& first = *command.children[0];
    switch (first.kind) {
      case NodeKind::field: return field_chain(dot, dot, first, first.names, 0, command.children, last);
      case NodeKind::variable: {
        at_ = &first;
        Value value = TRY(variable(first.names[0]));
        if (first.names.size() == 1) {
          CHECK(no_arguments(command, last, first));
          return value;
        }
        return field_chain(dot, value, first, first.names, 1, command.children, last);
      }
      case NodeKind::chain: {
        const Value base = TRY(evaluate_operand(dot, *first.pipe));
        return field_chain(dot, base, first, first.names, 0, command.children, last);
      }
      case NodeKind::identifier: return call(dot, first, command, last);
      default: break;
    }
    CHECK(no_arguments(command, last, first));
    at_ = &first;
    if (first.kind == NodeKind::nil) return error("nil is not a command");
    return evaluate_operand(dot, first);
  }

  Result<> no_arguments(const Node& command, const std::optional<Value>& last, const Node& first) {
    if (command.children.size() > 1 || last) {
      at_ = &first;
      return error("can't give argument to non-function " + first.shown());
    }
    return {};
  }

  Result<Value> evaluate_operand(const Value& dot, const Node& node) {
    at_ = &node;
    switch (node.kind) {
      case NodeKind::dot: return dot;
      case NodeKind::nil: return Value::nil();
      case NodeKind::constant: return node.value;
      case NodeKind::field: return field_chain(dot, dot, node, node.names, 0, {}, std::nullopt);
      case NodeKind::variable:
        return field_chain(dot, TRY(variable(node.names[0])), node, node.names, 1, {}, std::nullopt);
      case NodeKind::chain:
        return field_chain(dot, TRY(evaluate_operand(dot, *node.pipe)), node, node.names, 0, {}, std::nullopt);
      case NodeKind::pipe: return evaluate_pipe(dot, node);
      case NodeKind::identifier: return call_function(node, node, {});
      default: return error("can't handle operand");
    }
  }

  Result<Value> field_chain(const Value& dot, Value receiver, const Node& node, const std::vector<std::string>& names,
                            std::size_t from, std::span<const NodePtr> words, const std::optional<Value>& last) {
    for (std::size_t i = from; i < names.size(); ++i) {
      std::vector<Value> arguments;
      const bool final = i + 1 == names.size();
      if (final) {
        for (std::size_t w = 1; w < words.size(); ++w) arguments.push_back(TRY(evaluate_operand(dot, *words[w])));
        if (last) arguments.push_back(*last);
      }
      at_ = &node;
      receiver = TRY(field(receiver, names[i], arguments));
    }
    return receiver;
  }

  Result<Value> field(const Value& receiver, const std::string& name, std::span<const Value> arguments) {
    if (const Object* object = receiver.as_object(); object != nullptr) {
      auto found = object->get(name, arguments);
      if (!found) {
        const std::string& why = found.error().text();
        return error(why.starts_with("wrong number of args") ? why : "error calling " + name + ": " + why);
      }
      if (*found) return **found;
      return error(fmt::format("can't evaluate field {} in type {}", name, object->type_name()));
    }
    if (receiver.is_missing()) {
      if (options_.missing_key_is_error) return error("nil data; no entry for key " + quote(name));
      return Value();
    }
    const Shape* shape = receiver.pointee();
    if (shape != nullptr && shape->kind == Shape::Kind::structure)
      return struct_field(receiver, *shape, name, arguments);
    if (receiver.is_null()) {
      return error(fmt::format("nil pointer evaluating interface {{}}.{}", name));
    }
    if (receiver.is_map()) {
      if (!arguments.empty()) return error(name + " is not a method but has arguments");
      const json::value* found = receiver.json()->get_object().if_contains(name);
      const Shape* element = shape == nullptr ? nullptr : shape->element;
      if (found != nullptr) return receiver.child(*found, element);
      if (options_.missing_key_is_error) return error("map has no entry for key " + quote(name));
      return Value();
    }
    return error(fmt::format("can't evaluate field {} in type {}", name,
                             shape == nullptr ? "interface {}" : receiver.type_name()));
  }

  Result<Value> struct_field(const Value& receiver, const Shape& shape, const std::string& name,
                             std::span<const Value> arguments) {
    for (const auto& known : shape.fields) {
      if (known.name != name) continue;
      if (receiver.is_null()) return error(fmt::format("nil pointer evaluating {}.{}", receiver.type_name(), name));
      if (!arguments.empty()) return error(name + " has arguments but cannot be invoked as function");
      const json::value* found =
          receiver.json()->is_object() ? receiver.json()->get_object().if_contains(known.key) : nullptr;
      if (found == nullptr || found->is_null()) return Value::zero(known.shape);
      return receiver.child(*found, known.shape);
    }
    return error(fmt::format("can't evaluate field {} in type {}", name, receiver.type_name()));
  }

  Result<Value> call(const Value& dot, const Node& name, const Node& command, const std::optional<Value>& last) {
    at_ = &name;
    const auto words = std::span(command.children).subspan(1);
    if (name.text == "and" || name.text == "or") return logical(dot, name, words, last);
    std::vector<Value> arguments;
    for (const auto& word : words) arguments.push_back(TRY(evaluate_operand(dot, *word)));
    if (last) arguments.push_back(*last);
    return call_function(name, command, arguments);
  }

  // Stops at the first operand that decides.
  Result<Value> logical(const Value& dot, const Node& name, std::span<const NodePtr> words,
                        const std::optional<Value>& last) {
    const bool stop_at = name.text == "or";
    if (words.empty() && !last) return error("wrong number of args for " + name.text + ": want at least 1 got 0");
    Value value;
    for (const auto& word : words) {
      value = TRY(evaluate_operand(dot, *word));
      if (value.truth() == stop_at) return value;
    }
    return last ? *last : value;
  }

  Result<Value> call_function(const Node& name, const Node& command, std::span<const Value> arguments) {
    at_ = &name;
    const auto found = functions_.find(name.text);
    if (found == functions_.end()) return error(quote(name.text) + " is not a defined function");
    auto result = found->second(arguments);
    if (result) return result;
    const std::string& why = result.error().text();
    // What Go finds out before the call has no "error calling" in front.
    constexpr std::string_view count = "wrong number of args: ";
    if (why.starts_with(count)) return error("wrong number of args for " + name.text + ": " + why.substr(count.size()));
    at_ = &command;
    if (why.starts_with("wrong type for value") || why.starts_with("invalid value;")) return error(why);
    return error("error calling " + name.text + ": " + why);
  }

  const Program& program_;
  const Functions& functions_;
  ExecuteOptions options_;
  std::string template_name_;
  const Node* at_ = nullptr;
  std::vector<Variable> variables_;
  std::size_t steps_ = 0;
  int depth_ = 0;
  std::string out_;
};

}  // namespace

Result<Template> Template::parse(std::string_view text, const Functions& functions) {
  const auto is_function = [&](std::string_view name) {
    return name == "and" || name == "or" || functions.find(name) != functions.end();
  };
  auto program = std::make_shared<Program>();
  program->text = text;
  program->forest = TRY(parse_forest(text, is_function));
  Template result;
  result.program_ = std::move(program);
  result.functions_ = &functions;
  return result;
}

Result<std::string> Template::execute(const Value& data, ExecuteOptions options) const {
  return Executor(*program_, *functions_, options).run(data);
}

}  // namespace corten::gotemplate
