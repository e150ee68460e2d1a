from multiprocessing import Manager, Pool, TimeoutError


def slow(n, go):
    go.wait()
    return n * n


if __name__ == "__main__":
    # An event of its own cannot travel in an argument of a pool: it takes a manager.
    with Manager() as manager, Pool(2) as pool:
        go = manager.Event()
        task = pool.apply_async(slow, (12, go))
        try:
            print("already:", task.get(0.01))
        except TimeoutError:
            print("not within 10 ms")
        go.set()
        print(task.get())
