"""For gdb on a Linux guest with what tools/vmlinux has made of its kernel: gdb -x tools/linux_gdb.py VMLINUX

kaslr             move the symbols to where the kernel runs, which the command line's "nokaslr" spares
$current()        the process that the chosen vCPU runs: print $current()->comm
$percpu(&NAME)    the chosen vCPU's own copy of a per-CPU variable: print *$percpu(&runqueues)
"""
import gdb

ALL_ONES = (1 << 64) - 1
PAGE_FAULT, GATE = 14, 16  # in the interrupt descriptor table
HANDLER = "asm_exc_page_fault"
STEP, MOST = 1 << 21, 1 << 30  # Linux, CONFIG_RANDOMIZE_BASE: by so many bytes, and by less than that


def number(expression):
    return int(gdb.parse_and_eval(f"(unsigned long) ({expression})")) & ALL_ONES


class Kaslr(gdb.Command):
    """Move the symbols to where the Linux kernel runs."""

    def __init__(self):
        super().__init__("kaslr", gdb.COMMAND_FILES)
        self.moved = 0

    def offset(self):
        """How far from its file's addresses the kernel runs: by what its page-fault handler's gate says."""
        gate = bytes(gdb.selected_inferior().read_memory(number("$idt_base") + PAGE_FAULT * GATE, GATE))
        handler = int.from_bytes(gate[0:2] + gate[6:12], "little")
        return handler - number(f"&{HANDLER}") + self.moved & ALL_ONES

    def invoke(self, argument, from_tty):
        try:
            offset = self.offset()
        except gdb.error as e:
            raise gdb.GdbError(f"kaslr: {e}") from None
        if offset % STEP or offset >= MOST:
            raise gdb.GdbError("kaslr: the kernel's own interrupt table is not in place yet, or this is another kernel")
        if offset != self.moved:
            gdb.execute(f"symbol-file -o {offset:#x} {gdb.current_progspace().filename}", to_string=True)
            self.moved = offset
        print(f"the kernel runs at its file's addresses + {offset:#x}")


def per_cpu(pointer):
    """GS base, or what SWAPGS has put away while a program runs."""
    base = number("$gs_base")
    base = base if base >> 63 else number("$k_gs_base")
    return gdb.Value(int(pointer) + base & ALL_ONES).cast(pointer.type)


class PerCpu(gdb.Function):
    """$percpu(POINTER): the chosen vCPU's own copy of a per-CPU variable."""

    def __init__(self):
        super().__init__("percpu")

    def invoke(self, pointer):
        return per_cpu(pointer)


class Current(gdb.Function):
    """$current(): the struct task_struct that the chosen vCPU runs."""

    def __init__(self):
        super().__init__("current")

    def invoke(self):
        try:
            pointer = gdb.parse_and_eval("&current_task")
        except gdb.error:
            pointer = gdb.parse_and_eval("&pcpu_hot.current_task")  # from 6.2 on
        return per_cpu(pointer).dereference()


Kaslr()
PerCpu()
Current()
