"""Files for other programs, read by these programs: who called whom, for how long, at what cost."""

from __future__ import annotations

import base64
import collections
import json
import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from emu.boards.tiny import Tiny
from emu.cli import main
from emu.firmware import build
from emu.trace.code import disassemble
from emu.trace.reader import Trace
from emu.trace.recording import Recording
from emu.trace.symbols import read
from tests.trace.programs import traced
from tests.trace.test_stacks import recorded

PERFETTO = "perfetto.protos.perfetto.trace.perfetto_trace_pb2"
PROGRAM = """
    .global _start
_start:
    mov $0x180000, %esp
    call outer
    mov $4, %eax
    call again
    call outer
    cli
    hlt
outer:
    push %ecx
    call middle
    call leaf
    pop %ecx
    ret
middle:
    mov $3, %ecx
1:  call leaf
    dec %ecx
    jnz 1b
    ret
leaf:
    nop
    ret
again:
    dec %eax
    jz 2f
    call again
    call leaf
2:  ret
"""


@pytest.fixture(scope="module")
def elf(tmp_path_factory):
    """A folder with a `program`, its source, and a trace `t` of it."""
    return traced(tmp_path_factory.mktemp("elf"), PROGRAM)


@pytest.fixture(scope="module")
def ring3(tmp_path_factory):
    """A trace of our kernel with two tasks, timer interrupts and system calls."""
    path = tmp_path_factory.mktemp("ring3") / "t"
    with Tiny() as m:
        m.load(build.kernel("ring3"))
        with Recording(m, path):
            m.run(100_000_000)
    return path


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    """A trace of a program with five tasks and software interrupts, and its symbols as a System.map."""
    folder = tmp_path_factory.mktemp("tasks")
    _, symbols, _, _ = recorded(folder / "t", "mov", 400_000)
    (folder / "map").write_text("".join(f"{at:08x} T {name}\n" for at, name in zip(symbols.addresses, symbols.names)))
    return folder


def export(path, kind, *more):
    out = path.parent / f"{path.name}.{kind}"
    assert main(["trace", "export", str(path), "--format", kind, "-o", str(out), *map(str, more)]) == 0
    return out


def root(title):
    """The outermost function of a task's title."""
    return title.split(": ")[1].split("/")[0]


def tool(name, package):
    if not shutil.which(name):
        pytest.skip(f"{name} ({package}) is not installed")
    return name


def shadow(folder):
    """[path of functions] of every instruction, by its calls and returns."""
    trace, symbols = Trace(folder / "t"), read(folder / "program")
    text = {address: mnemonic for block in trace.code.values() for address, _, mnemonic, _ in disassemble(block)}
    stack, paths, before = [], [], ""
    for address in trace.instructions().tolist():
        if before == "call" or not stack:
            stack.append(symbols.at(address)[0])
        elif before == "ret":
            stack.pop()
        paths.append(tuple(stack))
        before = text[address]
    return paths


# -- callgrind

def test_callgrind_annotate_shows_true_trees(elf):
    out = export(elf / "t", "callgrind", "--symbols", elf / "program")
    text = subprocess.run([tool("callgrind_annotate", "valgrind"), "--inclusive=yes", "--tree=both", "--threshold=100",
                           "--auto=no", str(out)], capture_output=True, text=True, check=True).stdout
    paths = shadow(elf)
    assert f"{len(paths)} (100.0%)  PROGRAM TOTALS" in text
    whole = {name: int(cost.replace(",", "")) for cost, name in re.findall(r"^ *([\d,]+) \(.*?\)  \*  \S+:(\w+)", text, re.M)}
    functions = {function for path in paths for function in path}
    assert whole == {function: sum(function in path for path in paths) for function in functions}
    below = {(callee, int(times.replace(",", ""))): int(cost.replace(",", "")) for cost, callee, times in re.findall(
        r"^ *([\d,]+) \(.*?\)  >   \S+:(\w+) \(([\d,]+)x\)", text, re.M)}
    assert below["middle", 2] == sum("middle" in path for path in paths)
    assert below["outer", 2] == sum("outer" in path for path in paths)
    assert below["leaf", 6] == 12 and below["leaf", 2] == 4 and below["leaf", 3] == 6      # of middle, outer and again
    assert below["again", 1] == sum("again" in path for path in paths)


def test_callgrind_annotate_marks_source_lines(elf):
    out = export(elf / "t", "callgrind", "--symbols", elf / "program")
    text = subprocess.run([tool("callgrind_annotate", "valgrind"), "--threshold=100", str(out), str(elf / "program.s")],
                          capture_output=True, text=True, check=True).stdout
    assert re.search(r"^ *2 \(.*\) +call middle$", text, re.M) and "=> " in text
    own = {name: int(cost) for cost, name in re.findall(r"^ *(\d+) \(.*?\)  \S+:(\w+)$", text, re.M)}
    assert own == collections.Counter(path[-1] for path in shadow(elf))


# -- time lines

