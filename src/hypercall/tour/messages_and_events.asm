; Stops that use the synthetic interrupt controller. The test device at port 0x3000 makes ports of
; this partition and connections to them: SINT, VP index << 8, command << 16, connection id << 24.

stop_post_message:
    @write_msr 0x40000083, MESSAGES + 1
    @write_msr 0x40000092, MESSAGE_VECTOR
    @write_msr 0x40000080, 1
    mov eax, [OWN_INDEX]
    shl eax, 8
    or eax, 0x10040002
    mov edx, 0x3000
    out dx, eax
    movabs r10, 0x6F6C6C6548            ; "Hello"
    @store INPUT, 0x10, 0x0000000500000001, r10
    @call 0x5C, INPUT
    mov edi, COUNTS + MESSAGE_VECTOR * 4
    mov esi, 1
    call wait_until
    test eax, eax
    jz unseen
    mov eax, MESSAGES + 0x200
    @unless_equal dword ptr [rax], 1
    @unless_equal byte ptr [rax + 4], 5
    movabs rdx, 0x6F6C6C6548
    @unless_equal [rax + 16], rdx
    jmp seen

stop_signal_event:
    @write_msr 0x40000082, EVENTS + 1
    @write_msr 0x40000093, EVENT_VECTOR
    mov eax, [OWN_INDEX]
    shl eax, 8
    or eax, 0x11060003
    mov edx, 0x3000
    out dx, eax
    @call 0x1005D, 0x11
    mov edi, COUNTS + EVENT_VECTOR * 4
    mov esi, 1
    call wait_until
    test eax, eax
    jz unseen
    mov eax, EVENTS + 0x300
    @unless_equal dword ptr [rax], 0x20000
    jmp seen
