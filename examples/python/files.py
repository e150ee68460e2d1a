import os
import tempfile
from multiprocessing import Pool


def write(path, lines):
    text = "".join(f"line {n}\n" for n in range(lines))
    with open(path, "w") as file:
        file.write(text)
    return len(text)


def count_lines(path):
    # An exception would end the whole map: what is wrong with one file has to be a value.
    try:
        with open(path) as file:
            return f"{sum(1 for _ in file)} lines"
    except OSError as error:
        return f"{error.strerror} (os error {error.errno})"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as directory, Pool(2) as pool:
        paths = [os.path.join(directory, f"{n}.txt") for n in range(1, 5)]
        print(sum(pool.starmap(write, zip(paths, [10, 200, 3000, 4]))), "bytes written")
        paths.append(os.path.join(directory, "none.txt"))
        for path, lines in zip(paths, pool.map(count_lines, paths)):
            print(f"{os.path.basename(path)}: {lines}")
