"""The executor that trains: what `concurrent.futures` promises of one, and a thread that hangs. CPU, 0.1 s."""

import gc
import threading
import time
import weakref
from concurrent.futures import CancelledError, wait

import pytest

from ablate.engines.cohort.threads import TrainingThreads


def test_each_thread_is_prepared_once_and_there_are_no_more_than_asked_for() -> None:
    prepared: list[int] = []
    meet = threading.Barrier(3)

    def work(number: int) -> tuple[int, int]:
        if number < 3:
            meet.wait(30)
        return number, threading.get_ident()

    with TrainingThreads(3, lambda: prepared.append(threading.get_ident())) as pool:
        found = list(pool.map(work, range(12)))
    assert [number for number, _ in found] == list(range(12))
    assert len(prepared) == len(set(prepared)) == 3
    assert {thread for _, thread in found} <= set(prepared)


def test_what_is_raised_is_the_works_and_keeps_nothing() -> None:
    class Large:
        pass

    kept: list[weakref.ref[Large]] = []

    def fail() -> None:
        large = Large()
        kept.append(weakref.ref(large))
        raise MemoryError

    with TrainingThreads(1) as pool:
        gc.disable()
        try:
            with pytest.raises(MemoryError):
                pool.submit(fail).result()
            assert pool.submit(lambda: 3).result() == 3
            assert [one() for one in kept] == [None]
        finally:
            gc.enable()


def test_what_preparing_raises_is_raised_by_the_work() -> None:
    def prepare() -> None:
        raise OSError("no such device")

    with TrainingThreads(1, prepare) as pool, pytest.raises(OSError, match="no such device"):
        pool.submit(int).result()


def test_what_has_not_begun_can_be_cancelled() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def work() -> bool:
        begun.set()
        return go_on.wait(30)

    pool = TrainingThreads(1)
    first, second, third = pool.submit(work), pool.submit(int), pool.submit(int)
    assert begun.wait(30)
    assert second.cancel()
    go_on.set()
    assert first.result() is True
    assert third.result() == 0
    begun.clear(), go_on.clear()
    first, second = pool.submit(work), pool.submit(int)
    assert begun.wait(30)
    pool.shutdown(wait=False, cancel_futures=True)
    go_on.set()
    assert wait([first], 30).done == {first}
    with pytest.raises(CancelledError):
        second.result(0)
    with pytest.raises(RuntimeError, match="no more work"):
        pool.submit(int)


def test_one_that_hangs_is_not_waited_for_and_the_others_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TrainingThreads, "hanging", 0)
    free, begun, ended = threading.Event(), threading.Barrier(3), threading.Event()

    def work() -> None:
        begun.wait(30)
        time.sleep(0.2)
        ended.set()

    def hang() -> None:
        begun.wait(30)
        free.wait()

    with TrainingThreads(2) as pool:
        hanging, _ = pool.submit(hang), pool.submit(work)
        begun.wait(30)
        pool.leave([hanging])
        assert TrainingThreads.hanging == 1
    assert ended.is_set()
    assert not hanging.done()
    free.set()


def test_threads_of_one_pool_are_left_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """With another pool begun in between, as after each that hangs: it is charged with none of them."""
    monkeypatch.setattr(TrainingThreads, "hanging", 0)
    free, begun = threading.Event(), threading.Barrier(3)

    def hang() -> None:
        begun.wait(30)
        free.wait()

    first, second = TrainingThreads(2), TrainingThreads(2)
    hanging = [first.submit(hang) for _ in range(2)]
    begun.wait(30)
    try:
        TrainingThreads.leave(hanging[:1])
        worked = second.submit(time.sleep, 0.2)
        TrainingThreads.leave(hanging)
        assert TrainingThreads.hanging == 2
        ends = threading.Thread(target=first.shutdown, daemon=True)
        ends.start()
        ends.join(30)
        assert not ends.is_alive()
        second.shutdown()
        assert worked.done()
    finally:
        free.set()
