from multiprocessing import Pipe, Process


def shout(end, other):
    # Without this the loop below would never end: the child has a copy of the other end, too.
    other.close()
    n = 0
    try:
        while True:
            end.send(end.recv().upper())
            n += 1
    except EOFError:
        print(f"{n} answers")


if __name__ == "__main__":
    ours, theirs = Pipe()
    child = Process(target=shout, args=(theirs, ours))
    child.start()
    theirs.close()
    for text in ["hello", "is anybody there?"]:
        ours.send(text)
        print(ours.recv() if ours.poll(30) else "no answer yet", flush=True)
    ours.close()
    child.join()
