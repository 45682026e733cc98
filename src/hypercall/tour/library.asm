; What several stops need.

; Masks of VP indexes from OWN_INDEX and OTHER_INDEX.
compute_masks:
    mov eax, 1
    mov rcx, [OWN_INDEX]
    shl rax, cl
    mov [OWN_MASK], rax
    mov edx, 1
    mov rcx, [OTHER_INDEX]
    shl rdx, cl
    mov [OTHER_MASK], rdx
    or rax, rdx
    mov [BOTH_MASKS], rax
    ret

; Wait at most 20 ms of virtual time until the 4 bytes at RDI have the value ESI; 1 in EAX if so.
wait_until:
    rdtsc
    shl rdx, 32
    or rax, rdx
    lea r9, [rax + 20000000]
still_waiting:
    pause
    cmp [rdi], esi
    je seen
    rdtsc
    shl rdx, 32
    or rax, rdx
    cmp rax, r9
    jb still_waiting
    jmp unseen

; Read the register EDI of this processor and VTL by hypercall: the low half in RAX, -1 if it fails.
get_register:
    mov ebx, edi
    @store REGISTER_INPUT, -1, 0xFFFFFFFE, rbx
    @quiet_call 0x100000050, REGISTER_INPUT, REGISTER_OUTPUT
    test ax, ax
    jnz no_register
    mov eax, REGISTER_OUTPUT
    mov rax, [rax]
    ret
no_register:
    mov rax, -1
    ret

; Write RSI to the register EDI of this processor and VTL; the result word is in RAX.
set_register:
    mov ebx, edi
    mov r10, rsi
    @store REGISTER_INPUT, -1, 0xFFFFFFFE, rbx, 0, r10, 0
    @quiet_call 0x100000051, REGISTER_INPUT
    ret

; Put an initial context at RDI that starts at RSI with the stack RDX and this processor's tables.
write_context:
    mov r10, rdi
    mov r11, rsi
    mov r9, rdx
    lea rsi, [rip + initial_context]
    mov ecx, 28
    cld
    rep movsq
    mov [r10], r11
    mov [r10 + 8], r9
    mov ax, [IDT_POINTER]
    mov [r10 + 158], ax
    mov rax, [IDT_POINTER + 2]
    mov [r10 + 160], rax
    mov ax, [GDT_POINTER]
    mov [r10 + 174], ax
    mov rax, [GDT_POINTER + 2]
    mov [r10 + 176], rax
    @read_msr 0xC0000080
    mov [r10 + 184], rax
    mov rax, cr0
    mov [r10 + 192], rax
    mov rax, cr3
    mov [r10 + 200], rax
    mov rax, cr4
    mov [r10 + 208], rax
    ret

initial_context:
    @initial_context
