; Stops of a hypervisor that would run in this partition.

stop_flush_guest_physical_address_space:
    @call 0x100AF, 0x500000
    jmp seen

stop_flush_guest_physical_address_list:
    @store INPUT, 0x500000, 0, 0x1000, 0x2001
    @call 0x2000000B0, INPUT
    @unless_equal dword ptr [RESULT + 4], 2
    jmp seen
