"""The loop of stacks.py, in the part of Python that numba compiles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

CALL, RETURN = 1, 2
ENTRY, LOADS = 1, 2                   # of a block: a function begins there; it loads the stack pointer from memory
LOOK = 64


def child(node: int, name: int, parent: Any, function: Any, first: Any, after: Any, scalars: Any) -> int:
    """The child of a node for a function; -1 when there is no room."""
    at = first[node]
    while at:
        if function[at] == name:
            return at                       # type: ignore[no-any-return]
        at = after[at]
    at = scalars[0]
    if at >= len(parent):
        return -1
    scalars[0] = at + 1
    parent[at], function[at] = node, name
    after[at], first[node] = first[node], at
    return at                               # type: ignore[no-any-return]


def find(stack: int, target: int, limit: int, back: Any, depth: Any) -> int:
    """The depth that is left when a frame that returns to `target` is gone, -1 if there is none in the top `limit`."""
    top = depth[stack]
    for level in range(top - 1, max(0, top - 1 - limit), -1):
        if back[stack, level] == target:
            return level
    return -1


def fresh(depth: Any, used: Any, current: int) -> int:
    """A stack for a task that was never seen: the one that was used longest ago."""
    best = 0 if current else 1
    for stack in range(len(used)):
        if stack != current and used[stack] < used[best]:
            best = stack
    depth[best] = 1
    return best


def compiled(jit: Callable[..., Any], child: Any, find: Any, fresh: Any) -> Callable[..., bool]:
    """The loop, with its parts compiled."""

    def walk(numbers: Any, position: int, names: Any, kinds: Any, marks: Any, begins: Any, behind: Any, when: Any, backs: Any,
             node: Any, back: Any, depth: Any, used: Any, parent: Any, function: Any, blocks: Any, first: Any, after: Any,
             scalars: Any, last: Any) -> bool:
        """Follow one part; True when there is no room for a node.  Level 0 of a stack is where its task began.

        Addresses stay u64: with a signed number beside them, numba makes them floating-point.
        """
        stack, kind, ghost, switching, event = scalars[1], scalars[2], scalars[3], scalars[4], 0
        came, before = last[0], scalars[5]
        most = back.shape[1] - 1
        for index in range(len(numbers)):
            number = numbers[index]
            name, here = names[number], begins[number]
            pushed = False
            cut = event < len(when) and when[event] <= position + index
            target = backs[event] if cut else here          # where the last block led to, before a handler came
            if kind == RETURN:
                if switching:                           # what is left stays as it is; a copy goes on, to learn whose it is
                    copy = fresh(depth, used, stack)
                    for level in range(depth[stack]):
                        node[copy, level], back[copy, level] = node[stack, level], back[stack, level]
                    depth[copy] = depth[stack]
                    used[stack] = position + index
                    stack = ghost = copy
                left = find(stack, target, LOOK, back, depth)
                if left < 0:
                    best, level = -1, -1
                    for other in range(len(depth)):
                        if other != stack and used[other] > 0:
                            found = find(other, target, LOOK, back, depth)
                            if found >= 0 and (best < 0 or used[other] > used[best]):
                                best, level = other, found
                    if best >= 0:
                        if stack == ghost:
                            used[stack] = 0
                        stack, left, ghost = best, level, -1
                    elif (cut or name == before) and not switching:
                        left = depth[stack]             # the end of a CALL within a function
                    else:
                        if stack == ghost:
                            used[stack] = 0
                        stack, left, ghost = fresh(depth, used, stack), 1, -1
                        node[stack, 0] = 0
                depth[stack] = max(left, 1)
                switching = 0
            elif kind == CALL and depth[stack] < most and (cut or marks[number] & ENTRY or name != before):
                back[stack, depth[stack]] = came
                depth[stack] += 1
                pushed = True
            while event < len(when) and when[event] <= position + index:
                if depth[stack] < most:
                    back[stack, depth[stack]] = backs[event]
                    if pushed:                          # the call's own block never ran
                        node[stack, depth[stack] - 1] = node[stack, max(depth[stack] - 2, 0)]
                    depth[stack] += 1
                    pushed = True
                event += 1
            top = depth[stack] - 1
            now = node[stack, top]
            if pushed or now == 0 or function[now] != name:
                now = child(node[stack, top - 1] if top > 0 else 0, name, parent, function, first, after, scalars)
                if now < 0:
                    return True
                node[stack, top] = now
            before = name                               # a CALL within a function asks for its own address, no more
            blocks[now] += 1
            used[stack] = position + index + 1
            kind, came = kinds[number], behind[number]
            if marks[number] & LOADS:
                switching = 1
        scalars[1], scalars[2], scalars[3], scalars[4], scalars[5] = stack, kind, ghost, switching, before
        last[0] = came
        return False

    return jit(walk)            # type: ignore[no-any-return]
