"""What the machine asks of a processor, whatever library executes it; the engines are in emu.cpu."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol


class EngineError(RuntimeError):
    """The engine cannot be had or has failed: one line that says what is needed."""


class Stop(enum.Enum):
    """Why `Engine.run` returned."""

    DUE = "due"                 # the time given to `due` has come
    HLT = "hlt"                 # halted, and no interrupt that it would take is pending
    DEAD = "dead"               # halted with interrupts disabled
    SHUTDOWN = "shutdown"       # a fault during the delivery of a double fault: SDM vol. 3A, 6.15, interrupt 8
    ASKED = "asked"             # somebody called `stop`


@dataclass(frozen=True, slots=True)
class Costs:
    """What the guest pays in virtual time, in ns.  They decide how much work the guest's delay and polling loops are.

    Chosen by measuring the boots of Debian (README, "Time"): a block of 10 ns makes a guest second about a host second.
    """

    block: int = 10             # one basic block, about five instructions
    port_read: int = 700        # an ISA bus cycle takes about a microsecond; cheaper ones mean more polls per wait
    port_write: int = 120       # posted: the processor goes on
    mmio: int = 120
    interrupt: int = 300        # a hardware interrupt taken
    exception: int = 500        # a fault, trap or INT n: polling through software interrupts passes time, too
    mode_switch: int = 4000     # CR0.PE changed: boot loaders poll their keyboard through real mode, and pass time by it
    tsc_read: int = 20          # so that each RDTSC reads later than the one before


@dataclass(frozen=True, slots=True)
class Happened:
    """An exception, INT n or hardware interrupt, and the processor before it was delivered.

    `rip` is the offset in CS that is pushed.  `during`: "", or what was being delivered when this came: "exception" (or a
    hardware interrupt) or "software interrupt".  Of `rflags` only the system flags are true.
    """

    number: int                 # counts them all
    time: int
    kind: str                   # "exception" | "software interrupt" | "interrupt"
    vector: int
    error: int                  # the error code, where the vector has one
    cr2: int
    rip: int
    cs: int
    cs_base: int
    cpl: int
    bits: int                   # 16, 32 or 64: of the code
    ss: int
    ss_base: int
    rflags: int
    cr0: int
    cr3: int
    cr4: int
    efer: int
    during: str
    general: Mapping[str, int]  # rax ... r15


class Registers(Protocol):
    """A live view of the processor in the SDM's names, all lower case.

    int: rax ... r15, rip (the offset in CS), rflags, cr0 cr2 cr3 cr4, dr0-dr3 dr6 dr7, efer, fcw fsw ftw, mxcsr;
    emu.x86.Segment: es cs ss ds fs gs ldtr tr; (base, limit): gdtr idtr; lists of bytes, little-endian: st (the eight
    physical registers of 80 bits), xmm (16 of 128).
    """

    def __getattr__(self, name: str) -> Any: ...
    def __setattr__(self, name: str, value: Any) -> None: ...


Table = Mapping[int, Any]       # address << 4 | size -> function; see emu.bus


class Native(Protocol):
    """What an engine may do by itself at an access instead of calling the space's function.

    `kind` "value": a read has no effect and repeats itself, a write none at all; "ring": written bytes may be kept and given
    to `collect` later; both while `holds()`.  "block": elements may be taken from or put into `buffer()`, and then their
    bytes told to `moved`.  All is asked anew once any function of the machine has run, and told before the next one runs.
    """

    @property
    def kind(self) -> str: ...
    @property
    def holds(self) -> Callable[[], bool]: ...
    @property
    def collect(self) -> Callable[[bytes], None]: ...
    @property
    def buffer(self) -> Callable[[], memoryview | None]: ...
    @property
    def moved(self) -> Callable[[int], None]: ...


class Space(Protocol):
    """An address space of functions; `native` and `empty`, that nothing answers, hold until one of `on_rewire` is called."""

    on_rewire: list[Callable[[], None]]

    @property
    def read(self) -> Table: ...
    @property
    def write(self) -> Table: ...
    def native(self, address: int, size: int, access: str) -> Native | None: ...
    def empty(self, address: int, length: int) -> bool: ...


class Tick(NamedTuple):
    """A timer's interrupts that an engine may take by itself until Python runs again for the machine.

    The request rises with pulse `pulse` of the timer's clock and every `period` pulses later, before the time `until`; the
    pulse is at ceil(pulse * 10^9 / hz) ns.  `vector` answers the acknowledge cycle, and a write of the byte `end` to the
    port's `key` (port << 4 | 1) ends it: the timer's next pulse apart, all is then as before.
    """

    pulse: int
    period: int
    until: int
    vector: int
    key: int
    end: int


class Ticker(Protocol):
    """Asked when the time of `due` has come, before `expired`; told of the ticks that passed before any other function is
    called."""

    @property
    def hz(self) -> int: ...

    def ticks(self) -> Tick | None:
        """One whose pulse is due, and is all that is due; or nothing like that."""

    def ticked(self, whole: int, stage: int) -> None:
        """So many ticks were whole; and of one more the request has come (1), and was acknowledged (2), or not (0)."""


class Sink(Protocol):
    """Where a recorder's streams go; `first` is the address of the number at `position`, which raw positions count from."""

    def segment(self) -> memoryview:
        """Memory for block numbers (u32), to be given back by `blocks`; there may be waiting for it."""

    def blocks(self, position: int, count: int) -> None:
        """The segment holds `count` numbers of blocks that ran, from `position` on."""

    def definitions(self, data: bytes, first: int, position: int, anew: bool = False) -> None:
        """Blocks that were made: u32 number, u32 size, u64 pc, cs_base, u32 flags, cflags, u64 raw position, u64 bytes that
        follow, padded to 8.  `anew`: those that were made before can run no more."""

    def events(self, data: bytes, first: int, position: int) -> None:
        """Eight u64 each: raw position, time, kind | vector << 8, error code, CR2, RIP, CS | hflags << 32, CS base; of a
        write to a control or model-specific register its number and the new value instead of error code and CR2."""

    @property
    def memory(self) -> bool:
        """Whether accesses to memory are wanted, too."""

    def accesses(self, data: bytes, first: int, position: int) -> None:
        """Four u64 each: raw position, linear address, value, size | store << 8."""

    def look(self, position: int, time: int) -> tuple[bool, int]:
        """Asked whenever the guest is about to go on: whether it wants all that there is, and the ns until the next look."""


