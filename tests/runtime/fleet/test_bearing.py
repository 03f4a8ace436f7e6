from stts_runtime.fleet.bearing import streams_in


def test_looks_take_half_of_the_time() -> None:
    assert streams_in(look_seconds=0.01, looks_per_second=2) == 25
    assert streams_in(look_seconds=0.02, looks_per_second=5) == 5


def test_a_slow_machine_bears_one_all_the_same() -> None:
    assert streams_in(look_seconds=3.0, looks_per_second=2) == 1
