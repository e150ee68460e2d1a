from multiprocessing import Pool


def square(n):
    return n * n


def product(a, b):
    return a * b


if __name__ == "__main__":
    with Pool(4) as pool:
        print(pool.map(square, range(10)))
        print(pool.starmap(product, [(1, 2), (3, 4), (5, 6)]))
        print(sorted(pool.imap_unordered(square, range(5))))
