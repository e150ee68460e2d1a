from multiprocessing import Event, Process, Queue


def wait(ready, answers):
    ready.wait()
    answers.put(("patient", ready.is_set()))


def wait_a_little(ready, looked, answers):
    came = ready.wait(0.01)
    looked.set()
    answers.put(("hasty", came))


if __name__ == "__main__":
    ready, looked, answers = Event(), Event(), Queue()
    children = [
        Process(target=wait, args=(ready, answers)),
        Process(target=wait_a_little, args=(ready, looked, answers)),
    ]
    for child in children:
        child.start()
    looked.wait()
    ready.set()
    came = dict(answers.get() for _ in children)
    for child in children:
        child.join()
    print("with a time limit:", "it came" if came["hasty"] else "it did not come in time")
    print("without:", "it came" if came["patient"] else "it did not come")
