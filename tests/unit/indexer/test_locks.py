import threading

from services.indexer.locks import ReadWriteLock


def test_readers_share_and_the_writer_is_alone_and_goes_first() -> None:
    lock = ReadWriteLock()
    order: list[str] = []
    two_inside = threading.Barrier(2, timeout=10)
    writer_waits, may_leave = threading.Event(), threading.Event()

    def reader() -> None:
        with lock.read():
            two_inside.wait()  # breaks if readers keep each other out
            may_leave.wait(10)
            order.append("reader")

    def writer() -> None:
        writer_waits.set()
        with lock.write():
            order.append("writer")

    def late_reader() -> None:
        with lock.read():
            order.append("late reader")

    threads = [threading.Thread(target=reader) for _ in range(2)]
    for thread in threads:
        thread.start()
    writing = threading.Thread(target=writer)
    writing.start()
    writer_waits.wait(10)
    while not lock._writing:  # the writer has asked: who comes now comes after it
        pass
    late = threading.Thread(target=late_reader)
    late.start()
    may_leave.set()
    for thread in [*threads, writing, late]:
        thread.join(10)
    assert order == ["reader", "reader", "writer", "late reader"]
