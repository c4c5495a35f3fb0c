"""The loop of stacks.py, in the part of Python that numba compiles; it runs without, too, some hundred times slower.

Addresses stay u64: with a signed number beside them, numba makes them floating-point.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any, NamedTuple

CALL, RETURN, JUMP = 1, 2, 3          # JUMP: a RET to an address that was stored right before it (a retpoline)
ENTRY, LOADS, USER, LEAVES = 1, 2, 4, 8         # of a block: a function begins there; it loads the stack pointer; it is of
                                                # ring 3; it has LEAVE
LOOK = 64                             # frames of a stack that are looked at for a return
THUNK = 16                            # bytes that the CALL inside a thunk passes over
FRAMES = 4 << 10                      # bytes by which a load may unwind a stack (longjmp)
POPS, PUSHES = 192, 64                # bytes that a switch may pop and push between the load and where the next block begins
# Of Walk.scalars: how many nodes there are; the stack that runs; how the last block ended; whether the stack pointer was
# loaded and nothing has returned since from where that was (MAYBE, or TOLD by an event); the last block's function and number
# (-1: there is none); the next exception, load, and time; slices in the buffer; tasks; the next position; whether the last
# block was shown; the depth of the stack when its pointer was loaded; whether that led to other memory than the stack's own
NODES, STACK, KIND, SWITCHING, BEFORE, LAST, EVENT, MOVE, TICK, KEPT, TASKS, NEXT, SHOWN, MARK, AWAY = range(15)
MAYBE, TOLD = 1, 2


class Blocks(NamedTuple):
    """By block number: function, how it ends, marks, where it begins, what is behind it; the function of ring 3's code."""

    function: Any
    kind: Any
    marks: Any
    begins: Any
    behind: Any
    program: Any


class Events(NamedTuple):
    """Exceptions and interrupts: how many blocks had begun, where the handler returns to, vector << 8 | kind, whether that is
    in ring 3."""

    when: Any
    back: Any
    how: Any
    user: Any


class Moves(NamedTuple):
    """Loads of the stack pointer: how many blocks had begun, the stack pointer before and behind."""

    when: Any
    before: Any
    after: Any


class Clock(NamedTuple):
    """Times at positions, in ns, and ns a block from there on; `least` ns of a slice that is kept, -1: none is."""

    places: Any
    times: Any
    rates: Any
    least: Any


class Stacks(NamedTuple):
    """By stack and level: node, return address, what has pushed it (0: a call), since when, blocks by number: the one that
    has called, the first of its own.  By stack: depth, when it was used, its pointer when it was left, its task, its pointer
    before the last load and before one that led elsewhere."""

    node: Any
    back: Any
    how: Any
    begin: Any
    site: Any
    entry: Any
    depth: Any
    used: Any
    saved: Any
    task: Any
    left: Any
    home: Any


class Nodes(NamedTuple):
    """Call paths: the caller's node, function, blocks and weight in it, calls, the block that called first; children."""

    parent: Any
    function: Any
    blocks: Any
    weight: Any
    calls: Any
    site: Any
    first: Any
    after: Any


class Slices(NamedTuple):
    """What ran without a break: from when, to when, in which task, at which level, node, what has pushed it."""

    begin: Any
    end: Any
    task: Any
    level: Any
    node: Any
    how: Any


def child(nodes: Nodes, scalars: Any, node: int, name: int) -> int:
    """The child of a node for a function; -1 when there is no room."""
    at = nodes.first[node]
    while at:
        if nodes.function[at] == name:
            return at                       # type: ignore[no-any-return]
        at = nodes.after[at]
    at = scalars[NODES]
    if at >= len(nodes.parent):
        return -1
    scalars[NODES] = at + 1
    nodes.parent[at], nodes.function[at] = node, name
    nodes.after[at], nodes.first[node] = nodes.first[node], at
    return at                               # type: ignore[no-any-return]


def find(stacks: Stacks, stack: int, target: int) -> int:
    """The depth that is left when a frame that returns to `target` is gone, -1 if there is none among the top ones."""
    top = stacks.depth[stack]
    for level in range(top - 1, max(0, top - 1 - LOOK), -1):
        if stacks.back[stack, level] == target:
            return level
    return -1


