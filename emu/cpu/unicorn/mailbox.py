"""The words that a machine's thunks and its Python share: one page of memory, its address in CPUState.opaque.

Time: the budget is what may still be spent; `end` is the time at which it will be spent, so now = end - budget.  A block
runs while it can be paid, and is charged when it runs, never when it is only looked at: wherever a run is cut, the run
stays the same.  Both are ahead by SLACK = a block's price - 1, so that a block runs exactly while a nanosecond is left.
The budget lies 8 bytes before CPUX86State, where translated code reaches it by a short displacement.  A kick, which makes
the guest leave its block chain for the main loop, is KICK taken from the budget: one test sees both; now is modulo KICK.
"""

from __future__ import annotations

import mmap
from ctypes import addressof, c_char

from emu.engine import Costs

SIZE = 0x2000
KICK = 1 << 62
END, EXPIRED = 0x08, 0x10         # EXPIRED: the function to call when the budget is spent; not 0: stop
BLOCK_NS, READ_NS, WRITE_NS, INTERRUPT_NS, EXCEPTION_NS, TSC_NS, MMIO_NS = 0x18, 0x20, 0x28, 0x30, 0x38, 0x40, 0x48
READS, WRITES, TSC_READS, MMIOS = 0x50, 0x58, 0x60, 0x68
MODE_NS, MODES = 0xD0, 0xD8       # a change between real and protected mode: its price, how many there were
DELIVERING = 0x70               # what is on its way to a handler: 1 an INT n, 2 an exception or a hardware interrupt
TSC_ON, SSE_ON, PAGES_ON = 0x78, 0x80, 0x88       # techniques of fast/ that this machine uses
EDITOR, EPOCH = 0x90, 0x98      # the block editor's code; how often the TLB was flushed whole
VIEW_LOADS, VIEW_STORES = 0xA0, 0xA8      # tables of views.py
PAUSE = 0xB0                    # where PAUSE goes on, 0: to the main loop
EMPTY_READS, EMPTY_WRITES = 0xB8, 0xC0          # bitmaps of the pages of device memory where no chip is
FETCH_ON, DIRECT_ON, PACKED_ON = 0xF0, 0x350, 0x370        # as TSC_ON
LARGE = 0xF8                    # the mask of a TLB that is large enough, see fast/tlb.py
GO_ON, DELIVER = 0xE0, 0xE8      # where INT n goes on, 0: to the main loop; hooks.deliver_exception
MADE, LOOK = 0x358, 0x360       # attention.py: blocks made since the last stop for it; whether the run stops for it
FRAME = 0xC8                    # older builds: where a block's return addresses lie, see hooks.older_block
# fast/answers.py.  Tables (0: a technique is off); functions of (key[, value]), LATE behind each for when PENDING
PORT_READS, PORT_WRITES, MMIO_READS, MMIO_WRITES = 0x700, 0x708, 0x710, 0x718
PORT_IN, PORT_OUT, MMIO_IN, MMIO_OUT, LATE = 0x720, 0x728, 0x730, 0x738, 0x20
GENERATION, PENDING = 0x760, 0x768      # which answers count; whether something was kept for Python
RING_AT, RING_END, RING_KEY, SEGMENT_AT, SEGMENT_END = 0x770, 0x778, 0x780, 0x788, 0x790
ERROR, RAISED = 0x798, 0x7B0            # what a function of Python has raised (three words), and who is told
# fast/editor.py.  The last block that was made; how often the library has begun its buffer of blocks anew, in bits 48 on, so
# that an address of the host can stand below
LAST_BLOCK, ANEW, ONE_BUFFER = 0x218, 0x220, 1 << 48
# recorder.py and fast/record.py.  RECORD: whether blocks leave their numbers; EVENT: whether events are kept
RECORD, NUMBER = 0x200, 0x208
DEFINE_AT, DEFINE_END, EVENT, EVENT_AT, EVENT_END, DRAIN = 0x230, 0x238, 0x240, 0x248, 0x250, 0x258
# accesses.py; MARK: what marks the TLB's entries while accesses are recorded
MARK, ACCESS_START, ACCESS_AT, ACCESS_END = 0x260, 0x268, 0x270, 0x278
# which instruction accesses: its address, and the table of those that are known
BY, KNOWN_BY = 0x2E0, 0x2E8
# moves.py.  Whether the last block loads the stack pointer (1, or ALONE); what that was before
MOVING, MOVED_FROM = 0x280, 0x288
# recent.py.  The slots; how many exceptions and interrupts there were; who watches, and a bit for each vector for him
RECENT, RAISES, TAKEN, WATCH, WATCHED = 0x2A0, 0x2A8, 0x2B0, 0x2B8, 0x2C0
# fast/ticks.py: the generation for which the tick counts (0: none), how far it came, how many were whole; emu.engine.Tick
TICK_GENERATION, TICK_STAGE, TICKS = 0x300, 0x308, 0x310
TICK_PULSE, TICK_PERIOD, TICK_UNTIL, TICK_VECTOR, TICK_KEY, TICK_END = 0x318, 0x320, 0x328, 0x330, 0x338, 0x340
MATCHED = 0x100                 # two counters for each rewriter of blocks: blocks rewritten, blocks left
INTERRUPTS, EXCEPTIONS, SOFTWARE = 0x800, 0x1000, 0x1800        # 256 counters each, by vector

