from hypercall.machine.result import REASON_TEXTS, StopReason


def test_every_reason_has_words() -> None:
    assert set(REASON_TEXTS) == set(StopReason)
    assert len(set(REASON_TEXTS.values())) == len(StopReason)
