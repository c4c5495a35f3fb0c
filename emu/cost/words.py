"""What each form and each workload is, for somebody who has never compared virtual machines.

LAYERS: what lies between the program and the processor, from above; one in square brackets is imitated by the one below it.
"""

from __future__ import annotations

FAMILIES: tuple[tuple[str, str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("A process",
     "The program's instructions are the processor's own, and run as they are. For a file, or for more memory, it calls "
     "the kernel: a <i>system call</i>. This is the measure of everything else: 1.",
     ("program", "host's kernel", "processor"),
     ("native",)),
    ("Containers",
     "The same program, the same kernel, the same processor. The kernel shows the process a world of its own: its own "
     "process numbers, mounts, network (<i>name spaces</i>), and limits what it may use (<i>cgroups</i>). Nothing is "
     "imitated, so nothing is slower once it runs; only the walls take time to build. <b>namespaces</b> is the bare "
     "clone(2) with all of them, <b>runc</b> the runtime that Docker itself uses, which is a program that starts, too.",
     ("program", "name spaces, cgroups", "host's kernel", "processor"),
     ("runc", "namespaces")),
    ("Our machine",
     "A whole PC in software: processor, interrupt controller, timer, disks. Each piece of the guest's machine code is "
     "<i>translated</i> to the host's once, and then run again and again; a translation has several instructions for one, "
     "since memory must be found by the guest's page tables and virtual time is counted. <b>bare guest</b>: the program "
     "above a kernel of 300 instructions. <b>Linux guest</b>: the same program inside Debian.",
     ("program", "guest's kernel", "[PC]", "translator (Unicorn) and chips in Python", "host's kernel", "processor"),
     ("emu, bare guest", "emu, Linux guest")),
    ("Our machine, watched",
     "The bare guest while everything is written down: each <b>block</b> of code that runs, each instruction "
     "(<b>insns</b>), or each access to <b>memory</b>. What it costs to look, natively.",
     ("program", "guest's kernel", "[PC]", "translator, with a recorder in each block", "host's kernel", "processor"),
     ("emu, traced: blocks", "emu, traced: insns", "emu, traced: memory")),
    ("A hook in Python",
     "The usual way to watch with a scripting tool: the translator calls a Python function before each instruction. Each "
     "call leaves native code and comes back: an exit for every single instruction.",
     ("program", "[processor]", "translator, Python before each instruction", "host's kernel", "processor"),
     ("Unicorn, Python hook",)),
    ("QEMU",
     "The best-known machine in software; it translates, as ours does (<i>TCG</i>). With <b>-icount</b> it counts "
     "instructions and makes time of them, so that a run can be repeated, as ours always can.",
     ("program", "guest's kernel", "[PC]", "translator and chips in C", "host's kernel", "processor"),
     ("QEMU TCG", "QEMU -icount")),
    ("KVM",
     "The processor itself runs the guest (VT-x, AMD-V), at full speed, until the guest does what only the machine around "
     "it can answer: then it stops, which is an <i>exit</i>. Here a small program in Python answers. On a host that is "
     "itself a virtual machine without this feature, KVM can only be imitated, and is slow where it should be fast.",
     ("program", "guest's kernel", "[PC]", "kvm in the host's kernel", "processor"),
     ("KVM",)),
    ("Language machines",
     "They imitate a machine that never existed, with instructions made for a language (<i>byte code</i>). An interpreter "
     "(<b>JVM -Xint</b>, <b>CPython</b>, <b>Ruby YARV</b>) decodes each step every time it comes by. A compiler makes "
     "machine code of it: <b>JVM compiled</b> and <b>Ruby YJIT</b> while the program runs, <b>WebAssembly</b> (wasmtime) "
     "before it starts. They have no kernel inside: a system call is the host's.",
     ("program in byte code", "[machine of the language]", "interpreter or compiler", "host's kernel", "processor"),
     ("JVM -Xint", "JVM compiled", "CPython", "Ruby YARV", "Ruby YJIT", "WebAssembly")),
)

WORK: dict[str, str] = {
    "spawn":
        "Start it, let it do nothing, end it. A process takes microseconds, a container milliseconds, a language machine "
        "tens of them; a whole guest starts a computer. This is why containers are what one starts by the thousand.",
    "cpu":
        "Arithmetic in a tight loop: a checksum by table and a sieve of primes. Here nobody calls a kernel, so containers "
        "and KVM cost nothing, translators their longer code, interpreters the decoding of each step.",
    "calls":
        "Functions that call themselves, and calls through a table of addresses. A translator cannot know where a return "
        "or such a call goes, and must look it up each time: its weak spot.",
    "memory":
        "64 MiB that are there already, written, copied, and changed at random places. Each access of a translated program "
        "asks a table where the guest's page lies; what is random misses the processor's caches besides.",
    "float":
        "Square roots, divisions and additions, each on the result of the one before, so that the processor waits for "
        "itself; that hides much of what others add. A translator calls a routine for most operations.",
    "syscall":
        "A million of the least system calls there are (umask). In a guest the guest's own kernel answers: for the "
        "machine below this is ordinary code, and no exit. Language machines call the host's kernel by way of a library.",
    "io":
        "64 MiB written to a file in pieces of 4 KiB, flushed, read back. A guest has a disk: Linux keeps the pieces in its "
        "memory until the flush, and gives its controller many at once; for a bare guest each is a command: exits.",
    "irq":
        "The checksum again, with a timer that interrupts it a thousand times a second: as a signal for a process, by the "
        "interrupt controller for a guest. Each interrupt of a machine is an exit, or several.",
}

EXIT = """\
<p>An <b>exit</b> is the moment in which control leaves the guest's own code for what imitates its machine: a port is
written, a device register is read, an interrupt is delivered. Between exits the guest runs by itself, as fast as its
instructions do. So the cost of a machine has two parts:</p>
<p class="model">time = <b>exits × price of one exit</b> + <b>work</b></p>
<p>A hook in Python has an exit for each instruction, and all its time goes there. A guest that calculates has next to none,
and pays for its translation alone; with KVM it pays nothing. And a system call, which people fear most, is no exit: the
guest's own kernel answers it inside the guest.</p>"""
