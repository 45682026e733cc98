; Handlers of exceptions and interrupts, on all processors and in all VTLs.

; An exception at a stop ends the stop. One in a higher VTL ends the tour.
exception:
    mov r14d, VARIABLES
    pop rax
    mov [FAULT], rax
    mov rbx, [rsp + 8]
    mov [FAULT_RIP], rbx
    cmp qword ptr [DEPTH], 0
    jne fatal
    cmp qword ptr [RECOVER], 0
    je fatal
    mov rsp, [RECOVER_STACK]
    sti
    jmp qword ptr [RECOVER]

unexpected_interrupt:
    mov qword ptr [FAULT], -2
fatal:
    @print ended_by
    mov rax, [FAULT]
    call print_decimal
    @print at_address
    mov rax, [FAULT_RIP]
    call print_hex
    @print new_line
    mov eax, 0xFF
    out 0xF4, eax
    cli
    hlt

; An interrupt is counted by APIC id and vector.
interrupt:
    push rax
    push rbx
    push rcx
    push rdx
    mov eax, 1
    cpuid
    shr ebx, 24
    shl ebx, 8
    mov rcx, [rsp + 32]
    add ebx, ecx
    mov eax, COUNTS
    lock inc dword ptr [rax + rbx * 4]
    @write_apic 0xB0, 0
    pop rdx
    pop rcx
    pop rbx
    pop rax
    add rsp, 8
    iretq

@exception_stubs
@interrupt_stubs
vector_table:
    @vector_table