class Engine(Protocol):
    """A processor with its memory.  Times are ns of virtual time since power-on."""

    def attach(self, ports: Space, mmio: Space, acknowledge: Callable[[], int], expired: Callable[[], bool],
               ticker: Ticker | None = None, look: Callable[[], bool] = lambda: False) -> None:
        """Take the address spaces and three functions, and perhaps a timer, once.

        `acknowledge` answers the interrupt acknowledge cycle with a vector.  `expired` is called when the time of `due` has
        come: it may set another one and return False, and the guest goes on at once, or True, and `run` returns.  So may
        `look`, which is called now and then, between two blocks, when a little of the guest's time takes the host long.
        """

    def memory(self, length: int) -> memoryview:
        """`length` bytes (whole pages) of zeroed memory for `map`, shared by guest and host without copies."""

    def map(self, address: int, memory: memoryview, kind: str) -> None:
        """Show `memory` at physical `address`, as "ram" or "rom" (writes are dropped).  Before the first run only."""

    def view(self, address: int, length: int, memory: memoryview | None, kind: str,
             writes: memoryview | None = None) -> None:
        """Show `memory` at physical `address` (whole pages below 4 GiB) until the next view there; legal in a callback.

        "ram"; "rom": writes are dropped; "mmio", with no memory: the space of device memory answers.  With `writes`, a part
        of memory as long, writes go there in any case.  Loads and stores see it from the guest's next access on, in the same
        block; so do fetches after that block, and the page tables' walk.  `memory` is a part of what `memory` or `map` got;
        the same part may be shown at several places.  Where `map` put memory, that view shows what was mapped again.
        """

    def pieces(self, address: int, length: int, store: bool = False) -> list[memoryview | int]:
        """What the guest's loads, or its stores, meet at physical `address`: memory, or for so many bytes something else."""

    def intr(self, level: int) -> None:
        """The INTR pin."""

    def nmi(self, level: int) -> None:
        """The NMI pin: its rising edge counts."""

    def a20(self, level: int) -> None:
        """The A20M# pin: low masks address bit 20."""

    def reset(self) -> None:
        """The RESET pin, as after power-on (SDM vol. 3A, table 10-1).  Not inside a callback."""

    def now(self) -> int:
        """The time, at the start of the block that runs."""

    def due(self, time: int) -> None:
        """Run until `time`; legal in a callback, exact at the next block."""

    def skip(self, time: int) -> None:
        """Let the time be `time` without running: what a halted processor does."""

    def run(self) -> Stop:
        """Run."""

    def stop(self) -> None:
        """Make `run` return; legal in a callback; the rest of the current block still runs."""

    def registers(self) -> Registers:
        """The live view."""

    def wrote(self, address: int, length: int) -> None:
        """The host or a DMA engine wrote memory at physical `address`: drop what was translated from it."""

    def changed(self, memory: memoryview) -> None:
        """A part of a memory was written that need not be shown anywhere: drop what was translated from it."""

    def counters(self) -> dict[str, Any]:
        """blocks, port_reads, port_writes (int); exceptions, software_interrupts, interrupts ({vector: n})."""

    def techniques(self) -> dict[str, Any]:
        """What makes this engine faster, by name: on or off, or how much it does.  No part of the state."""

    def record(self, sink: Sink | None) -> None:
        """Record every block and event from here on, or no more (None).  Between runs.  Raises EngineError."""

    def recorded(self, hand_over: bool = False) -> int:
        """How many blocks the recorder has seen; `hand_over`: and the sink gets all that there is."""

    def note(self, kind: int, name: int, size: int, value: int, address: int) -> None:
        """An event of the machine's own, among those of the processor: raw position, time, kind | name << 8, size, value, 0,
        address, 0."""

    def recent(self) -> list[Happened]:
        """The last exceptions and interrupts, some sixty of each at most, since the engine was made or restored."""

    def happened(self) -> tuple[int, int]:
        """How many exceptions with INT n, and how many hardware interrupts, there were since then."""

    def watch(self, function: Callable[[], None] | None, vectors: frozenset[int] = frozenset()) -> None:
        """Call `function` before the delivery of each exception that comes during another's, or has one of `vectors`.

        It may look at everything, and changes nothing.  None: nobody.  Between runs."""

    def save(self) -> dict[str, Any]:
        """Every register in architectural terms, and the time; portable between processes and engines."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """The inverse of `save`."""

    def close(self) -> None:
        """Give everything back."""
