; Stops that are about virtual trust levels, and what runs in VTL 1 and VTL 2.
;
; The levels share the general registers. VTL 1 gives back those that it uses, and does what REQUEST
; says when it is called. DEPTH is not 0 while it runs.

stop_enable_partition_vtl:
    @call 0x1000D, -1, 1
    mov edi, 0x000D0004
    call get_register
    bt rax, 1
    jc not_failed
    jmp unseen
not_failed:
    cmp rax, -1
    jne seen
    jmp unseen

stop_enable_vp_vtl:
    @store INPUT, -1, 0x00000001FFFFFFFE
    mov edi, INPUT + 16
    lea rsi, [rip + vtl1]
    mov edx, STACK_1
    call write_context
    @call 0xF, INPUT
    mov edi, 0x000D0003
    call get_register
    @unless_equal eax, 0x00030000
    jmp seen

stop_vtl_call:
    mov edi, 0x000D0002                 ; where in the page the two entry points are
    call get_register
    cmp rax, -1
    je unseen
    mov rcx, rax
    and eax, 0xFFF
    add rax, HYPERCALL_PAGE
    mov [VTL_CALL], rax
    shr ecx, 12
    and ecx, 0xFFF
    add rcx, HYPERCALL_PAGE
    mov [VTL_RETURN], rcx
    call call_vtl
    @unless_equal qword ptr [VTL1_ENTRIES], 1
    @unless_equal dword ptr [VTL1_STATUS], 0x00030001
    jmp seen

stop_vtl_return:
    mov qword ptr [REQUEST], 1
    call call_vtl_if_there
    movabs rdx, 0x1111222233334444
    @unless_equal rax, rdx
    movabs rdx, 0x5555666677778888
    @unless_equal rcx, rdx
    jmp seen

stop_modify_vtl_protection_mask:
    mov qword ptr [REQUEST], 2
    call call_vtl_if_there
    mov edi, PROTECTED
    mov eax, 0x1234
    mov ecx, 0x5678
    mov dword ptr [rdi], 0x600D         ; VTL 1 is entered here, and then it is done once more
    @unless_equal eax, 0x1234
    @unless_equal ecx, 0x5678
    @unless_equal qword ptr [INTERCEPTS], 1
    @unless_equal dword ptr [rdi], 0x600D
    jmp seen

; VTL 1 enables VTL 2 and calls it; VTL 2 takes VTL 1 away and returns, to here.
stop_disable_vp_vtl:
    mov qword ptr [DISABLE_VP_RESULT], -1
    mov qword ptr [DISABLE_PARTITION_RESULT], -1
    mov qword ptr [REQUEST], 3
    push r15
    call call_vtl_if_there
    pop r15
    mov rax, [DISABLE_VP_RESULT]
    mov [RESULT], rax
    mov edi, 0x000D0003
    call get_register
    @unless_equal eax, 0x00050000
    jmp seen

stop_disable_partition_vtl:
    mov rax, [DISABLE_PARTITION_RESULT]
    mov [RESULT], rax
    mov edi, 0x000D0004
    call get_register
    and eax, 0xFFFF
    @unless_equal eax, 5
    jmp seen

; Enter the next higher VTL through the hypercall page.
call_vtl_if_there:
    cmp qword ptr [VTL1_ENTRIES], 1
    je call_vtl
    add rsp, 8                          ; the stop ends here
    jmp unseen
call_vtl:
    xor ecx, ecx
    jmp qword ptr [VTL_CALL]

; --- VTL 1 ---

vtl1:
    mov r14d, VARIABLES
    mov qword ptr [DEPTH], 1
    push rbx
    push rdi
    call enable_hypercalls
    @write_apic 0xF0, 0x1FF
    @write_msr 0x40000073, ASSIST_1 + 1
    @write_msr 0x40000083, MESSAGES_1 + 1
    @write_msr 0x40000090, INTERCEPT_VECTOR
    @write_msr 0x40000080, 1
    mov edi, 0x000D0003
    call get_register
    mov [VTL1_STATUS], rax
    inc qword ptr [VTL1_ENTRIES]
    pop rdi
    pop rbx
    mov ecx, 1                          ; a fast return: RAX and RCX need not come back
vtl1_returns:
    mov qword ptr [DEPTH], 0
    call qword ptr [VTL_RETURN]
    ; Entered again. RAX and RCX are those of VTL 0, and shall be so when it goes on.
    mov qword ptr [DEPTH], 1
    push rbx
    mov ebx, ASSIST_1
    mov [rbx + 16], rax
    mov [rbx + 24], rcx
    push rdx
    push rsi
    push rdi
    push r8
    push r9
    push r10
    push r11
    cmp dword ptr [rbx + 8], 1          ; the reason: 1 is a call
    jne vtl1_intercepts
    cmp qword ptr [REQUEST], 1
    je vtl1_gives_registers
    cmp qword ptr [REQUEST], 2
    je vtl1_protects
    cmp qword ptr [REQUEST], 3
    je vtl1_calls_vtl2
vtl1_done:
    pop r11
    pop r10
    pop r9
    pop r8
    pop rdi
    pop rsi
    pop rdx
    pop rbx
    xor ecx, ecx
    jmp vtl1_returns

vtl1_gives_registers:
    movabs rax, 0x1111222233334444
    mov [rbx + 16], rax
    movabs rax, 0x5555666677778888
    mov [rbx + 24], rax
    jmp vtl1_done

; Protections must be enabled before pages can be protected; the default allows everything.
vtl1_protects:
    mov edi, 0x000D0007
    mov esi, 0x1F
    call set_register
    @store INPUT, -1, 0xD, PROTECTED >> 12
    @call 0x10000000C, INPUT
    jmp vtl1_done

; The message says which page was written to. VTL 1 allows it, and takes the message's interrupt.
vtl1_intercepts:
    mov esi, MESSAGES_1
    cmp dword ptr [rsi], -0x7FFFFFFF
    jne vtl1_done
    mov rax, [rsi + 72]
    shr rax, 12
    cmp rax, PROTECTED >> 12
    jne vtl1_done
    cmp byte ptr [rsi + 21], 1
    jne vtl1_done
    inc qword ptr [INTERCEPTS]
    @store INPUT, -1, 0xF, PROTECTED >> 12
    @quiet_call 0x10000000C, INPUT
    mov esi, MESSAGES_1
    mov dword ptr [rsi], 0
    sti
    nop
    nop
    cli
    jmp vtl1_done

vtl1_calls_vtl2:
    @quiet_call 0x1000D, -1, 2
    test ax, ax
    jnz vtl1_done
    @store INPUT, -1, 0x00000002FFFFFFFE
    mov edi, INPUT + 16
    lea rsi, [rip + vtl2]
    mov edx, STACK_2
    call write_context
    @quiet_call 0xF, INPUT
    test ax, ax
    jnz vtl1_done
    call call_vtl
    jmp vtl1_done                       ; nobody returns to VTL 1 if VTL 2 did its work

; --- VTL 2 ---

vtl2:
    call enable_hypercalls
    @quiet_call 0x10010, -1, 0x00000001FFFFFFFE
    mov [DISABLE_VP_RESULT], rax
    @quiet_call 0x1000E, -1, 1
    mov [DISABLE_PARTITION_RESULT], rax
    mov qword ptr [DEPTH], 0
    mov ecx, 1
    call qword ptr [VTL_RETURN]