def nested(profile):
    """[(frames, how long)]: what lay on the stack, while it did; checks that events close in order."""
    stack, last, spans = [], profile["startValue"], []
    for event in profile["events"]:
        assert event["at"] >= last
        if event["at"] > last and stack:
            spans.append((tuple(stack), event["at"] - last))
        last = event["at"]
        if event["type"] == "O":
            stack.append(event["frame"])
        else:
            assert stack.pop() == event["frame"]
    assert not stack and last <= profile["endValue"]
    return spans


def test_speedscope_profiles_are_the_stacks(elf):
    profile = json.loads(export(elf / "t", "speedscope", "--symbols", elf / "program").read_text())
    (one,), frames = profile["profiles"], [frame["name"] for frame in profile["shared"]["frames"]]
    assert one["type"] == "evented" and one["unit"] == "nanoseconds"
    spans = [tuple(frames[frame] for frame in span) for span, _ in nested(one)]
    assert set(spans) <= set(shadow(elf)) and ("_start", "outer", "middle", "leaf") in spans
    assert ("_start", "again", "again", "again", "leaf") in spans


def test_speedscope_has_a_profile_for_each_task(tasks):
    profile = json.loads(export(tasks / "t", "speedscope", "--shortest", "0", "--symbols", tasks / "map").read_text())
    whole, *others = profile["profiles"]
    assert whole["name"] == "processor"
    assert sorted(root(one["name"]) for one in others) == ["black", "blue", "green", "grey", "red"]
    time = [sum(span for _, span in nested(one)) for one in profile["profiles"]]
    assert time[0] == sum(time[1:])
    frames = [frame["name"] for frame in profile["shared"]["frames"]]
    roots = {root(one["name"]): {frames[span[0]] for span, _ in nested(one)} for one in others}
    assert roots == {"red": {"main", "red"}, **{name: {name} for name in ("black", "blue", "green", "grey")}}


def test_interrupts_are_frames(ring3):
    profile = json.loads(export(ring3, "speedscope", "--shortest", "0").read_text())
    assert {"interrupt 0x20", "software interrupt 0x80", "#GP"} <= {frame["name"] for frame in profile["shared"]["frames"]}


def test_slices_are_as_long_as_asked_for(ring3):
    profile = json.loads(export(ring3, "speedscope", "--shortest", "100us").read_text())
    begun = {}
    for event in profile["profiles"][0]["events"]:
        if event["type"] == "O":
            begun.setdefault(event["frame"], []).append(event["at"])
        else:
            assert event["at"] - begun[event["frame"]].pop() >= 100_000
    assert len(profile["profiles"][0]["events"]) > 10


def speedscope():
    root = subprocess.run([tool("npm", "npm"), "root", "-g"], capture_output=True, text=True, check=True).stdout.strip()
    release = Path(root) / "speedscope" / "dist" / "release"
    if not (release / "index.html").exists():
        pytest.skip("speedscope (npm) is not installed")
    return release


def test_speedscope_opens_it(tasks, tmp_path):
    """As its own command does it: a script that hands the file to the page."""
    release, chromium = speedscope(), tool("chromium", "chromium")
    data = base64.b64encode(export(tasks / "t", "speedscope").read_bytes()).decode()
    (tmp_path / "profile.js").write_text(f'speedscope.loadFileFromBase64("t.speedscope.json", "{data}")')
    dom = subprocess.run([chromium, "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files",
                          f"--user-data-dir={tmp_path / 'user'}", "--virtual-time-budget=20000", "--dump-dom",
                          f"{(release / 'index.html').as_uri()}#localProfilePath={tmp_path / 'profile.js'}"],
                         capture_output=True, text=True, check=True, timeout=120).stdout
    text = re.sub(r"<[^>]*>|\s", "", dom)
    assert "processor(1/6)" in text and "Somethingwentwrong" not in text


def perfetto(path, *more):
    """(tracks by number, slices of each track as [(begin, end, name, depth)], the trace) of an export."""
    pb = pytest.importorskip(PERFETTO, reason="the PyPI package perfetto is missing")
    trace = pb.Trace()
    trace.ParseFromString(export(path, "perfetto", *more).read_bytes())
    tracks = {p.track_descriptor.uuid: p.track_descriptor for p in trace.packet if p.HasField("track_descriptor")}
    names = {n.iid: n.name for p in trace.packet for n in p.interned_data.event_names}
    slices, open_, last = collections.defaultdict(list), collections.defaultdict(list), {}
    for packet in trace.packet:
        assert packet.trusted_packet_sequence_id == 1
        if not packet.HasField("track_event"):
            continue
        event, track = packet.track_event, tracks[packet.track_event.track_uuid].name
        assert packet.timestamp >= last.get(track, 0)
        last[track] = packet.timestamp
        if event.type == pb.TrackEvent.TYPE_SLICE_BEGIN:
            open_[track].append((packet.timestamp, names[event.name_iid]))
        elif event.type == pb.TrackEvent.TYPE_SLICE_END:
            begin, name = open_[track].pop()
            slices[track].append((begin, packet.timestamp, name, len(open_[track])))
    assert not any(open_.values())
    return tracks, slices, trace


