"""A full-system x86 processor out of the stock Unicorn wheel: engine.py is the `Engine` of emu.engine, the rest is its rooms.

| file          | what it does                                                      | without it
| ------------- | ----------------------------------------------------------------- | ---
| engine.py     | the pins, time, run, snapshots of one processor                   |
| registers.py  | every register by its name in the SDM, live                       | 2 us a register, guest-privileged loads
| state.py      | a processor as plain values, and back                             | no snapshots
| models.py     | the processor models, and which CPUID bits are hidden             | the host's random numbers, an APIC
| memory.py     | RAM and ROM in one arena, shown without copies                    | a copy for each look
| views.py      | what each physical page shows, changed at any time                | no shadow RAM, VGA window, PCI BAR
| mailbox.py    | the words that thunks and Python share; time, budget, counters    |
| callbacks.py  | the ways from the library into Python                             |
|               |                                                                   |
| build.py      | which library is loaded, where its uc_struct keeps things         | only one wheel would do
| layout.py     | every private offset                                              |
| proofs.py     | proofs that they fit, before anything is written                  | a crash in another build
| prologue.py   | how much of a function's start may be moved, in another build     | only one wheel would do
| room.py       | address space near the library for what must lie there            | slow in a process full of other things
| library.py    | the library's C interface as we call it                           | twice the cost of a callback
| code.py       | memory for thunks, patches of the library and their end           | foreign engines would run on our time
|               |                                                                   |
| hooks.py      | exceptions, interrupts, I/O permission, RDTSC of one engine       | no operating system runs
| helpers.py    | budget and kick at a block's start, PUSHF, for all engines        | no exact end of a slice
| privileged.py | SYSCALL, SYSENTER, LTR                                            | no system calls
| x87.py        | the x87 by the host's own: results, exceptions, stack faults      | no flags but ZE, logarithms of 53 bits
| x87parts.py   | what its thunks are made of                                       |
| x87entries.py | which helpers of the library it replaces                          |
| sse.py        | flags of SSE's exceptions in MXCSR, #XM                           | no flags, no #XM
| lock.py       | #UD for LOCK where it may not be                                  | a guest may end the process
| tasks.py      | task switches: the segments of a 16-bit TSS, EIP after a fault    | no 286 operating system
| compare.py    | CMPXCHG leaves the upper half of what it does not write           | RAX is cut off
| stores.py     | fast stores, ROM, self-modifying code, views: the TLB's entries   | a store 25 times as slow, stale code
| attention.py  | a stop after many translations                                    | no Ctrl-C while a guest rewrites itself
| events.py     | the piece of a thunk that tells the recorder of an event          | no traces
| recent.py     | the last exceptions and interrupts, and who watches them          | a guest dies without a reason
| recorder.py   | block numbers and events to whoever records                       | no traces
| moves.py      | loads of the stack pointer to whoever records                     | stacks of tasks run together
| accesses.py   | loads and stores to whoever records them                          | no traces of memory
| thunks.py     | puts the thunks of one machine in their places                    |
|               |                                                                   |
| fast/         | 19 techniques, one file and one switch each: see its table        | the boot of Debian takes 1.3 of the time

The plain core is all but fast/, and what fast/ gains is measured by `python -m tests.bench` (README, "Speed").
"""
