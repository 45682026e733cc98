; The first code, and the walk along the table of stops.
;
; R14 points at the variables everywhere, R15 at the current stop. A stop's routine makes its call,
; keeps the result word, and returns 1 in EAX if it has seen what must come of the call, else 0. It
; may lose every register but R14, R15 and RSP.

    cli
    mov r14d, VARIABLES
    mov esp, STACK
    call build_tables
    lidt [IDT_POINTER]
    @write_apic 0xF0, 0x1FF
    sti
    mov qword ptr [OTHER_INDEX], 1
    call compute_masks
    call greet
    call enable_hypercalls
    lea r15, [rip + stops]

next_stop:
    cmp qword ptr [r15], 0
    je end_of_tour
    mov qword ptr [RESULT], -1
    mov qword ptr [FAULT], -1
    mov [RECOVER_STACK], rsp
    lea rax, [rip + stop_faulted]
    mov [RECOVER], rax
    call qword ptr [r15]
    jmp stop_ended
stop_faulted:                           ; exceptions come here, the stack as above
    xor eax, eax
stop_ended:
    mov [SEEN], rax
    mov qword ptr [RECOVER], 0
    mov qword ptr [DEPTH], 0
    call report
    add r15, 32
    jmp next_stop

end_of_tour:
    @print new_line
    mov rax, [FAILURES]
    test rax, rax
    jnz some_failed
    @print all_well
    jmp leave_tour
some_failed:
    call print_decimal
    @print not_all_well
leave_tour:
    mov rax, [FAILURES]
    out 0xF4, eax
    cli
    hlt

; What every stop ends with.
seen:
    mov eax, 1
    ret
unseen:
    xor eax, eax
    ret

; The hypercall page does not lie in the image, and a direct call does not reach all addresses.
hypercall:
    mov eax, HYPERCALL_PAGE
    jmp rax

; The page appears where this VTL wants it; the guest's identity comes first.
enable_hypercalls:
    @write_msr 0x40000000, 0x8100000000000000
    @write_msr 0x40000001, HYPERCALL_PAGE + 1
    ret

; Gates to the handlers for all vectors that are used.
build_tables:
    mov edi, IDT
    lea rsi, [rip + vector_table]
    mov ecx, VECTOR_COUNT
next_gate:
    mov rax, [rsi]
    mov rdx, rax
    mov [rdi], ax
    mov word ptr [rdi + 2], CODE_SELECTOR
    mov word ptr [rdi + 4], 0x8E00
    shr rdx, 16
    mov [rdi + 6], dx
    shr rdx, 16
    mov [rdi + 8], rdx
    add rdi, 16
    add rsi, 8
    sub ecx, 1
    jnz next_gate
    mov word ptr [IDT_POINTER], VECTOR_COUNT * 16 - 1
    mov dword ptr [IDT_POINTER + 2], IDT
    mov dword ptr [IDT_POINTER + 6], 0
    sgdt [GDT_POINTER]
    ret

stops:
    @stops
