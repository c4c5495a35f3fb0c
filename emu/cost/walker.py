"""The walk through a function of portable.py, one for all back ends: each tells what an instruction is there."""

from __future__ import annotations

import ast

from emu.cost.translate import OPERATORS, Function, called, compared, element


class Walker:
    """One function's instructions, for a machine with a stack."""

    def __init__(self, function: Function) -> None:
        self.function = function

    def walk(self) -> None:
        for statement in self.function.body:
            self.statement(statement)

    def statement(self, node: ast.stmt) -> None:
        if isinstance(node, ast.Return) and node.value is not None:
            self.expression(node.value)
            self.leave()
        elif isinstance(node, ast.Expr):
            self.expression(node.value)
            self.drop()
        elif isinstance(node, ast.Assign):
            target = node.targets[0]
            if isinstance(target, ast.Name):
                self.expression(node.value)
                self.store(target.id)
            else:
                array, index = element(target)
                self.address(array, index)
                self.expression(node.value)
                self.store_element(array)
        else:
            assert isinstance(node, (ast.While, ast.If)) and not node.orelse
            loop = isinstance(node, ast.While)
            top = self.top(loop)
            left, operator, right = compared(node.test)
            self.expression(left)
            self.expression(right)
            out = self.unless(operator, loop)
            for statement in node.body:
                self.statement(statement)
            self.bottom(loop, top, out)

    def expression(self, node: ast.expr) -> None:
        if isinstance(node, ast.Constant):
            assert isinstance(node.value, (int, float))
            self.number(node.value)
        elif isinstance(node, ast.Name):
            self.load(node.id)
        elif isinstance(node, ast.BinOp):
            self.expression(node.left)
            self.expression(node.right)
            self.operate(OPERATORS[type(node.op)], self.function.kind(node) == "float")
        elif isinstance(node, ast.Subscript):
            array, index = element(node)
            self.address(array, index)
            self.load_element(array)
        else:
            assert isinstance(node, ast.Call)
            self.call(called(node), node.args)

    # -- what each machine has in its own way

    def number(self, value: int | float) -> None:
        raise NotImplementedError

    def load(self, name: str) -> None:
        """A local variable."""
        raise NotImplementedError

    def store(self, name: str) -> None:
        raise NotImplementedError

    def address(self, array: str, index: ast.expr) -> None:
        """What load_element and store_element find on the stack."""
        raise NotImplementedError

    def load_element(self, array: str) -> None:
        raise NotImplementedError

    def store_element(self, array: str) -> None:
        raise NotImplementedError

    def operate(self, operator: str, real: bool) -> None:
        raise NotImplementedError

    def call(self, name: str, arguments: list[ast.expr]) -> None:
        raise NotImplementedError

    def leave(self) -> None:
        """With the value on the stack."""
        raise NotImplementedError

    def drop(self) -> None:
        """The integer on the stack."""
        raise NotImplementedError

    def top(self, loop: bool) -> int:
        """Before the condition of a while (`loop`) or an if; `bottom` gets the answer."""
        raise NotImplementedError

    def unless(self, operator: str, loop: bool) -> int:
        """Leave a loop, or pass over the body of an if, unless it holds; `bottom` gets the answer."""
        raise NotImplementedError

    def bottom(self, loop: bool, top: int, out: int) -> None:
        raise NotImplementedError