def test_perfetto_slices_are_nested_calls(elf):
    _, slices, _ = perfetto(elf / "t", "--symbols", elf / "program")
    (track,) = [name for name in slices if name.startswith("task ")]
    assert root(track) == "_start"
    depths = collections.defaultdict(set)
    for _, _, name, depth in slices[track]:
        depths[name].add(depth)
    paths = set(shadow(elf))
    assert depths == {name: {len(path) - 1 for path in paths if path[-1] == name} for name in ("_start", "outer", "middle",
                                                                                              "leaf", "again")}
    assert slices["processor"] == [(0, max(end for _, end, _, _ in slices[track]), track, 0)]


def test_perfetto_has_a_track_for_each_task(tasks):
    tracks, slices, _ = perfetto(tasks / "t", "--shortest", "0", "--symbols", tasks / "map")
    parents = {track.name: tracks[track.parent_uuid].name for track in tracks.values() if track.parent_uuid}
    own = {name for name in slices if name.startswith("task ")}
    assert {root(name) for name in own} == {"black", "blue", "green", "grey", "red"}
    assert {parents[name] for name in own} == {"tasks"} and {one[2] for one in slices["processor"]} == own
    for name in {name for name in own if root(name) != "red"}:
        assert {one[2] for one in slices[name] if one[3] == 0} == {root(name)}
    ran = sum(end - begin for begin, end, _, depth in slices["processor"])
    assert ran == sum(end - begin for name in own for begin, end, _, depth in slices[name] if depth == 0)


def test_perfetto_has_tracks_for_interrupts_and_devices(ring3):
    tracks, slices, trace = perfetto(ring3, "--shortest", "0")
    names = [track.name for track in tracks.values()]
    assert len(names) == len(set(names))
    assert {"processor", "com1", "console", "exceptions and interrupts", "pit"} <= set(names)
    parents = {track.name: tracks[track.parent_uuid].name for track in tracks.values() if track.parent_uuid}
    assert parents["interrupt 0x20, so far"] == "exceptions and interrupts"
    ticks = [one for name in slices for one in slices[name] if one[2] == "interrupt 0x20"]
    events = Trace(ring3).events
    taken = len(events.filter((events["kind"] == "interrupt") & (events["vector"] == 0x20)))
    assert len({begin for begin, _, _, _ in ticks}) >= taken > 3       # one that is left by a switch goes on later
    counts = [p.track_event.counter_value for p in trace.packet if p.HasField("track_event")
              and tracks[p.track_event.track_uuid].name == "interrupt 0x20, so far"]
    assert counts == list(range(1, taken + 1))


# -- coverage

def test_lcov_sums_it_up_and_genhtml_makes_pages(elf, tmp_path):
    out = export(elf / "t", "lcov", "--symbols", elf / "program")
    text = subprocess.run([tool("lcov", "lcov"), "--summary", str(out)], capture_output=True, text=True, check=True)
    code = sum(bool(re.match(r"([12]:  |    )[a-z]", line)) for line in PROGRAM.splitlines())
    assert f"({code} of {code} lines)" in text.stdout + text.stderr
    subprocess.run([tool("genhtml", "lcov"), "-o", str(tmp_path / "pages"), str(out)], capture_output=True, check=True)
    pages = [page.read_text() for page in (tmp_path / "pages").rglob("program.s.gcov.html")]
    assert len(pages) == 1 and "call middle" in pages[0]


# No reader of drcov is to be had as a package of PyPI, npm or Debian.  The grammar of version 2, with a module table of
# version 2, as DynamoRIO's drcov documents it ("Log File Format": a header, a module table, `BB Table: N bbs`, and N entries
# of u32 start, u16 size, u16 module) and as Lighthouse reads it.
GRAMMAR = re.compile(
    rb"DRCOV VERSION: 2\nDRCOV FLAVOR: [^\n]+\n"
    rb"Module Table: version 2, count (\d+)\nColumns: id, base, end, entry, path\n"
    rb"((?: *\d+, 0x[0-9a-f]+, 0x[0-9a-f]+, 0x[0-9a-f]+, [^\n]+\n)*)"
    rb"BB Table: (\d+) bbs\n(.*)\Z", re.DOTALL)


def test_drcov_keeps_to_its_grammar(ring3):
    count, modules, blocks, entries = GRAMMAR.fullmatch(export(ring3, "drcov").read_bytes()).groups()
    rows = [[cell.strip() for cell in line.split(b", ")] for line in modules.splitlines()]
    assert [int(row[0]) for row in rows] == list(range(int(count))) and len(entries) == 8 * int(blocks)
    bounds = [(int(row[1], 16), int(row[2], 16)) for row in rows]
    for start, size, module in struct.iter_unpack("<IHH", entries):
        base, end = bounds[module]
        assert size and base <= base + start < base + start + size <= end
