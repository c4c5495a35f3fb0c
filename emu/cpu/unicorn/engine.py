"""Stock Unicorn 2.1.4 as a full-system processor: the `Engine` of emu.engine.

One engine in UC_MODE_64 runs every mode of the processor.  What Unicorn took out of QEMU comes back as thunks (helpers.py,
hooks.py, stores.py), on private structures (layout.py, proofs.py); fast/ makes it fast and changes no run.
What must never be used, and why: `timeout`, `count`, `until` and emu_stop from another thread (they run instructions twice
or clobber CR2), MEM and CODE hooks (every access becomes slow), unmapping (stale TLB entries), uc_vmem_* (clobbers CR2).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from typing import Any

import unicorn
from unicorn import x86_const

from emu.cpu.unicorn import compare, helpers, hooks, library, lock, proofs, sse, state, stores, tasks, thunks, x87entries
from emu.cpu.unicorn import fast as faster
from emu.cpu.unicorn import layout as at
from emu.cpu.unicorn import mailbox as m
from emu.cpu.unicorn.build import symbol
from emu.cpu.unicorn.callbacks import Callbacks
from emu.cpu.unicorn.code import Code, Patches
from emu.cpu.unicorn.memory import Memory
from emu.cpu.unicorn.models import MODELS, hide_features
from emu.cpu.unicorn.recent import Recent
from emu.cpu.unicorn.recorder import Recorder
from emu.cpu.unicorn.registers import Registers
from emu.cpu.unicorn.room import away, hold, room
from emu.cpu.unicorn.views import Views
from emu.engine import Costs, EngineError, Sink, Space, Stop, Ticker

TRANSLATIONS = 128 << 20            # bytes of host code; a full buffer is emptied
INTERRUPT_HARD, KICK = at.INTERRUPT_HARD, m.KICK
KICKED, NOW = -(m.KICK // 2), m.KICK - 1        # a budget below is kicked; the time is what these bits say
PATCHES = Patches({**helpers.PATCHES, **stores.PATCHES, **x87entries.ENTRIES, **sse.ENTRIES, **lock.ENTRIES, **tasks.ENTRIES,
                   **compare.ENTRIES})


class UnicornEngine:
    """An Engine; `model` is a name in MODELS, `memory` the bytes of RAM that will be asked for.  Raises EngineError."""

    def __init__(self, memory: int, model: str = "qemu64", costs: Costs | None = None, fast: str | None = None) -> None:
        proofs.check_library()
        if model not in MODELS:
            raise EngineError(f"no CPU model named {model}; there are {', '.join(MODELS)}")
        self.costs, techniques = costs or Costs(), faster.chosen(fast)
        self._recording, self._ways = False, (0, 0)     # what is called when the time is up: without the recorder, with it
        self._failure: BaseException | None = None
        self._sealed, self._nmi, self._a20, self._skipped, self._slack = False, 0, 1, 0, self.costs.block - 1
        self._memory = Memory(memory)
        self._views = Views(self._memory)
        self._uc = away(lambda: unicorn.Uc(unicorn.UC_ARCH_X86, unicorn.UC_MODE_64, MODELS[model]))
        self._uc.ctl_set_tcg_buffer_size(TRANSLATIONS)
        self._uc.ctl_exits_enabled(True)            # with no exits set, `until` is ignored
        with room(TRANSLATIONS + (4 << 20)):
            self._uc.reg_read(x86_const.UC_X86_REG_RAX)         # any such call makes the library build the processor
        self._handle = self._uc._uch.value
        self._cpu, self._class = proofs.check_structures(self._handle)
        self._env = self._cpu + at.CPU_ENV
        self._box = m.Mailbox(self.costs)
        self._box.words[m.VIEW_LOADS >> 3], self._box.words[m.VIEW_STORES >> 3] = self._views.addresses
        at.write_u64(self._cpu + at.CPU_OPAQUE, self._box.address)
        PATCHES.acquire()
        ctypes.c_uint8.from_address(self._handle + at.UC_NO_EXIT_REQUEST).value = 1
        self._code = Code()
        hide_features(self._env, model)
        self._fields()
        self.reset()
        proofs.check_after_reset(self._env)
        self._words[m.EPOCH >> 3] = 1
        self._layer = faster.install(self._handle, self._env, self._box, self._memory, techniques)
        self._callbacks = Callbacks(self._box, self._budget, self._layer.on, self._fail)
        self._turn, self._recent = self._callbacks.turn, Recent(self._box, self._callbacks, self._code)
        self.recent, self.happened, self.watch = self._recent.read, self._recent.counts, self._recent.watch
        self._recorder = Recorder(self._handle, self._env, self._box, self.costs.block, self._layer.on, self._anew, self.now)
        self.note, self.recorded = self._recorder.note, self._recorder.recorded

    def _fields(self) -> None:
        env, cpu = self._env, self._cpu
        self._words = self._box.words
        self._budget = memoryview((ctypes.c_int64 * 1).from_address(env + at.BUDGET)).cast("B").cast("q")
        self._eip = ctypes.c_uint64.from_address(env + at.EIP)
        self._eflags = ctypes.c_uint64.from_address(env + at.EFLAGS)
        self._hflags2 = ctypes.c_uint32.from_address(env + at.HFLAGS2)
        self._hflags = ctypes.c_uint32.from_address(env + at.HFLAGS)
        self._old_exception = ctypes.c_int32.from_address(env + at.OLD_EXCEPTION)
        self._halted = ctypes.c_uint32.from_address(cpu + at.CPU_HALTED)
        self._stopped = ctypes.c_uint8.from_address(cpu + at.CPU_STOPPED)
        request = (ctypes.c_uint32 * 1).from_address(cpu + at.CPU_INTERRUPT_REQUEST)
        self._request = memoryview(request).cast("B").cast("I")
        self._registers = Registers(self._handle, env)
        self._flush = library.VOID(symbol("tlb_flush_x86_64"))

    # -- what the machine sets up once

    def attach(self, ports: Space, mmio: Space, acknowledge: Callable[[], int],
               expired: Callable[[], bool] = lambda: True, ticker: Ticker | None = None,
               look: Callable[[], bool] = lambda: False) -> None:
        self._look, ask, code = look, self._callbacks.ask, self._code
        self._words[m.EXPIRED >> 3] = plain = self._callbacks.expired(expired, ticker, self._env, code)
        self._mmio, self._ways = mmio, (plain, ask(self._recorder.before(expired), code))
        thunks.install(self._handle, self._class, self._box.address, self._views, code, "pages" not in self._layer.on,
                       *self._callbacks.ports(ports), ask(acknowledge, code))

    def memory(self, length: int) -> memoryview:
        return self._memory.take(length)

    def map(self, address: int, memory: memoryview, kind: str) -> None:
        if self._sealed:
            raise EngineError("memory is mapped before the first run")
        self._memory.map(self._handle, address, memory, kind)

    def view(self, address: int, length: int, memory: memoryview | None, kind: str,
             writes: memoryview | None = None) -> None:
        if self._views.show(address, length, memory, kind, writes):
            self._flush(self._cpu)
            self._kick()                                # blocks of the old page are chained to one another

    def pieces(self, address: int, length: int, store: bool = False) -> list[memoryview | int]:
        return self._views.pieces(address, length, store)

    def _seal(self) -> None:
        """Fill the holes between the memories with MMIO, so that an access to nothing is an open bus and not a stop."""
        self._sealed = True
        device_memory = self._callbacks.device_memory(self._mmio, self._code)
        self._views.seal(self._handle, *device_memory, self._code.place(hooks.always()))
        if "pages" not in self._layer.on:
            thunks.warm_up(self)

    # -- pins and time

    def intr(self, level: int) -> None:
        if level:
            self._request[0] |= INTERRUPT_HARD
            self._kick()
        else:
            self._request[0] &= ~INTERRUPT_HARD

    def nmi(self, level: int) -> None:
        if level and not self._nmi:
            self._request[0] |= at.INTERRUPT_NMI
            self._kick()
        self._nmi = level

    def a20(self, level: int) -> None:
        self._a20 = level
        ctypes.PYFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int)(symbol("x86_cpu_set_a20_x86_64"))(self._cpu, 1 if level else 0)

    def reset(self) -> None:
        intr = self._request[0] & INTERRUPT_HARD
        self._anew()                                                    # memory may have changed, or be put in anew
        library.VOID(at.read_u64(self._class))(self._cpu)                       # CPUClass.reset: F000:FFF0
        self._registers.cr4 = 0                                         # the library presets what a user program needs
        ctypes.c_uint32.from_address(self._env + at.TR + 20).value = 0x8900  # type 9: an inner-ring interrupt aborts on 0Bh
        ctypes.c_int32.from_address(self._cpu + at.CPU_EXCEPTION_INDEX).value = -1
        self._halted.value = self._stopped.value = self._nmi = self._words[m.DELIVERING >> 3] = 0
        self._asleep = False
        self._request[0] = intr                                      # the pin stays as it is
        self.a20(self._a20)                                             # the library opens the gate, the board has not

    def _anew(self) -> None:
        """Have every block made anew."""
        self._uc.ctl_flush_tb()
        self._memory.forget()

    def _kick(self) -> None:
        if self._budget[0] >= KICKED:
            self._budget[0] -= KICK
        else:
            self._words[m.MOVING >> 3] &= 1

    def now(self) -> int:
        return (self._words[1] - self._budget[0]) & NOW                 # END - budget

    def due(self, time: int) -> None:
        if self._recording:
            now = self.now()
            time = min(time, now + self._recorder.room(now))
        words, end = self._words, time + self._slack
        self._budget[0] += end - words[1]
        words[1] = end

    def skip(self, time: int) -> None:
        ahead = time - self.now()
        if ahead > 0:
            self._words[m.END >> 3] += ahead
            self._skipped += ahead

    # -- running

    def run(self) -> Stop:
        if not self._sealed:
            self._seal()
        self._turn()
        budget = self._budget
        if budget[0] < KICKED:
            budget[0] += m.KICK                         # a start looks at the pins at any rate
            self._recorder.moved()
        self._asked = False
        while True:
            if self._asleep and not self._wakes():
                return Stop.HLT if self._eflags.value & 0x200 else Stop.DEAD
            if budget[0] <= self._slack:
                return Stop.DUE
            error = library.start(self._handle, self._eip.value, 0, 0, 0)
            self._turn()
            if self._failure is not None:
                failure, self._failure = self._failure, None
                raise failure
            if error:
                place = f"{self._registers.cs.selector:x}:{self._eip.value:x}"
                raise EngineError(f"unicorn stopped at {place}: {unicorn.UcError(error)}")
            if budget[0] < KICKED:
                budget[0] += m.KICK
                self._recorder.moved()
            if not self._halted.value:
                if not self._words[m.LOOK >> 3] or self._asked or self._stopped.value:
                    break
                self._words[m.LOOK >> 3], self._asleep = 0, False
                if self._look():
                    break
                continue
            self._asleep = True                         # and awake again if an interrupt has come since the block began
        self._asleep = False
        if self._stopped.value:
            self._stopped.value = 0
            if self._old_exception.value == 8:                          # a fault while #DF was delivered
                return Stop.SHUTDOWN
        return Stop.DUE if budget[0] <= self._slack else Stop.ASKED

    def _wakes(self) -> bool:
        """Whether an interrupt that the halted processor takes is pending."""
        request = self._request[0]
        return bool((request & INTERRUPT_HARD and self._eflags.value & 0x200)
                    or (request & at.INTERRUPT_NMI and not self._hflags2.value & at.HF2_NMI))

    def stop(self) -> None:
        self._asked = True
        self._kick()                                                    # a chained loop looks at nothing else
        library.stop(self._handle)

    def _fail(self, error: BaseException) -> int:
        """An exception in a callback: no way through C for it, so `run` raises it."""
        self._failure = self._failure or error
        self.stop()
        return 0xFFFFFFFF

    def registers(self) -> Registers:
        return self._registers

    def wrote(self, address: int, length: int) -> None:
        self._views.wrote(self._handle, address, length)

    def changed(self, memory: memoryview) -> None:
        self._memory.wrote(self._handle, memory)

    def techniques(self) -> dict[str, Any]:
        return self._layer.report()

    def record(self, sink: Sink | None) -> None:
        self._recording = self._recorder.record(sink)
        self._words[m.EXPIRED >> 3] = self._ways[self._recording]

    # -- snapshots

    def counters(self) -> dict[str, Any]:
        return {"blocks": self._box.blocks(self.now() - self._skipped), **self._box.counters()}

    def save(self) -> dict[str, Any]:
        return state.save(self)

    def restore(self, saved: Mapping[str, Any]) -> None:
        state.restore(self, saved)

    def close(self) -> None:
        if self._handle:
            self.record(None)
            self._handle = 0
            self._uc._Uc__finalizer()
            hold()
            PATCHES.release()
            self._layer.close()
            self._callbacks.close()
            self._code.close()
            del self._words, self._budget
            self._box.close()
            self._views.close()
            for part in (self._registers, self):        # their addresses lead nowhere now
                object.__setattr__(part, "__class__", library.Closed)
