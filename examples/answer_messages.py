"""Be the other end of a guest's messages: take one that it posts, and answer into its SynIC.

The guest of 120 bytes posts "hello" to connection 0x1234, waits until something lies in the message
slot of SINT 2, and returns the length of what it got.

Usage: python examples/answer_messages.py
"""

from hypercall import Machine, MachineConfiguration
from hypercall.partition.ports import PostedMessage

GUEST = bytes.fromhex(
    "53"  # push rbx
    "b900000040 b801000000 ba00000081 0f30"  # wrmsr GUEST_OS_ID, 0x8100000000000001
    "b901000040 b801002000 31d2 0f30"  # wrmsr HYPERCALL, page at 0x200000, enabled
    "b983000040 b801102000 0f30"  # wrmsr SIMP, message page at 0x201000, enabled
    "b992000040 b800000400 0f30"  # wrmsr SINT2, polled: no interrupt
    "b980000040 b801000000 0f30"  # wrmsr SCONTROL, enabled
    "bf00002100 48c70734120000"  # at 0x210000: connection 0x1234
    "c7470801000000 c7470c05000000"  # type 1, 5 bytes
    "c7471068656c6c c647146f"  # "hello"
    "b95c000000 89fa 4531c0 bb00002000 ffd3"  # HvCallPostMessage
    "bf00122000 f390 833f00 74f9"  # wait for a message in the slot of SINT 2
    "0fb64704"  # its length
    "5b c3"  # pop rbx; ret
)


def main() -> None:
    """Answer in capitals, and look at what the guest made of it."""
    machine = Machine(MachineConfiguration(memory=16 << 20))
    machine.load(GUEST, image_format="flat")
    port = machine.port(0x1234, sint=2)

    @port.on_message
    def answer(message: PostedMessage) -> None:
        text = message.payload.decode()
        print(f"VP {message.vp_index} in VTL {message.vtl} posts {text!r}")
        port.post(message.message_type, f"{text.upper()}, guest".encode())

    result = machine.run(limit_ns=1_000_000_000)
    print(f"ended with {result.reason.name}: the guest got {result.exit_code} bytes")


if __name__ == "__main__":
    main()
