from multiprocessing import Pool, Process, Queue


def sum_of(first, last):
    return sum(n * n for n in range(first, last))


def work(parts, sums):
    while (part := parts.get()) is not None:
        sums.put(sum_of(*part))


if __name__ == "__main__":
    all_parts = [(n * 100, (n + 1) * 100) for n in range(1000)]
    with Pool(2) as pool:
        print("by map:", sum(pool.starmap(sum_of, all_parts)))

    parts, sums = Queue(), Queue()
    workers = [Process(target=work, args=(parts, sums)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for part in all_parts:
        parts.put(part)
    for _ in workers:
        parts.put(None)
    print("by a queue:", sum(sums.get() for _ in all_parts))
    for worker in workers:
        worker.join()
