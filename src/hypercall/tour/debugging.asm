; Stops that use the debug channel, at whose other end nobody needs to be.

stop_post_debug_data:
    @store INPUT, 4, 0x72756F74         ; "tour"
    @call 0x69, INPUT, OUTPUT
    mov eax, OUTPUT
    @unless_equal dword ptr [rax], 4
    jmp seen

stop_retrieve_debug_data:
    @store INPUT, 16, 0
    @call 0x6A, INPUT, OUTPUT
    jmp seen

stop_reset_debug_session:
    @call 0x1006B, 2
    @quiet_call 0x1006B, 2
    @unless_equal ax, 0x1B
    jmp seen
