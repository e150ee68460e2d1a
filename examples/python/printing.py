from multiprocessing import Lock, Process


def say(lock, n):
    with lock:
        print(f"process {n}: first line", flush=True)
        print(f"process {n}: second line", flush=True)


if __name__ == "__main__":
    lock = Lock()
    children = [Process(target=say, args=(lock, n)) for n in range(4)]
    for child in children:
        child.start()
    for child in children:
        child.join()
