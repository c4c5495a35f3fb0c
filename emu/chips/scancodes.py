"""The scan codes of the 102-key keyboard, under QEMU's names of the keys (QKeyCode); a table, no chip.

Sources: [K] IBM PS/2 Hardware Interface Technical Reference, "Keyboards (101- and 102-key)", scan code sets 1, 2 and
3; [M] Microsoft, Keyboard Scan Code Specification, 1.3a, for the keys with a Japanese legend or a loudspeaker on them.

Set 2 is written down; set 1 is what the keyboard controller makes of it (XLAT), which holds for every key.

Not modelled: set 3 of the keys that [K] does not have.
"""

from __future__ import annotations

# What the 8042 puts in the place of a byte in set 2: the ROM of the IBM AT's controller.  F0h it swallows, and sets
# bit 7 of the next.  Of the bytes from 80h on only 83h (F7) and 84h (SysRq) change.
XLAT = bytes.fromhex(
    "ff 43 41 3f 3d 3b 3c 58  64 44 42 40 3e 0f 29 59 "
    "65 38 2a 70 1d 10 02 5a  66 71 2c 1f 1e 11 03 5b "
    "67 2e 2d 20 12 05 04 5c  68 39 2f 21 14 13 06 5d "
    "69 31 30 23 22 15 07 5e  6a 72 32 24 16 08 09 5f "
    "6b 33 25 17 18 0b 0a 60  6c 34 35 26 27 19 0c 61 "
    "6d 73 28 74 1a 0d 62 6e  3a 36 1c 1b 75 2b 63 76 "
    "55 56 77 78 79 7a 0e 7b  7c 4f 7d 4b 47 7e 7f 6f "
    "52 53 50 4c 4d 48 01 45  57 4e 51 4a 37 49 46 54 "
) + bytes([0x80, 0x81, 0x82, 0x41, 0x54]) + bytes(range(0x85, 0x100))

SET2: dict[str, bytes] = {name: bytes.fromhex(code) for line in """
    esc 76  f1 05  f2 06  f3 04  f4 0c  f5 03  f6 0b  f7 83  f8 0a  f9 01  f10 09  f11 78  f12 07  scroll_lock 7e
    grave_accent 0e  1 16  2 1e  3 26  4 25  5 2e  6 36  7 3d  8 3e  9 46  0 45  minus 4e  equal 55  backspace 66
    tab 0d  q 15  w 1d  e 24  r 2d  t 2c  y 35  u 3c  i 43  o 44  p 4d  bracket_left 54  bracket_right 5b  backslash 5d
    caps_lock 58  a 1c  s 1b  d 23  f 2b  g 34  h 33  j 3b  k 42  l 4b  semicolon 4c  apostrophe 52  ret 5a
    shift 12  less 61  z 1a  x 22  c 21  v 2a  b 32  n 31  m 3a  comma 41  dot 49  slash 4a  shift_r 59
    ctrl 14  meta_l e01f  alt 11  spc 29  alt_r e011  meta_r e027  compose e02f  ctrl_r e014
    insert e070  home e06c  pgup e07d  delete e071  end e069  pgdn e07a  up e075  left e06b  down e072  right e074
    num_lock 77  kp_divide e04a  kp_multiply 7c  kp_subtract 7b  kp_7 6c  kp_8 75  kp_9 7d  kp_add 79  kp_4 6b  kp_5 73
    kp_6 74  kp_1 69  kp_2 72  kp_3 7a  kp_enter e05a  kp_0 70  kp_decimal 71  kp_equals 0f  kp_comma 6d
    ro 51  yen 6a  henkan 64  muhenkan 67  katakanahiragana 13
    power e037  sleep e03f  wake e05e  audionext e04d  audioprev e015  audiostop e03b  audioplay e034  audiomute e023
    volumeup e032  volumedown e021  mediaselect e050  mail e048  calculator e02b  computer e040
    ac_home e03a  ac_back e038  ac_forward e030  ac_refresh e020  ac_bookmarks e018  find e010  stop e028
    """.strip().splitlines() for name, code in zip(line.split()[::2], line.split()[1::2])}

SET3: dict[str, int] = {name: int(code, 16) for line in """
    esc 08  f1 07  f2 0f  f3 17  f4 1f  f5 27  f6 2f  f7 37  f8 3f  f9 47  f10 4f  f11 56  f12 5e
    print 57  scroll_lock 5f  pause 62
    grave_accent 0e  1 16  2 1e  3 26  4 25  5 2e  6 36  7 3d  8 3e  9 46  0 45  minus 4e  equal 55  backspace 66
    tab 0d  q 15  w 1d  e 24  r 2d  t 2c  y 35  u 3c  i 43  o 44  p 4d  bracket_left 54  bracket_right 5b  backslash 5c
    caps_lock 14  a 1c  s 1b  d 23  f 2b  g 34  h 33  j 3b  k 42  l 4b  semicolon 4c  apostrophe 52  ret 5a
    shift 12  less 13  z 1a  x 22  c 21  v 2a  b 32  n 31  m 3a  comma 41  dot 49  slash 4a  shift_r 59
    ctrl 11  alt 19  spc 29  alt_r 39  ctrl_r 58  meta_l 8b  meta_r 8c  compose 8d
    insert 67  home 6e  pgup 6f  delete 64  end 65  pgdn 6d  up 63  left 61  down 60  right 6a
    num_lock 76  kp_divide 77  kp_multiply 7e  kp_subtract 84  kp_7 6c  kp_8 75  kp_9 7d  kp_add 7c  kp_4 6b  kp_5 73
    kp_6 74  kp_1 69  kp_2 72  kp_3 7a  kp_enter 79  kp_0 70  kp_decimal 71
    """.strip().splitlines() for name, code in zip(line.split()[::2], line.split()[1::2])}

# Set 3 after power-on: the keys that tell of their release, and those that tell of their press only; the others repeat.
SHIFTS3 = frozenset(SET3[name] for name in ("shift", "shift_r", "ctrl", "alt", "caps_lock"))
MAKES3 = frozenset(SET3[name] for line in """
    esc f1 f2 f3 f4 f5 f6 f7 f8 f9 f10 f11 f12 print scroll_lock pause alt_r ctrl_r meta_l meta_r compose
    insert home pgup end pgdn num_lock kp_divide kp_multiply kp_subtract kp_7 kp_8 kp_9 kp_4 kp_5 kp_6 kp_1 kp_2 kp_3
    kp_enter kp_0 kp_decimal
    """.splitlines() for name in line.split())

ALIASES = {"sysrq": "print", "menu": "compose"}
NAMES = frozenset({*SET2, "print", "pause", *ALIASES})

# The keys between the two blocks: they dress as those of the keypad, with Shift and NumLock undone around them.
GREY = frozenset(("insert", "home", "pgup", "delete", "end", "pgdn", "up", "left", "down", "right"))


def set1(codes: bytes) -> bytes:
    """Bytes of set 2 as set 1 has them."""
    out, broke = bytearray(), 0
    for code in codes:
        if code == 0xF0:
            broke = 0x80
        else:
            out.append(XLAT[code] | broke)
            broke = 0
    return bytes(out)
