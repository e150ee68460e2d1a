import os
from multiprocessing import Pipe, Process


def greet(name, answer):
    answer.send((f"hello, {name}", os.getpid()))


if __name__ == "__main__":
    ours, theirs = Pipe()
    child = Process(target=greet, args=("bob", theirs))
    child.start()
    text, pid = ours.recv()
    child.join()
    print(text)
    print(f"said by another process: {str(pid != os.getpid()).lower()}")
