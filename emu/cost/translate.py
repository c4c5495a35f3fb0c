"""portable.py as the source of the other languages: its functions as a checked tree, and as Ruby.

The language: 64-bit integers and doubles, local variables, while, if, return, calls, the four arrays.  What else stands in
a function is an error here, so that no back end is in doubt.
"""

from __future__ import annotations

import ast
import functools
from pathlib import Path

HERE = Path(__file__).parent
ARRAYS = {"data": 1, "sieve": 1, "table": 8, "words": 8}         # bytes an element
FUNCTIONS = ("prepare", "cpu", "crcs", "crc", "calls", "fibonacci", "function0", "function1", "function2", "function3",
             "memory", "float_", "system", "io", "irq", "nothing", "dispatch")
BY_TABLE = FUNCTIONS[6:10]
OPERATORS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.BitAnd: "&", ast.BitXor: "^", ast.RShift: ">>"}
COMPARISONS = {ast.Lt: "<", ast.Gt: ">", ast.Eq: "=="}


class Function:
    """One function: its name, parameters, statements, and the kind ("int" or "float") of each local variable."""

    def __init__(self, node: ast.FunctionDef) -> None:
        self.name = node.name
        self.parameters = [argument.arg for argument in node.args.args]
        self.body = node.body
        self.locals = dict.fromkeys(self.parameters, "int")
        for inner in ast.walk(node):
            if isinstance(inner, ast.Assign) and isinstance(inner.targets[0], ast.Name):
                self.locals.setdefault(inner.targets[0].id, self.kind(inner.value))

    def kind(self, node: ast.expr) -> str:
        """Of an expression."""
        if isinstance(node, ast.Constant):
            return type(node.value).__name__
        if isinstance(node, ast.Name):
            return self.locals[node.id]
        if isinstance(node, ast.BinOp):
            return self.kind(node.left)
        return "float" if isinstance(node, ast.Call) and called(node) == "sqrt" else "int"


def called(node: ast.Call) -> str:
    """The name of the function."""
    assert isinstance(node.func, ast.Name)
    return node.func.id


def compared(node: ast.expr) -> tuple[ast.expr, str, ast.expr]:
    """The two sides of a condition and what lies between."""
    assert isinstance(node, ast.Compare) and len(node.ops) == 1
    return node.left, COMPARISONS[type(node.ops[0])], node.comparators[0]


def element(node: ast.expr) -> tuple[str, ast.expr]:
    """The array and the index of an element."""
    assert isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id in ARRAYS
    return node.value.id, node.slice


@functools.cache
def functions() -> dict[str, Function]:
    """All that are translated, by name."""
    tree = ast.parse((HERE / "portable.py").read_text(encoding="utf-8"))
    found = {node.name: Function(node) for node in tree.body if isinstance(node, ast.FunctionDef) and node.name in FUNCTIONS}
    assert tuple(found) == FUNCTIONS
    return found


# -- Ruby

RUBY_HEAD = """\
DATA_, SIEVE, TABLE, WORDS = Array.new(16384, 0), Array.new(16384, 0), Array.new(256, 0), []
"""
RUBY_TAIL = """\
FUNCTIONS = [method(:function0), method(:function1), method(:function2), method(:function3)]
def indirect(kind, x)
  FUNCTIONS[kind].call(x)
end
def bits(x)
  [x].pack("G").unpack1("Q>")
end
def sqrt(x)
  Math.sqrt(x)
end
def mask(x)
  File.umask(x)
end
def opened
  $file = File.open("emu-cost-io", File::RDWR | File::CREAT | File::TRUNC, 0600)
  File.unlink("emu-cost-io")
  $piece = DATA_[0, 4096].pack("C*")
  0
end
def put(x)
  $piece[0, 4] = [x].pack("V")
  raise Errno::ENOSPC if $file.syswrite($piece) != 4096
  0
end
def flushed
  $file.fsync
  $file.sysseek(0)
end
def get
  $file.sysread(4096).unpack1("V")
end
def closed
  $file.close
  0
end
$ticks = 0
def timer(on)
  $setitimer ||= Fiddle::Function.new(Fiddle::Handle::DEFAULT["setitimer"],
    [Fiddle::TYPE_INT, Fiddle::TYPE_VOIDP, Fiddle::TYPE_VOIDP], Fiddle::TYPE_INT)
  Signal.trap("ALRM") { $ticks += 1 }
  $setitimer.call(0, [0, 1000 * on, 0, 1000 * on].pack("q4"), 0)
  $ticks
end
if $0 == __FILE__
  prepare
  $stdout.sync = true
  clocks = [Process::CLOCK_PROCESS_CPUTIME_ID, Process::CLOCK_MONOTONIC]
  while line = $stdin.gets
    number, rounds, warm, size = line.split.map(&:to_i)
    require "fiddle" if number == 8
    WORDS.replace(Array.new(size, 0))
    dispatch(number, warm)
    WORDS.fill(0) if warm > 0
    $stdout.write("\\1")
    before = clocks.map { |clock| Process.clock_gettime(clock, :nanosecond) }
    result = dispatch(number, rounds)
    after = clocks.map { |clock| Process.clock_gettime(clock, :nanosecond) }
    $stdout.write("\\2#{result} #{after[0] - before[0]} #{after[1] - before[1]}\\3")
  end
end
"""
RUBY_NAMES = {"data": "DATA_", "sieve": "SIEVE", "table": "TABLE", "words": "WORDS", "system": "system_"}


def ruby() -> str:
    """The program as Ruby."""
    return RUBY_HEAD + "".join(
        f"def {RUBY_NAMES.get(f.name, f.name)}({', '.join(f.parameters)})\n{''.join(_ruby_line(s, 1) for s in f.body)}end\n"
        for f in functions().values()) + RUBY_TAIL


def _ruby_line(node: ast.stmt, depth: int) -> str:
    indent = "  " * depth
    if isinstance(node, ast.Assign):
        return f"{indent}{_ruby(node.targets[0])} = {_ruby(node.value)}\n"
    if isinstance(node, ast.Return) and node.value is not None:
        return f"{indent}return {_ruby(node.value)}\n"
    if isinstance(node, ast.Expr):
        return f"{indent}{_ruby(node.value)}\n"
    assert isinstance(node, (ast.While, ast.If)) and not node.orelse
    word = "while" if isinstance(node, ast.While) else "if"
    inner = "".join(_ruby_line(statement, depth + 1) for statement in node.body)
    left, operator, right = compared(node.test)
    return f"{indent}{word} {_ruby(left)} {operator} {_ruby(right)}\n{inner}{indent}end\n"


def _ruby(node: ast.expr) -> str:
    if isinstance(node, ast.Constant):
        return repr(node.value)
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.BinOp):
        return f"({_ruby(node.left)} {OPERATORS[type(node.op)]} {_ruby(node.right)})"
    if isinstance(node, ast.Subscript):
        array, index = element(node)
        return f"{RUBY_NAMES[array]}[{_ruby(index)}]"
    assert isinstance(node, ast.Call)
    return f"{RUBY_NAMES.get(called(node), called(node))}({', '.join(map(_ruby, node.args))})"
