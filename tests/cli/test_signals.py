import os
import signal

import pytest

from hypercall.cli.signals import StopSignals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_asks_and_is_remembered(number: int) -> None:
    asked: list[str] = []
    signals = StopSignals()
    before = signal.getsignal(number)
    with signals.ask(lambda: asked.append("stop")):
        os.kill(os.getpid(), number)
    assert asked == ["stop"]
    assert signals.received == number
    assert signal.getsignal(number) is before


def test_the_second_signal_insists() -> None:
    signals = StopSignals()
    before = signal.getsignal(signal.SIGINT)

    def kill_twice() -> None:
        with signals.ask(lambda: None):
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        kill_twice()
    assert signals.received == signal.SIGTERM
    assert signal.getsignal(signal.SIGINT) is before
