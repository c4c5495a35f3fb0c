"""Stock Unicorn 2.1.4 as a full-system processor: the `Engine` of emu.engine.

One engine in UC_MODE_64 runs every mode of the processor.  What Unicorn took out of QEMU comes back as thunks (thunks.py),
on private structures that layout.py finds and proves; the library is entered with the GIL held, callbacks are raw ctypes.
What must never be used, and why: `timeout`, `count`, `until` and emu_stop from another thread (they run instructions twice
or clobber CR2), MEM and CODE hooks (every access becomes slow), unmapping (stale TLB entries), uc_vmem_* (clobbers CR2).
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable, Mapping
from typing import Any

import unicorn
from unicorn import unicorn_const, x86_const
from unicorn.unicorn_py3.unicorn import uclib

from emu.cpu.unicorn import layout as at
from emu.cpu.unicorn import mailbox as m
from emu.cpu.unicorn import thunks
from emu.cpu.unicorn.code import Code, Patches
from emu.cpu.unicorn.layout import symbol
from emu.cpu.unicorn.registers import Registers
from emu.engine import Costs, EngineError, Space, Stop

PAGE = 4096
MAP_NORESERVE = 0x4000              # not in the mmap module of Python 3.11
SPACE = 1 << 40                     # bytes of physical addresses that answer: 40 lines, as the qemu64 model has them
TRANSLATIONS = 128 << 20            # bytes of host code; a full buffer is emptied
MODELS = {
    name[len("UC_CPU_X86_"):].lower().replace("_", "-"): value
    for name, value in vars(x86_const).items() if name.startswith("UC_CPU_X86_") and not name.endswith("ENDING")
}
SPARE = 64 << 20                    # bytes of address space for ROMs beside the RAM; what is not used costs nothing

INTERRUPT_HARD = at.INTERRUPT_HARD
KICK = m.KICK
KICKED, NOW = -(m.KICK // 2), m.KICK - 1        # a budget below is kicked; the time is what these bits say
PATCHES = Patches(thunks.PATCHES)
_library = ctypes.PyDLL(uclib._name)            # PyDLL: calls keep the GIL, so a callback need not take it again
_start = _library.uc_emu_start
_start.argtypes = (ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint64, ctypes.c_uint64, ctypes.c_size_t)
_stop = _library.uc_emu_stop
_stop.argtypes = (ctypes.c_void_p,)
_hook_add = _library.uc_hook_add
_CPU = ctypes.PYFUNCTYPE(None, ctypes.c_void_p)
_OUT = ctypes.PYFUNCTYPE(None, ctypes.c_uint32, ctypes.c_uint32)
_IN = ctypes.PYFUNCTYPE(ctypes.c_uint32, ctypes.c_uint32)
_ACKNOWLEDGE = ctypes.PYFUNCTYPE(ctypes.c_int)
_MMIO_READ = ctypes.PYFUNCTYPE(ctypes.c_uint64, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint, ctypes.c_void_p)
_MMIO_WRITE = ctypes.PYFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint, ctypes.c_uint64, ctypes.c_void_p)

# CPUID bits that the translator offers and that this machine does not have, by word of env->features
HIDDEN = {
    0: 1 << 9,                      # 1.EDX APIC: there is none
    1: 1 << 3 | 1 << 30 | 1 << 31,  # 1.ECX MONITOR; RDRAND: the host's random numbers; hypervisor: this is a PC
    2: 1 << 18,                     # 7.EBX RDSEED
    7: 1 << 2,                      # 80000001.ECX SVM
}
LONG_MODE = 6, 1 << 29              # 80000001.EDX LM: UC_MODE_64 sets it for every model
NO_LONG_MODE = {"qemu32", "kvm32", "coreduo", "486", "pentium", "pentium2", "pentium3", "athlon", "n270"}


class UnicornEngine:
    """An Engine; `model` is a name in MODELS, `memory` the bytes of RAM that will be asked for.  Raises EngineError."""

    def __init__(self, memory: int, model: str = "qemu64", costs: Costs | None = None) -> None:
        at.check_library()
        if model not in MODELS:
            raise EngineError(f"no CPU model named {model}; there are {', '.join(MODELS)}")
        self.costs = costs or Costs()
        self._keep: list[Any] = []
        self._regions: list[tuple[int, memoryview, str]] = []
        self._sealed = False
        self._failure: BaseException | None = None
        self._nmi = 0
        self._skipped = 0
        self._slack = self.costs.block - 1
        self._memory(memory + SPARE)
        self._uc = unicorn.Uc(unicorn.UC_ARCH_X86, unicorn.UC_MODE_64, MODELS[model])
        self._uc.ctl_set_tcg_buffer_size(TRANSLATIONS)
        self._uc.ctl_exits_enabled(True)            # with no exits set, `until` is ignored
        self._uc.reg_read(x86_const.UC_X86_REG_RAX)             # any such call makes the library build the processor
        self._handle = self._uc._uch.value
        self._cpu, self._class = at.check_structures(self._handle)
        self._env = self._cpu + at.CPU_ENV
        self._box = m.Mailbox(self.costs)
        at.write_u64(self._cpu + at.CPU_OPAQUE, self._box.address)
        PATCHES.acquire()
        ctypes.c_uint8.from_address(self._handle + at.UC_NO_EXIT_REQUEST).value = 1
        self._code = Code()
        self._features(model)
        self._views()
        self._a20 = 1
        self.reset()
        at.check_after_reset(self._env)

    def _memory(self, size: int) -> None:
        """One arena for RAM and ROMs, so that one bitmap indexed by host page tells what holds code, another what is ROM."""
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE
        try:
            self._arena = mmap.mmap(-1, size, flags=flags)
        except (OSError, OverflowError, ValueError) as error:
            raise EngineError(f"this host cannot give {size >> 20} MiB of address space: {error}") from None
        self._pages = size // PAGE
        self._arena_base = ctypes.c_char.from_buffer(self._arena)
        self._arena_address = ctypes.addressof(self._arena_base)
        self._arena_view = memoryview(self._arena)
        self._arena_used = 0
        self._code_map, self._rom_map = bytearray(self._pages // 8 + 8), bytearray(self._pages // 8 + 8)

    def _features(self, model: str) -> None:
        hidden = dict(HIDDEN)
        if model in NO_LONG_MODE:
            hidden[LONG_MODE[0]] = LONG_MODE[1]
        for word, bits in hidden.items():
            address = self._env + at.FEATURES + 8 * word
            at.write_u64(address, at.read_u64(address) & ~bits)

    def _views(self) -> None:
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

    # -- what the machine sets up once

    def attach(self, ports: Space, mmio: Space, acknowledge: Callable[[], int],
               expired: Callable[[], bool] = lambda: True) -> None:
        read, write = ports.read, ports.write

        def port_in(key: int) -> int:
            try:
                return read[key]()              # type: ignore[no-any-return]
            except BaseException as error:
                return self._fail(error)

        def port_out(key: int, value: int) -> None:
            try:
                write[key](value)
            except BaseException as error:
                self._fail(error)

        def inta() -> int:
            try:
                return acknowledge()
            except BaseException as error:
                return self._fail(error)

        def spent() -> int:
            try:
                return expired()
            except BaseException as error:
                return self._fail(error)

        self._mmio = mmio
        self._words[m.EXPIRED >> 3] = self._address(_ACKNOWLEDGE(spent))
        place, box = self._code.place, self._box.address
        reads, writes = self._address(_IN(port_in)), self._address(_OUT(port_out))
        self._hook_insn(x86_const.UC_X86_INS_IN, place(thunks.port_gate(box, m.READS, m.READ_NS, reads)))
        self._hook_insn(x86_const.UC_X86_INS_OUT, place(thunks.port_gate(box, m.WRITES, m.WRITE_NS, writes)))
        self._hook_insn(x86_const.UC_X86_INS_RDTSC, place(thunks.read_tsc(box, 0)))
        self._hook_insn(x86_const.UC_X86_INS_RDTSCP, place(thunks.read_tsc(box, at.TSC_AUX)))
        at.write_u64(self._handle + at.UC_STOP_INTERRUPT, place(thunks.deliver_exception(box)))
        code_map, rom_map = (ctypes.addressof(ctypes.c_char.from_buffer(x)) for x in (self._code_map, self._rom_map))
        original = symbol("x86_cpu_tlb_fill_x86_64")
        fill = place(thunks.fill_tlb(original, self._arena_address, self._pages, code_map, rom_map))
        take = symbol("x86_cpu_exec_interrupt_x86_64")
        for slot, function in at.class_slots(self._class).items():
            if function == original:
                at.write_u64(slot, fill)
            elif function == take:
                at.write_u64(slot, place(thunks.take_interrupt(box, self._address(_ACKNOWLEDGE(inta)), take)))
        self._hook(unicorn_const.UC_HOOK_EDGE_GENERATED, place(thunks.new_block(self._arena_address, self._pages, code_map)))

    def memory(self, length: int) -> memoryview:
        start = self._arena_used
        if length % PAGE or start + length > self._pages * PAGE:
            raise EngineError(f"no room for {length} bytes of memory beside {start} given out")
        self._arena_used += length
        return self._arena_view[start:start + length]

    def map(self, address: int, memory: memoryview, kind: str) -> None:
        host = self._host(memory)
        if self._sealed:
            raise EngineError("memory is mapped before the first run")
        self._check(uclib.uc_mem_map_ptr(self._uc._uch, address, len(memory), unicorn.UC_PROT_ALL, ctypes.c_void_p(host)))
        self._regions.append((address, memory, kind))
        if kind == "rom":
            for page in range((host - self._arena_address) // PAGE, (host - self._arena_address + len(memory)) // PAGE):
                self._rom_map[page >> 3] |= 1 << (page & 7)

    def _seal(self) -> None:
        """Fill the holes between the memories with MMIO, so that an access to nothing is an open bus and not a stop."""
        self._sealed = True
        free = 0
        for address, memory, _ in [*sorted(self._regions, key=lambda region: region[0]), (SPACE, memoryview(b""), "")]:
            if address > free:
                self._open_bus(free, address - free)
            free = max(free, address + len(memory))
        self._warm_up()

    def _open_bus(self, base: int, length: int) -> None:
        read_table, write_table, words, cost = self._mmio.read, self._mmio.write, self._words, self.costs.mmio
        budget = self._budget

        def read(uc: int, offset: int, size: int, data: int) -> int:
            try:
                words[m.MMIOS >> 3] += 1
                budget[0] -= cost
                return int(read_table[base + offset << 4 | size]())
            except BaseException as error:
                return self._fail(error)

        def write(uc: int, offset: int, size: int, value: int, data: int) -> None:
            try:
                words[m.MMIOS >> 3] += 1
                budget[0] -= cost
                write_table[base + offset << 4 | size](value)
            except BaseException as error:
                self._fail(error)

        self._check(uclib.uc_mmio_map(
            self._uc._uch, ctypes.c_uint64(base), ctypes.c_uint64(length), ctypes.c_void_p(self._address(_MMIO_READ(read))),
            ctypes.c_void_p(0), ctypes.c_void_p(self._address(_MMIO_WRITE(write))), ctypes.c_void_p(0)))
        self._hook(unicorn_const.UC_HOOK_MEM_FETCH_PROT, self._code.place(thunks.always()), base, base + length - 1)

    def _warm_up(self) -> None:
        """Run two blocks: the EDGE hook misses every block until a first one has returned normally (uc->last_tb)."""
        memory = self._regions[0][1]
        state, old, box, budget = self.save(), bytes(memory[:3]), bytes(self._box.page), self._budget[0]
        self.reset()
        memory[:3] = b"\xEB\x00\xF4"                                    # jmp $+2; hlt
        at.write_u64(self._env + at.SEGS + at.SEGMENT_SIZE + 8, self._regions[0][0])
        self._eip.value = 0
        self._budget[0] = 1 << 40
        error = _start(self._handle, 0, 0, 0, 0)
        if error or not self._halted.value:
            raise EngineError(f"the first two blocks did not run ({unicorn.UcError(error)}): this needs {at.WANTED}")
        memory[:3] = old
        self.restore(state)
        self._box.page[:] = box
        self._budget[0] = budget
        self.wrote(self._regions[0][0], 3)

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
        _CPU(at.read_u64(self._class))(self._cpu)                       # CPUClass.reset: F000:FFF0
        registers = self._registers
        registers.cr4 = 0                                               # the library presets what a user program needs
        ctypes.c_uint32.from_address(self._env + at.TR + 20).value = 0x8900  # type 9: an inner-ring interrupt aborts on 0Bh
        ctypes.c_int32.from_address(self._cpu + at.CPU_EXCEPTION_INDEX).value = -1
        self._halted.value = self._stopped.value = self._nmi = 0
        self._asleep = False
        self._words[m.DELIVERING >> 3] = 0
        self._request[0] = intr                                      # the pin stays as it is
        self.a20(self._a20)                                             # the library opens the gate, the board has not

    def _kick(self) -> None:
        budget = self._budget
        left = budget[0]
        if left >= KICKED:
            budget[0] = left - KICK

    def now(self) -> int:
        return (self._words[1] - self._budget[0]) & NOW                 # END - budget

    def due(self, time: int) -> None:
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
        budget = self._budget
        if budget[0] < KICKED:
            budget[0] += m.KICK                         # a start looks at the pins at any rate
        while True:
            if self._asleep and not self._wakes():
                return Stop.HLT if self._eflags.value & 0x200 else Stop.DEAD
            if budget[0] <= self._slack:
                return Stop.DUE
            error = _start(self._handle, self._eip.value, 0, 0, 0)
            if self._failure is not None:
                failure, self._failure = self._failure, None
                raise failure
            if error:
                raise EngineError(f"unicorn stopped at {self._registers.cs.selector:x}:{self._eip.value:x}: "
                                  f"{unicorn.UcError(error)}")
            if budget[0] < KICKED:
                budget[0] += m.KICK
            if not self._halted.value:
                break
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
        self._kick()                                                    # a chained loop looks at nothing else
        _stop(self._handle)

    def _fail(self, error: BaseException) -> int:
        """An exception in a callback: no way through C for it, so `run` raises it."""
        self._failure = self._failure or error
        self.stop()
        return 0xFFFFFFFF

    def registers(self) -> Registers:
        return self._registers

    def wrote(self, address: int, length: int) -> None:
        end = address + length
        for base, memory, _ in self._regions:
            first, last = max(address, base), min(end, base + len(memory))
            page = first & -PAGE
            host = self._host(memory) - base
            while page < last:
                index = (host + page - self._arena_address) // PAGE
                if self._code_map[index >> 3] >> (index & 7) & 1:
                    ram = self._ram_address(host + max(page, first))
                    ctypes.PYFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint64)(
                        symbol("tb_invalidate_phys_range_x86_64"))(
                            self._handle, ram, ram + min(page + PAGE, last) - max(page, first))
                page += PAGE

    def _ram_address(self, host: int) -> int:
        function = ctypes.PYFUNCTYPE(ctypes.c_uint64, ctypes.c_void_p, ctypes.c_uint64)
        return int(function(symbol("qemu_ram_addr_from_host_x86_64"))(self._handle, host))

    # -- snapshots

    def counters(self) -> dict[str, Any]:
        return {"blocks": self._box.blocks(self.now() - self._skipped), **self._box.counters()}

    def save(self) -> dict[str, Any]:
        return {
            **self._registers.save(),
            "activity": "hlt" if self._halted.value else "active",
            "shadow": int(bool(self._hflags.value & at.HF_INHIBIT_IRQ)),
            "nmi_blocked": int(bool(self._hflags2.value & at.HF2_NMI)),
            "nmi_pending": int(bool(self._request[0] & at.INTERRUPT_NMI)),
            "nmi": self._nmi, "intr": int(bool(self._request[0] & INTERRUPT_HARD)), "a20": self._a20,
            "time": self.now(), "skipped": self._skipped,
            "counters": {name: count if isinstance(count, int) else {str(vector): n for vector, n in count.items()}
                         for name, count in self._box.counters().items()},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self.reset()
        self._registers.restore(state)
        self._asleep = state["activity"] == "hlt"
        self._halted.value = self._asleep
        self._hflags.value = self._hflags.value & ~at.HF_INHIBIT_IRQ | (at.HF_INHIBIT_IRQ if state["shadow"] else 0)
        self._hflags2.value = self._hflags2.value & ~at.HF2_NMI | (at.HF2_NMI if state["nmi_blocked"] else 0)
        self._request[0] = (INTERRUPT_HARD if state["intr"] else 0) | (at.INTERRUPT_NMI if state["nmi_pending"] else 0)
        self._nmi = state["nmi"]
        self.a20(state["a20"])
        self._words[m.END >> 3], self._budget[0] = state["time"] + self._slack, self._slack
        self._skipped = state["skipped"]
        self._box.set_counters(state["counters"])
        _CPU(symbol("tlb_flush_x86_64"))(self._cpu)

    def close(self) -> None:
        if self._handle:
            self._handle = 0
            self._uc._Uc__finalizer()
            PATCHES.release()
            self._code.close()
            del self._words, self._budget
            self._box.close()
            self._keep.clear()
            self._regions.clear()
            del self._arena_base
            self._arena_view.release()
            for part in (self._registers, self):        # their addresses lead nowhere now
                object.__setattr__(part, "__class__", _Closed)

    # -- the library

    def _host(self, memory: memoryview) -> int:
        return ctypes.addressof(ctypes.c_char.from_buffer(memory))

    def _address(self, callback: Any) -> int:
        self._keep.append(callback)
        return ctypes.cast(callback, ctypes.c_void_p).value or 0

    def _check(self, error: int) -> None:
        if error:
            raise EngineError(f"unicorn: {unicorn.UcError(error)}")

    def _hook(self, kind: int, thunk: int, begin: int = 1, end: int = 0, *more: Any) -> None:
        hook = ctypes.c_size_t()
        self._check(_hook_add(self._uc._uch, ctypes.byref(hook), ctypes.c_int(kind), ctypes.c_void_p(thunk),
                              ctypes.c_void_p(0), ctypes.c_uint64(begin), ctypes.c_uint64(end), *more))

    def _hook_insn(self, instruction: int, thunk: int) -> None:
        self._hook(unicorn_const.UC_HOOK_INSN, thunk, 1, 0, ctypes.c_int(instruction))


class _Closed:
    """What is left of an engine and its registers after `close`."""

    def __getattr__(self, name: str) -> Any:
        raise EngineError(f"{name}: this machine is closed")

    def close(self) -> None:
        """Once more does no harm."""
