; Stops that send interrupts. Counts of APIC id 1 begin 0x400 behind those of APIC id 0.

stop_send_synthetic_cluster_ipi:
    mov r8, [OTHER_MASK]
    @call 0x1000B, IPI_VECTOR, r8
    mov edi, COUNTS + 0x400 + IPI_VECTOR * 4
    mov esi, 1
    jmp wait_until

; A sparse set of one bank.
stop_send_synthetic_cluster_ipi_ex:
    mov r10, [OTHER_MASK]
    @store INPUT, IPI_EX_VECTOR, 0, 1, r10
    @call 0x20015, INPUT
    mov edi, COUNTS + 0x400 + IPI_EX_VECTOR * 4
    mov esi, 1
    jmp wait_until

; The test device names its interrupt by address and data of a message, and sends it on demand.
stop_retarget_device_interrupt:
    mov edx, 0x3010
    xor eax, eax
    out dx, eax
    mov edx, 0x3014
    in eax, dx
    mov r9d, eax
    mov edx, 0x3018
    in eax, dx
    shl rax, 32
    or r9, rax
    mov edx, 0x301C
    in eax, dx
    mov r10d, eax
    mov r11, [OTHER_MASK]
    @store INPUT, -1, r10, 1, r9, 0, DEVICE_VECTOR, r11
    @call 0x7E, INPUT
    mov edx, 0x3014
    xor eax, eax
    out dx, eax
    mov edi, COUNTS + 0x400 + DEVICE_VECTOR * 4
    mov esi, 1
    jmp wait_until