def search(stacks: Stacks, target: int, but: int) -> int:
    """The stack, used last, in which somebody waits for `target`, -1 if there is none."""
    best = -1
    for other in range(len(stacks.depth)):
        if other != but and stacks.used[other] > 0 and (best < 0 or stacks.used[other] > stacks.used[best]) \
                and find(stacks, other, target) >= 0:
            best = other
    return best


def fresh(stacks: Stacks, scalars: Any, current: int) -> int:
    """A stack for a task that was never seen: the one that was used longest ago."""
    best = 0 if current else 1
    for stack in range(len(stacks.used)):
        if stack != current and stacks.used[stack] < stacks.used[best]:
            best = stack
    anew(stacks, scalars, best)
    return best


def anew(stacks: Stacks, scalars: Any, stack: int) -> None:
    """A task begins."""
    scalars[TASKS] += 1
    stacks.depth[stack], stacks.node[stack, 0], stacks.task[stack] = 1, 0, scalars[TASKS]
    stacks.left[stack], stacks.home[stack] = 0, 0
    stacks.how[stack, 0], stacks.begin[stack, 0] = 0, 0


def apart(a: int, b: int) -> int:
    """The distance of two addresses."""
    return a - b if a > b else b - a


def inner(of: Blocks, stacks: Stacks, stack: int) -> bool:
    """Whether the last call is the one inside a thunk: it leads a few bytes over what is behind it."""
    top = stacks.depth[stack] - 1
    begins, back = of.begins[stacks.entry[stack, top]], stacks.back[stack, top]
    return bool(back <= begins and begins - back <= THUNK)


def owner(stacks: Stacks, current: int, before: int, after: int) -> int:
    """The stack that was left with the pointer that is loaded now, -1 if none was: a switch pops a few words.  The current
    one, where it was not long ago, is no worse: stacks of tasks that are dead are used again."""
    best, least = -1, apart(after, before)
    for own in stacks.left[current], stacks.home[current]:
        least = min(least, apart(after, own))
    for stack in range(len(stacks.used)):
        saved = stacks.saved[stack]
        if stack != current and stacks.used[stack] > 0 and saved:
            distance = apart(after, saved)
            if distance < least and distance <= (POPS if after >= saved else PUSHES):
                best, least = stack, distance
    return best


def entered(of: Blocks, stacks: Stacks, stack: int) -> int:
    """The level at which ring 3 was left, 1 if it never was."""
    for level in range(1, stacks.depth[stack]):
        if of.marks[stacks.site[stack, level]] & USER and not of.marks[stacks.entry[stack, level]] & USER:
            return level
    return 1


def own(pointer: int, of: int) -> bool:
    """Whether a stack pointer is in the same stack as another, which has lain there: above by what can be unwound."""
    return pointer - of < FRAMES if pointer >= of else of - pointer <= PUSHES


def moment(clock: Clock, scalars: Any, position: int) -> int:
    """The time when the block at a position begins; positions ascend."""
    tick = scalars[TICK]
    while tick + 1 < len(clock.places) and clock.places[tick + 1] <= position:
        tick += 1
    scalars[TICK] = tick
    return int(clock.times[tick] + (position - clock.places[tick]) * clock.rates[tick])


def close(stacks: Stacks, scalars: Any, slices: Slices, stack: int, level: int, now: int, least: int) -> None:
    """The frames from `level` on end, or are interrupted."""
    for at in range(stacks.depth[stack] - 1, level - 1, -1):
        begin, kept = stacks.begin[stack, at], scalars[KEPT]
        if at and stacks.node[stack, at] == stacks.node[stack, at - 1]:
            continue                                    # of the same call
        if stacks.node[stack, at] and now > begin and now - begin >= least:
            slices.begin[kept], slices.end[kept], slices.task[kept] = begin, now, stacks.task[stack]
            slices.level[kept], slices.node[kept], slices.how[kept] = at, stacks.node[stack, at], stacks.how[stack, at]
            scalars[KEPT] = kept + 1


def open_(stacks: Stacks, stack: int, now: int) -> None:
    """All frames of a stack go on."""
    for level in range(stacks.depth[stack]):
        stacks.begin[stack, level] = now


