from multiprocessing import Process, Value


def count(locked, other):
    for _ in range(1000):
        with locked.get_lock():
            locked.value += 1
        with other.get_lock():
            other.value += 1


if __name__ == "__main__":
    # There are no atomics: the second number needs its lock as well.
    locked, other = Value("Q", 0), Value("Q", 0)
    children = [Process(target=count, args=(locked, other)) for _ in range(10)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    print(f"{locked.value} under a lock, {other.value} without")
