; What is printed, on the first serial port.

; Write the text at RSI, which a zero byte ends.
print:
    mov edx, 0x3F8
next_character:
    movzx eax, byte ptr [rsi]
    test al, al
    jz printed
    out dx, al
    inc rsi
    jmp next_character
printed:
    ret

; As print, and return the number of characters in RAX.
print_counted:
    push rsi
    call print
    mov rax, rsi
    pop rsi
    sub rax, rsi
    ret

; Write RCX spaces; none if it is not positive.
print_spaces:
    test rcx, rcx
    jle printed
    mov edx, 0x3F8
    mov al, 0x20
next_space:
    out dx, al
    sub rcx, 1
    jnz next_space
    ret

; Write RAX with as many digits as it has; the number of them in RAX.
print_hex:
    mov ecx, 16
    jmp print_number
print_decimal:
    mov ecx, 10
print_number:
    xor ebx, ebx
next_division:
    xor edx, edx
    div rcx
    push rdx
    inc ebx
    test rax, rax
    jnz next_division
    mov r9d, ebx
    lea rsi, [rip + digits]
next_digit:
    pop rax
    movzx eax, byte ptr [rsi + rax]
    mov edx, 0x3F8
    out dx, al
    sub ebx, 1
    jnz next_digit
    mov eax, r9d
    ret

; Who serves, and what this partition may do.
greet:
    @print tour_of
    mov eax, 0x40000000
    cpuid
    mov [RESULT], rbx
    mov [RESULT + 4], rcx
    mov [RESULT + 8], rdx               ; FAULT is not in use yet
    mov byte ptr [RESULT + 12], 0
    lea rsi, [RESULT]
    call print
    @print on_interface
    mov eax, 0x40000001
    cpuid
    mov [RESULT], rax
    mov byte ptr [RESULT + 4], 0
    lea rsi, [RESULT]
    call print
    @print with_privileges
    mov eax, 0x40000003
    cpuid
    shl rbx, 32
    or rax, rbx
    call print_hex
    @print ends_greeting
    ret

; One line about the stop at R15: call, result word, status, and what came of it.
report:
    mov rsi, [r15 + 8]
    call print
    cmp qword ptr [FAULT], -1
    jne report_fault
    test qword ptr [r15 + 24], NO_RESULT
    jnz report_switch
    mov rax, [RESULT]
    cmp rax, -1
    je report_nothing
    @print hex_prefix
    mov rax, [RESULT]
    call print_hex
    mov ecx, 12
    sub rcx, rax
    call print_spaces
    movzx eax, word ptr [RESULT]
    call print_status
    movzx eax, word ptr [RESULT]
    cmp eax, 2
    je report_missing
    cmp ax, word ptr [r15 + 24]
    jne report_failure
    jmp report_effect
report_switch:
    @print no_result
report_effect:
    cmp qword ptr [SEEN], 0
    je report_failure
    mov rsi, [r15 + 16]
    call print
    @print new_line
    ret
report_nothing:
    @print not_made
report_failure:
    @print did_not_happen
    mov rsi, [r15 + 16]
    call print
    @print new_line
    inc qword ptr [FAILURES]
    ret
report_missing:
    @print not_implemented
    inc qword ptr [FAILURES]
    ret
report_fault:
    @print exception_text
    mov rax, [FAULT]
    call print_decimal
    @print at_address
    mov rax, [FAULT_RIP]
    call print_hex
    @print new_line
    inc qword ptr [FAILURES]
    ret

; Write the name of the status in EAX, and spaces up to the next column.
print_status:
    lea rdi, [rip + statuses]
next_status:
    cmp qword ptr [rdi], -1
    je unknown_status
    cmp [rdi], rax
    je known_status
    add rdi, 16
    jmp next_status
unknown_status:
    lea rsi, [rip + question_mark]
    jmp write_status
known_status:
    mov rsi, [rdi + 8]
write_status:
    call print_counted
    mov ecx, 14
    sub rcx, rax
    call print_spaces
    ret

digits:
    .byte 0x30, 0x31, 0x32, 0x33, 0x34, 0x35, 0x36, 0x37
    .byte 0x38, 0x39, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66
@text tour_of, "All hypercalls of "
@text on_interface, ", interface "
@text with_privileges, ", privileges 0x"
@text ends_greeting, "\n\n"
@text hex_prefix, "0x"
@text no_result, "-             -             "
@text not_made, "-             not made      "
@text did_not_happen, "FAILED, this did not happen: "
@text not_implemented, "FAILED, it is not implemented\n"
@text exception_text, "-             -             FAILED, exception "
@text at_address, " at 0x"
@text question_mark, "?"
@text new_line, "\n"
@text all_well, "Every call did what it must.\n"
@text not_all_well, " calls did not do what they must.\n"
@text ended_by, "\nThe tour cannot go on after exception "
statuses:
    @statuses
