from multiprocessing import Process, Queue


def produce(things):
    for n in range(1, 6):
        things.put(f"thing {n}")
    things.put(None)


def consume(things, total):
    n = 0
    while (thing := things.get()) is not None:
        print(f"got {thing}", flush=True)
        n += 1
    total.put(n)


if __name__ == "__main__":
    things, total = Queue(3), Queue()
    consumer = Process(target=consume, args=(things, total))
    producer = Process(target=produce, args=(things,))
    consumer.start()
    producer.start()
    n = total.get()
    producer.join()
    consumer.join()
    print(f"{n} things")
