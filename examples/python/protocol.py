import socket
from multiprocessing import Pipe, Process, set_start_method


def talk(connection, answer):
    n = 0
    try:
        with connection, connection.makefile("rw", newline="\n") as file:
            for line in file:
                line = line.strip()
                if line == "exit":
                    print("bye", file=file, flush=True)
                    break
                print("ok", line, file=file, flush=True)
                n += 1
        answer.send(n)
    except ConnectionResetError:
        answer.send(None)


def serve(listener):
    connection, _ = listener.accept()
    ours, theirs = Pipe()
    child = Process(target=talk, args=(connection, theirs))
    child.start()
    connection.close()
    return child, ours


def ask(file, line):
    print(line, file=file, flush=True)
    return file.readline().strip()


def connect(address):
    client = socket.create_connection(address)
    return client, client.makefile("rw", newline="\n")


if __name__ == "__main__":
    # A forked child would keep the client's end open as well, and nothing would ever be reset.
    set_start_method("spawn")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        polite, polite_file = connect(listener.getsockname())
        polite_server, polite_lines = serve(listener)
        rude, rude_file = connect(listener.getsockname())
        rude_server, rude_lines = serve(listener)

        print(ask(polite_file, "hello"))
        print(ask(rude_file, "never mind"))
        print("and", file=rude_file, flush=True)
        rude.recv(1, socket.MSG_PEEK)
        rude_file.close()
        rude.close()
        n = rude_lines.recv()
        print("one has reset its connection" if n is None else f"one is gone after {n} lines")
        rude_server.join()
        print(ask(polite_file, "still there?"))
        print(ask(polite_file, "exit"))
        print(f"the other one had {polite_lines.recv()} lines")
        polite_server.join()
