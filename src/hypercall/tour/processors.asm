; Stops that are about processors and their registers.

; Two elements in, two out, in memory.
stop_get_vp_index_from_apic_id:
    @store INPUT, -1, 0, 0x0000000100000000
    @call 0x20000009A, INPUT, OUTPUT
    @unless_equal ax, 0
    mov eax, OUTPUT
    mov ecx, [rax]
    mov [OWN_INDEX], rcx
    mov ecx, [rax + 4]
    mov [OTHER_INDEX], rcx
    call compute_masks
    @read_msr 0x40000002
    @unless_equal rax, [OWN_INDEX]
    jmp seen

stop_get_vp_registers:
    @store INPUT, -1, 0xFFFFFFFE, 0x00040002
    @call 0x100000050, INPUT, OUTPUT
    mov ecx, OUTPUT
    mov rdx, cr3
    @unless_equal [rcx], rdx
    @unless_equal qword ptr [rcx + 8], 0
    jmp seen

stop_set_vp_registers:
    @store INPUT, -1, 0xFFFFFFFE, 0x00080002, 0, 0x123456789000, 0
    @call 0x100000051, INPUT
    @read_msr 0xC0000102
    movabs rdx, 0x123456789000
    @unless_equal rax, rdx
    jmp seen

stop_start_virtual_processor:
    mov rax, [OTHER_INDEX]
    mov r10, rax
    @store INPUT, -1, r10
    mov edi, INPUT + 16
    lea rsi, [rip + other_processor]
    mov edx, STACK_OTHER
    call write_context
    @call 0x99, INPUT
    lea rdi, [STARTED]
    mov esi, 1
    jmp wait_until

; A hint in the register form. The other processor counts its rounds.
stop_notify_long_spin_wait:
    mov rbx, [TURNS]
    @call 0x10008, 1
    @unless_equal qword ptr [STARTED], 1
    cmp rbx, [TURNS]
    jne seen
    jmp unseen

; The other processor takes interrupts, counts its rounds, and looks at the window when asked: the
; first byte goes to LOOK_OTHER. With COMMAND 1 it reloads CR3 before.
other_processor:
    mov r14d, VARIABLES
    @write_apic 0xF0, 0x1FF
    sti
    lock inc qword ptr [STARTED]
other_rests:
    pause
    inc qword ptr [TURNS]
    mov rbx, [STEP]
    cmp rbx, [STEP_DONE]
    je other_rests
    cmp qword ptr [COMMAND], 0
    je other_looks
    mov rax, cr3
    mov cr3, rax
other_looks:
    mov eax, WINDOW
    movzx eax, byte ptr [rax]
    mov [LOOK_OTHER], rax
    mov [STEP_DONE], rbx
    jmp other_rests
