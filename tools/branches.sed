# An assembler source of the compiler's: prefixes of CS:, which mean nothing here, before each indirect branch that would be
# shorter than five bytes, so that another branch fits into its place (arch/x86/branches.h). A symbol in the operand takes
# four bytes itself.
s/^\t(call|jmp)\t\*(%r[0-9]|-?[0-9]+\()/\t.byte 0x2e, 0x2e\n&/
t
s/^\t(call|jmp)\t\*[(%]/\t.byte 0x2e, 0x2e, 0x2e\n&/
