"""Every form, in the order of the table."""

from __future__ import annotations

from emu.cost import forms, languages
from emu.cost.forms import Form
from emu.cost.runc import Runc

FORMS: tuple[type[Form], ...] = (
    forms.Native, Runc, forms.Namespaces, forms.Bare, forms.LinuxGuest, forms.TracedBlocks, forms.TracedInsns,
    forms.TracedMemory, forms.Hooked, forms.Qemu, forms.QemuIcount, forms.Kvm, languages.Java, languages.JavaCompiled,
    forms.CPython, languages.Ruby, languages.RubyJit, languages.WebAssembly)
