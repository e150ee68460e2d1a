from multiprocessing import Array, Process, Value


def change(number, array):
    number.value = 3.25
    for i in range(len(array)):
        array[i] = -array[i]


if __name__ == "__main__":
    number, array = Value("d", 0.0), Array("i", range(10))
    child = Process(target=change, args=(number, array))
    child.start()
    child.join()
    print(number.value)
    print(array[:])
