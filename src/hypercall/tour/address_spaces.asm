; Stops that are about translations.

; CR3 becomes a copy of the root table, which leads to the same tables below.
stop_switch_virtual_address_space:
    call make_stale
    test eax, eax
    jz unseen
    mov rax, cr3
    mov [OLD_CR3], rax
    mov rsi, rax
    mov edi, ROOT_COPY
    mov ecx, 512
    cld
    rep movsq
    @call 0x10001, ROOT_COPY
    mov rdx, cr3
    mov eax, WINDOW
    movzx ebx, byte ptr [rax]           ; by the stale translation
    mov rax, [OLD_CR3]
    mov cr3, rax
    @unless_equal rdx, ROOT_COPY
    @unless_equal ebx, 0x11
    mov eax, WINDOW
    @unless_equal byte ptr [rax], 0x22
    jmp seen

stop_flush_virtual_address_space:
    call make_stale
    test eax, eax
    jz unseen
    mov r9, cr3
    mov r10, [BOTH_MASKS]
    @store INPUT, r9, 0, r10
    @call 0x2, INPUT
    jmp both_see_new

stop_flush_virtual_address_list:
    call make_stale
    test eax, eax
    jz unseen
    mov r9, cr3
    mov r10, [BOTH_MASKS]
    @store INPUT, r9, 0, r10, WINDOW
    @call 0x100000003, INPUT
    jmp both_see_new

stop_flush_virtual_address_space_ex:
    call make_stale
    test eax, eax
    jz unseen
    mov r9, cr3
    mov r10, [BOTH_MASKS]
    @store INPUT, r9, 0, 0, 1, r10
    @call 0x20013, INPUT
    jmp both_see_new

; Address space and flags in RDX and R8, format and banks' mask in XMM0, bank and range in XMM1.
stop_flush_virtual_address_list_ex:
    call make_stale
    test eax, eax
    jz unseen
    mov r10, [BOTH_MASKS]
    @store INPUT, 0, 1, r10, WINDOW
    movdqu xmm0, [rdi]
    movdqu xmm1, [rdi + 16]
    mov rdx, cr3
    @call 0x100030014, rdx, 0
both_see_new:
    mov bl, 0x22
    jmp both_see

; What the tables say now, while the processor still reads by the translation that it remembers.
stop_translate_virtual_address:
    call make_stale
    test eax, eax
    jz unseen
    @store INPUT, -1, 0xFFFFFFFE, 3, WINDOW >> 12
    @call 0x52, INPUT, OUTPUT
    mov ecx, OUTPUT
    @unless_equal dword ptr [rcx], 0
    @unless_equal qword ptr [rcx + 8], NEW_PAGE >> 12
    mov eax, WINDOW
    @unless_equal byte ptr [rax], 0x11
    jmp seen

; Let both processors have a translation of the window to the old page, then change the table; 1 in
; EAX if both still see the old page.
make_stale:
    mov edi, OLD_PAGE
    mov byte ptr [rdi], 0x11
    mov edi, NEW_PAGE
    mov byte ptr [rdi], 0x22
    mov rax, cr3                        ; the tables of the loader, one entry of each level
    mov rax, [rax]
    and rax, -0x1000
    mov rax, [rax]
    and rax, -0x1000
    mov edi, WINDOW_TABLE
    lea rdx, [rdi + 3]
    mov [rax + (WINDOW >> 21) * 8], rdx
    mov qword ptr [rdi], OLD_PAGE + 3
    mov rax, cr3
    mov cr3, rax
    mov qword ptr [COMMAND], 1
    mov bl, 0x11
    call both_see
    mov qword ptr [COMMAND], 0
    test eax, eax
    jz unseen
    mov edi, WINDOW_TABLE
    mov qword ptr [rdi], NEW_PAGE + 3
    mov bl, 0x11
    jmp both_see

; 1 in EAX if both processors read BL from the window.
both_see:
    mov qword ptr [LOOK_OTHER], 0
    @unless_equal qword ptr [STARTED], 1
    inc qword ptr [STEP]
    lea rdi, [STEP_DONE]
    mov rsi, [STEP]
    call wait_until
    mov eax, WINDOW
    @unless_equal byte ptr [rax], bl
    @unless_equal byte ptr [LOOK_OTHER], bl
    jmp seen
