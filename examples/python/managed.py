from multiprocessing import Manager, Process


def change(groups, numbers):
    groups["odd"] = [1, 3]
    # What `groups["odd"]` gives is a copy: an append to it would be lost, so it has to be put back.
    group = groups["odd"]
    group.append(5)
    groups["odd"] = group
    numbers.append(10)
    numbers[0] += 100


if __name__ == "__main__":
    with Manager() as manager:
        groups, numbers = manager.dict(), manager.list([1, 2, 3])
        child = Process(target=change, args=(groups, numbers))
        child.start()
        child.join()
        print(groups["odd"])
        print(numbers[:])