def push(stacks: Stacks, stack: int, back: int, how: int, site: int, entry: int, now: int) -> None:
    """A frame; its node comes with its first block."""
    level = stacks.depth[stack]
    stacks.back[stack, level], stacks.how[stack, level], stacks.begin[stack, level] = back, how, now
    stacks.site[stack, level], stacks.entry[stack, level], stacks.node[stack, level] = site, entry, 0
    stacks.depth[stack] = level + 1


def edges(parent: Any, function: Any, weight: Any, seen: Any, below: Any) -> None:
    """Add to `below` what each node's call has cost: the weight of all that is below it and not below its caller's function
    again.  `seen`: -1 by function."""
    for node in range(1, len(parent)):
        if weight[node]:
            seen[function[node]] = node
            at = node
            while parent[at]:
                caller = function[parent[at]]
                if seen[caller] != node:
                    seen[caller] = node
                    below[at] += weight[node]
                at = parent[at]


PARTS = child, find, search, fresh, anew, apart, inner, owner, entered, own, moment, close, open_, push


def walk(numbers: Any, positions: Any, weights: Any, shown: Any, start: int, of: Blocks, events: Events, moves: Moves,
         clock: Clock, stacks: Stacks, nodes: Nodes, slices: Slices, scalars: Any) -> int:
    """Follow a row of blocks from index `start` on; where it has stopped because there is no room for slices, -1 when there
    is none for a node.  Level 0 of a stack is where its task began.
    """
    stack, kind, switching = scalars[STACK], scalars[KIND], scalars[SWITCHING]
    before, last, event, move = scalars[BEFORE], scalars[LAST], scalars[EVENT], scalars[MOVE]
    expected, visible, least, mark, away = scalars[NEXT], scalars[SHOWN], clock.least, scalars[MARK], scalars[AWAY]
    most, index, now = stacks.back.shape[1] - 1, start, 0
    while index < len(numbers):
        if scalars[KEPT] + 3 * most > len(slices.begin):
            break
        number, position, see = numbers[index], positions[index], shown[index]
        name, here = of.function[number], of.begins[number]
        if position != expected:                        # blocks in between were not kept: where they led is not known
            if visible and least >= 0:
                close(stacks, scalars, slices, stack, 0, moment(clock, scalars, expected), least)
            visible = 0
            while event < len(events.when) and events.when[event] < position:
                event += 1
            while move < len(moves.when) and moves.when[move] < position:
                move += 1
            if last >= 0:
                anew(stacks, scalars, stack)
            kind, switching, before, last = 0, 0, -1, -1
        expected = position + 1
        cut = event < len(events.when) and events.when[event] <= position
        target = events.back[event] if cut else here    # where the last block led to, before a handler came
        user = events.user[event] if cut else of.marks[number] & USER != 0
        if cut and last >= 0 and of.begins[last] <= target and target < of.behind[last]:
            kind = 0                                    # it was left in the middle, and has not come to its end
            if of.marks[last] & LOADS:
                switching = 0
        came = of.behind[last] if last >= 0 else here
        told = False                # the recorder goes by bytes that look like a load, and most are none
        while move < len(moves.when) and moves.when[move] <= position:
            told = last >= 0 and of.marks[last] & (LOADS | LEAVES) != 0
            move += 1
        if least >= 0 and (kind or cut or told or see != visible or name != before):
            now = moment(clock, scalars, position)
            if see != visible:
                if visible:
                    close(stacks, scalars, slices, stack, 0, now, least)
                else:
                    open_(stacks, stack, now)
                visible = see
        drawn = visible and least >= 0
        if told:
            left, after, found = moves.before[move - 1], moves.after[move - 1], -1
            if not user:
                found = owner(stacks, stack, left, after)
            if found >= 0:
                stacks.saved[stack] = left
                if drawn:
                    close(stacks, scalars, slices, stack, 0, now, least)
                stack = found
                open_(stacks, stack, now)
            elsewhere = found < 0 and not (own(after, left) or own(after, stacks.left[stack])
                                           or own(after, stacks.home[stack]))
            if elsewhere and not away:
                stacks.home[stack] = left
            stacks.left[stack], away = left if found < 0 else after, elsewhere
            switching, mark = TOLD, stacks.depth[stack]
        pushed = False
        if kind == RETURN:
            level = find(stacks, stack, target)
            if away and switching == TOLD and level < mark and stacks.depth[stack] <= mark and not user:
                level = -1                              # a new task, which begins where this one would go on
            if level < 0:
                other, top = -1, stacks.depth[stack] - 1
                if top >= mark:                         # a function called since the load is left by a jump
                    switching = 0
                if switching == MAYBE:
                    other = search(stacks, target, stack)
                if other >= 0 or (switching and not user):
                    if drawn:
                        close(stacks, scalars, slices, stack, 0, now, least)
                    stacks.used[stack] = position
                    if switching == TOLD:
                        stacks.saved[stack] = stacks.left[stack]
                    stack = other if other >= 0 else fresh(stacks, scalars, stack)
                    away = False
                    open_(stacks, stack, now)
                    level, switching = find(stacks, stack, target), 0
                elif user and (switching or not of.marks[last] & USER):
                    level, switching = entered(of, stacks, stack), 0    # in ring 3 the kernel's stack is empty
                    if cut and level == 1:              # a program begins, with a page that is not there yet
                        node = child(nodes, scalars, 0, of.program)
                        if node < 0:
                            return -1
                        stacks.node[stack, 0] = node
                elif top > 1 and not stacks.how[stack, top] and inner(of, stacks, stack):
                    level = top                         # a thunk, whose inner CALL is there for its room on the stack
                    stacks.entry[stack, top - 1] = number
                else:
                    level = top + 1                     # a jump
                    if top > 0:
                        stacks.entry[stack, top] = number
            if level < stacks.depth[stack]:
                if drawn:
                    close(stacks, scalars, slices, stack, max(level, 1), now, least)
                stacks.depth[stack] = max(level, 1)
            if level < mark:                            # what was called since the load says nothing
                switching = 0
        elif kind == CALL and stacks.depth[stack] < most and (cut or of.marks[number] & ENTRY or name != before):
            push(stacks, stack, came, 0, last, number, now)
            pushed = True
        elif kind == CALL and stacks.depth[stack] < most and not (came <= here and here - came <= THUNK):
            push(stacks, stack, came, 0, last, number, now)     # inside of a function: a frame, and no call of it
            top = stacks.depth[stack] - 1
            stacks.node[stack, top] = stacks.node[stack, top - 1]
        while event < len(events.when) and events.when[event] <= position:
            if stacks.depth[stack] < most:
                if pushed:                              # the call's own block never ran
                    top = stacks.depth[stack] - 1
                    stacks.node[stack, top] = stacks.node[stack, top - 1]
                push(stacks, stack, events.back[event], events.how[event], last, number, now)
                pushed = True
            event += 1
        top = stacks.depth[stack] - 1
        if not pushed and top > 0 and (kind == JUMP or (of.marks[number] & ENTRY and name != before)) and not cut:
            stacks.entry[stack, top] = number           # a thunk, or a function that goes on as another
        node = stacks.node[stack, top]
        if pushed or node == 0 or nodes.function[node] != name:
            if node and drawn:
                close(stacks, scalars, slices, stack, top, now, least)
                stacks.begin[stack, top] = now
            node = child(nodes, scalars, stacks.node[stack, top - 1] if top > 0 else 0, name)
            if node < 0:
                return -1
            if nodes.calls[node] == 0:
                nodes.site[node] = last
            if pushed or of.marks[number] & ENTRY:
                nodes.calls[node] += 1
            stacks.node[stack, top] = node
        before = name
        nodes.blocks[node] += see
        nodes.weight[node] += weights[index]
        stacks.used[stack] = position + 1
        kind, last = of.kind[number], number
        if of.marks[number] & LOADS and not switching and not len(moves.when):      # else an event would tell
            switching, mark = MAYBE, stacks.depth[stack]
        index += 1
    scalars[STACK], scalars[KIND], scalars[SWITCHING] = stack, kind, switching
    scalars[BEFORE], scalars[LAST], scalars[EVENT], scalars[MOVE] = before, last, event, move
    scalars[NEXT], scalars[SHOWN], scalars[MARK], scalars[AWAY] = expected, visible, mark, away
    return index


def compiled(jit: Callable[..., Any]) -> tuple[Callable[..., int], Callable[..., None]]:
    """`walk`, with its parts compiled, and `edges`."""
    known: dict[str, Any] = dict(globals())
    for part in PARTS:
        known[part.__name__] = jit(types.FunctionType(part.__code__, known, part.__name__))
    return jit(types.FunctionType(walk.__code__, known, "walk")), jit(edges)
