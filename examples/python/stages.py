from multiprocessing import Process, Queue, Value


def produce(lines, n):
    for i in range(n):
        lines.put("word " * (i % 7))
    lines.put(None)


def count(lines, counts):
    while (line := lines.get()) is not None:
        counts.put(len(line.split()))
    counts.put(None)


def collect(counts, deepest, total):
    while (n := counts.get()) is not None:
        deepest.value = max(deepest.value, counts.qsize())
        total.value += n


if __name__ == "__main__":
    lines, counts = Queue(4), Queue(4)
    deepest, total = Value("Q", 0), Value("Q", 0)
    stages = [
        Process(target=collect, args=(counts, deepest, total)),
        Process(target=count, args=(lines, counts)),
        Process(target=produce, args=(lines, 10_000)),
    ]
    for stage in stages:
        stage.start()
    for stage in stages:
        stage.join()
    print(f"{total.value} words, never more than 4 counts waiting: {str(deepest.value <= 4).lower()}")
