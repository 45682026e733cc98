from hypercall.partition.effects import RecordingEffects, TranslationFlush
from hypercall.partition.standalone import standalone_partition


def test_effects_are_kept_in_order() -> None:
    box = standalone_partition()
    vp = box.partition.bootstrap
    flush = TranslationFlush((vp,), 0, None)
    box.effects.flush_translations(flush)
    box.effects.yield_turn(vp)
    box.effects.nmi(vp, 0)
    assert [effect.name for effect in box.effects.effects] == [
        "flush_translations",
        "yield_turn",
        "nmi",
    ]
    assert box.effects.named("flush_translations") == [(flush,)]
    box.effects.clear()
    assert box.effects.effects == []


def test_registers_keep_what_is_written() -> None:
    effects = RecordingEffects(untouched=[(1, 2)])
    vp = standalone_partition().partition.bootstrap
    assert effects.read_register(vp, 0, 0x20000) == 0
    effects.write_register(vp, 0, 0x20000, 5)
    assert effects.read_register(vp, 0, 0x20000) == 5
    assert effects.read_register(vp, 1, 0x20000) == 0
    assert effects.untouched_ranges() == [(1, 2)]
