from hypercall.report.timeline import MOST_LANES, MOST_SPANS, Timeline


def test_events_are_counted_where_they_happen() -> None:
    timeline = Timeline()
    for time_ns in (5000, 5001, 5000 + 1024, 5000 + 3 * 1024):
        timeline.count(3, "calls", time_ns)
    assert (timeline.start_ns, timeline.end_ns, timeline.width_ns) == (5000, 8072, 1024)
    assert timeline.lanes[3].counts == {"calls": [2, 1, 0, 1]}


def test_spans_double_until_the_run_has_room() -> None:
    timeline = Timeline()
    for time_ns in range(0, 1 << 30, 1 << 16):
        timeline.count(0, "calls", time_ns)
    values = timeline.lanes[0].counts["calls"]
    assert sum(values) == 1 << 14
    assert len(values) <= MOST_SPANS
    assert timeline.width_ns * MOST_SPANS >= 1 << 30
    assert set(values) == {8}


def test_one_event_far_away_takes_no_more_room() -> None:
    timeline = Timeline()
    timeline.count(0, "calls", 0)
    timeline.count(0, "calls", (1 << 64) - 1)
    assert sum(timeline.lanes[0].counts["calls"]) == 2
    assert len(timeline.lanes[0].counts["calls"]) <= MOST_SPANS


def test_times_are_shared_out_over_the_spans() -> None:
    timeline = Timeline()
    timeline.count(0, "calls", 0)
    timeline.spent(0, "resting", 1000, 3000)
    assert timeline.lanes[0].times == {"resting": [24, 1024, 952]}
    timeline.spent(0, "resting", 3000, 3000)
    timeline.spent(0, "resting", 10, 5)
    assert sum(timeline.lanes[0].times["resting"]) == 2000


def test_a_lane_begins_with_the_first_event() -> None:
    timeline = Timeline()
    timeline.saw(0, 100)
    timeline.saw(1, 5000)
    timeline.count(1, "calls", 6000)
    assert {vp: lane.first_ns for vp, lane in timeline.lanes.items()} == {0: 100, 1: 5000}
    assert (timeline.start_ns, timeline.end_ns) == (100, 6000)


def test_what_comes_too_early_counts_to_the_start() -> None:
    timeline = Timeline()
    timeline.count(0, "calls", 5000)
    timeline.count(0, "calls", 10)
    assert timeline.lanes[0].counts == {"calls": [2]}


def test_processors_without_end_have_no_lane() -> None:
    timeline = Timeline()
    for vp_index in range(MOST_LANES + 5):
        timeline.count(vp_index, "calls", 0)
    assert (len(timeline.lanes), timeline.left_out) == (MOST_LANES, 5)