COUNTS = {"port_reads": READS, "port_writes": WRITES, "tsc_reads": TSC_READS, "mmio_accesses": MMIOS, "mode_switches": MODES}
VECTORS = {"interrupts": INTERRUPTS, "exceptions": EXCEPTIONS, "software_interrupts": SOFTWARE}


class Mailbox:
    """`words[FIELD >> 3]` is a field as a signed 64-bit integer."""

    def __init__(self, costs: Costs) -> None:
        self.page = mmap.mmap(-1, SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._base = c_char.from_buffer(self.page)
        self.address = addressof(self._base)
        self.words = memoryview(self.page).cast("q")
        self.costs = costs
        for field, cost in {
            BLOCK_NS: costs.block, READ_NS: costs.port_read, WRITE_NS: costs.port_write, INTERRUPT_NS: costs.interrupt,
            EXCEPTION_NS: costs.exception, TSC_NS: costs.tsc_read, MMIO_NS: costs.mmio,
            MODE_NS: costs.mode_switch,
        }.items():
            self.words[field >> 3] = cost

    def counters(self) -> dict[str, int | dict[int, int]]:
        """Every counter by its name; vectors that never came are left out."""
        counts: dict[str, int | dict[int, int]] = {name: self.words[field >> 3] for name, field in COUNTS.items()}
        for name, field in VECTORS.items():
            counts[name] = {v: n for v in range(256) if (n := self.words[(field >> 3) + v])}
        return counts

    def set_counters(self, counts: dict[str, int | dict[int, int]]) -> None:
        """The inverse of `counters`."""
        for name, value in counts.items():
            if isinstance(value, int):
                self.words[COUNTS[name] >> 3] = value
            else:
                counts_of = {int(vector): n for vector, n in value.items()}     # a file's keys are text
                for vector in range(256):
                    self.words[(VECTORS[name] >> 3) + vector] = counts_of.get(vector, 0)

    def blocks(self, busy: int) -> int:
        """How many blocks ran in `busy` ns: what is left when everything else has been paid."""
        words, costs = self.words, self.costs
        paid = (words[READS >> 3] * costs.port_read + words[WRITES >> 3] * costs.port_write
                + words[TSC_READS >> 3] * costs.tsc_read + words[MMIOS >> 3] * costs.mmio
                + words[MODES >> 3] * costs.mode_switch)
        for field, cost in ((INTERRUPTS, costs.interrupt), (EXCEPTIONS, costs.exception), (SOFTWARE, costs.exception)):
            paid += cost * sum(words[field >> 3:(field >> 3) + 256])
        return (busy - paid) // costs.block

    def close(self) -> None:
        """Give the page back."""
        self.words.release()
        del self._base
        self.page.close()
