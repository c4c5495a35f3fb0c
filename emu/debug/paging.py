"""A walk through the page tables in words, and what an access meets at its end."""

from __future__ import annotations

from typing import Any

from emu import x86
from emu.debug.state import State

TABLES = {"PML5E": "PML5 table", "PML4E": "PML4 table", "PDPTE": "page-directory-pointer table", "PDE": "page directory",
          "PTE": "page table"}


def steps(found: x86.Walk) -> list[str]:
    """One sentence for each entry that was read."""
    if found.mode == "none":
        return ["paging is off: the linear address is the physical one"]
    out = []
    for step in found.steps:
        words = f"{step.level} {step.index} at physical {step.address:#x} = {step.entry:#x}: "
        if step.fault == "not present":
            words += "not present (P = 0)" + (": the entry is empty" if step.entry == 0 else "")
        elif step.fault:
            words += f"a reserved bit is set ({step.reserved:#x})"
        else:
            words += rights(step.entry, step.level, found.mode) + (", maps the page" if step.leaf else "")
        out.append(words)
    if found.fault == "not canonical":
        out.append(f"{found.linear:#x} is not canonical: the bits above bit {47 if found.mode == '4-level' else 56} are not "
                   "all the same")
    elif found.physical is not None:
        out.append(f"physical address {found.physical:#x}")
    return out


def rights(entry: int, level: str, mode: str) -> str:
    """R/W, U/S and XD in words."""
    if mode == "PAE" and level == "PDPTE":
        return "present"
    words = ["writable" if entry & x86.WRITABLE else "read-only", "for all rings" if entry & x86.USER else "for rings 0-2"]
    if mode != "32-bit" and entry & x86.NX:
        words.append("no code (XD)")
    return ", ".join(words)


def access(state: State, linear: int, *, write: bool, user: bool, fetch: bool = False) -> dict[str, Any]:
    """The walk of an access as facts: what it met, in one word and in a sentence."""
    found = state.walk(linear)
    value = state.registers
    wrong, problem = "", ""
    if found.fault == "not canonical":
        wrong, problem = f"the address {linear:#x} is not canonical", "not-canonical"
    elif found.fault:
        step = found.steps[-1]
        what = "is not present" if found.fault == "not present" else "has a reserved bit set"
        table = step.address - step.index * _size(found)
        wrong = f"{step.level} {step.index} of the {TABLES[step.level]} at physical {table:#x} {what}"
        problem = "not-present" if found.fault == "not present" else "reserved-bit"
    elif found.mode != "none":
        code = x86.page_fault(found, write=write, user=user, fetch=fetch, cr0=value["cr0"], cr4=value["cr4"],
                              efer=value["efer"], ac=bool(value["rflags"] & 1 << 18))
        if code is not None:
            problem, wrong = _denied(state, found, write, user, fetch)
    return {"linear": found.linear, "mode": found.mode, "cr3": value["cr3"], "steps": steps(found), "fault": found.fault,
            "physical": found.physical, "problem": problem, "words": wrong,
            "entries": [{"level": step.level, "index": step.index, "address": step.address, "entry": step.entry,
                         "fault": step.fault} for step in found.steps]}


def _size(found: x86.Walk) -> int:
    return 4 if found.mode == "32-bit" else 8


def _denied(state: State, found: x86.Walk, write: bool, user: bool, fetch: bool) -> tuple[str, str]:
    where = next((step for step in found.steps if _refuses(step, found.mode, write, user)), found.steps[-1])
    entry = f"{where.level} {where.index}"
    if user and not found.user:
        return "supervisor-page", f"the page is not for ring 3: U/S = 0 in {entry}"
    if write and not found.writable:
        return "read-only-page", f"the page is read-only: R/W = 0 in {entry}" + ("" if user else ", and CR0.WP = 1")
    if fetch and not found.executable:
        return "no-execute-page", "the page holds no code: XD = 1"
    if fetch:
        return "smep", "ring 0 may not run code of ring 3's pages: CR4.SMEP = 1"
    return "smap", "ring 0 may not touch ring 3's pages: CR4.SMAP = 1 and EFLAGS.AC = 0"


def _refuses(step: x86.Step, mode: str, write: bool, user: bool) -> bool:
    if mode == "PAE" and step.level == "PDPTE":
        return False
    return bool((user and not step.entry & x86.USER) or (write and not step.entry & x86.WRITABLE))
