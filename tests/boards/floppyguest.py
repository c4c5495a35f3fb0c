"""A guest that talks to the floppy controller as a table says, and tells port E9h what it hears; it runs on QEMU too."""

from __future__ import annotations

from pathlib import Path

from emu.assembler import assemble_file

END, OUT, IN, SEND, WAIT, RESULTS, SUM, PIO_READ, PIO_WRITE, FILL = range(10)
BUFFER = 0x20000

SOURCE = r"""
.org 0x100000
header:
    .long 0x1BADB002, 0x00010000, -(0x1BADB002 + 0x00010000)
    .long header, header, 0, 0, start
start:
    cli
    cld
    mov  esp, 0x200000
    call init
    mov  esi, script
next:
    movzx eax, byte ptr [esi]
    inc  esi
    mov  ebx, steps
    mov  ebx, [ebx + eax * 4]
    jmp  ebx

do_end:
    mov  al, 0
    out  0xF4, al
    hlt
    jmp  do_end

do_out:                         # word port, byte value
    mov  dx, [esi]
    mov  al, [esi + 2]
    out  dx, al
    add  esi, 3
    jmp  next

do_in:                          # word port
    mov  dx, [esi]
    in   al, dx
    out  0xE9, al
    add  esi, 2
    jmp  next

do_send:                        # byte count, bytes: to the FIFO
    movzx ecx, byte ptr [esi]
    inc  esi
.each:
    call ready
    and  al, 0xC0
    cmp  al, 0x80
    jne  .drop
    mov  al, [esi]
    mov  dx, 0x3F5
    out  dx, al
.drop:
    inc  esi
    dec  ecx
    jnz  .each
    jmp  next

ready:                          # MSR once RQM is set, or after a while
    mov  edi, 100000
    mov  dx, 0x3F4
.again:
    in   al, dx
    test al, 0x80
    jnz  .done
    dec  edi
    jnz  .again
.done:
    ret

do_wait:                        # for IRQ 6: tells 40h or 0
    mov  ecx, 5000000
    mov  al, 0x0A
    out  0x20, al
.again:
    in   al, 0x20
    and  al, 0x40
    jnz  .done
    dec  ecx
    jnz  .again
.done:
    out  0xE9, al
    call init
    jmp  next

init:                           # ICW1 to ICW4: only IRR is read, nothing interrupts; and the edges so far are forgotten
    mov  al, 0x11
    out  0x20, al
    mov  al, 0x20
    out  0x21, al
    mov  al, 4
    out  0x21, al
    mov  al, 1
    out  0x21, al
    mov  al, 0xFF
    out  0x21, al
    ret

do_results:                     # tells how many there are, then each
    mov  ebx, results
    call ready
.again:
    mov  dx, 0x3F4
    in   al, dx
    and  al, 0xD0
    cmp  al, 0xD0
    jne  .done
    mov  dx, 0x3F5
    in   al, dx
    mov  [ebx], al
    inc  ebx
    cmp  ebx, results + 16
    jb   .again
.done:
    sub  ebx, results
    mov  al, bl
    out  0xE9, al
    mov  edi, results
.tell:
    test ebx, ebx
    jz   next
    mov  al, [edi]
    out  0xE9, al
    inc  edi
    dec  ebx
    jmp  .tell

do_sum:                         # long address, long length: tells them whole
    mov  ebx, [esi]
    mov  ecx, [esi + 4]
    add  esi, 8
.again:
    mov  al, [ebx]
    out  0xE9, al
    inc  ebx
    dec  ecx
    jnz  .again
    jmp  next

do_pio_read:                    # long count: bytes from the FIFO, told
    mov  ecx, [esi]
    add  esi, 4
.again:
    call ready
    and  al, 0xF0
    cmp  al, 0xF0
    jne  .done
    mov  dx, 0x3F5
    in   al, dx
    out  0xE9, al
    dec  ecx
    jnz  .again
.done:
    mov  al, cl
    out  0xE9, al
    jmp  next

do_pio_write:                   # long count: bytes that count up, to the FIFO
    mov  ecx, [esi]
    add  esi, 4
.again:
    call ready
    and  al, 0xF0
    cmp  al, 0xB0
    jne  .done
    mov  al, cl
    mov  dx, 0x3F5
    out  dx, al
    dec  ecx
    jnz  .again
.done:
    mov  al, cl
    out  0xE9, al
    jmp  next

do_fill:                        # long address, long length, byte value
    mov  edi, [esi]
    mov  ecx, [esi + 4]
    mov  al, [esi + 8]
    add  esi, 9
    rep stosb
    jmp  next

.align 4
steps:
    .long do_end, do_out, do_in, do_send, do_wait, do_results, do_sum, do_pio_read, do_pio_write, do_fill
results: .fill 16, 1, 0
script:
"""


class Script:
    """Steps of the guest, and what it will tell: names and lengths, to compare it piece by piece."""

    def __init__(self) -> None:
        self.code = bytearray()
        self.tells: list[tuple[str, int]] = []          # length -1: a count comes first

    def out(self, *pairs: tuple[int, int]) -> None:
        for port, value in pairs:
            self.code += bytes([OUT, port & 0xFF, port >> 8, value])

    def look(self, port: int, name: str) -> None:
        self.code += bytes([IN, port & 0xFF, port >> 8])
        self.tells.append((name, 1))

    def send(self, *values: int) -> None:
        self.code += bytes([SEND, len(values), *values])

    def wait(self) -> None:
        self.code.append(WAIT)
        self.tells.append(("irq", 1))

    def results(self, name: str) -> None:
        self.code.append(RESULTS)
        self.tells.append((name, -1))

    def memory(self, address: int, length: int) -> None:
        self.code += bytes([SUM]) + address.to_bytes(4, "little") + length.to_bytes(4, "little")
        self.tells.append(("memory", length))

    def fill(self, address: int, length: int, value: int) -> None:
        self.code += bytes([FILL]) + address.to_bytes(4, "little") + length.to_bytes(4, "little") + bytes([value])

    def pio(self, length: int, write: bool = False) -> None:
        self.code += bytes([PIO_WRITE if write else PIO_READ]) + length.to_bytes(4, "little")
        self.tells.append(("pio", 1 if write else length + 1))

    def dma(self, mode: int, address: int, length: int) -> None:
        """Channel 2, as drivers do it."""
        count = length - 1
        self.out((0x0A, 6), (0x0C, 0), (0x0B, mode | 2), (0x04, address & 0xFF), (0x04, address >> 8 & 0xFF),
                 (0x81, address >> 16), (0x05, count & 0xFF), (0x05, count >> 8), (0x0A, 2))

    def image(self, path: Path) -> bytes:
        """The Multiboot image."""
        path.write_text(SOURCE + "".join(f".byte {byte:#x}\n" for byte in (*self.code, END)))
        return assemble_file(path)

    def decode(self, told: bytes) -> list[tuple[str, bytes]]:
        pieces, at = [], 0
        for name, length in self.tells:
            if length < 0:
                length = told[at] if at < len(told) else 0
                at += 1
            pieces.append((name, told[at:at + length]))
            at += length
        assert at == len(told), f"{len(told)} bytes told, {at} expected"
        return pieces
