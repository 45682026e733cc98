; Stops of the extended calls.

stop_query_capabilities:
    @store OUTPUT, 0
    @call 0x8001, 0, OUTPUT
    mov eax, OUTPUT
    mov eax, [rax]
    and eax, 0x17
    @unless_equal eax, 0x17
    jmp seen

; Only what lies in the first 4 GiB is mapped.
stop_get_boot_zeroed_memory:
    @call 0x8002, 0, OUTPUT
    mov eax, OUTPUT
    @unless_equal ax, OUTPUT & 0xFFFF
    cmp qword ptr [rax], 0
    je unseen
    mov rsi, [rax + 8]
    mov rcx, [rax + 16]
    cmp rcx, 16
    jbe few_pages
    mov ecx, 16                         ; some of them will do
few_pages:
    shl rsi, 12
    shl rcx, 9
    mov rax, rsi
    shr rax, 32
    jnz seen
    cld
next_zero:
    lodsq
    test rax, rax
    jnz unseen
    sub rcx, 1
    jnz next_zero
    jmp seen

stop_memory_heat_hint:
    mov edi, DISCARDED
    mov dword ptr [rdi], 0x12345678
    @store INPUT, 2, DISCARDED
    @call 0x100008003, INPUT
    mov eax, DISCARDED
    @unless_equal dword ptr [rax], 0
    jmp seen

stop_memory_heat_hint_async:
    mov edi, DISCARDED_LATER
    mov dword ptr [rdi], 0x12345678
    @store INPUT, 2, DISCARDED_LATER
    @call 0x100008006, INPUT
    mov edi, DISCARDED_LATER
    xor esi, esi
    jmp wait_until

stop_epf_setup:
    @store PAGE_FAULT_QUEUE, -1, -1
    @store INPUT, 1, PAGE_FAULT_QUEUE >> 12, 1
    @call 0x8004, INPUT, OUTPUT
    mov eax, OUTPUT
    @unless_equal qword ptr [rax], 1
    mov eax, PAGE_FAULT_QUEUE
    @unless_equal qword ptr [rax], 0
    @unless_equal qword ptr [rax + 8], 0
    jmp seen
