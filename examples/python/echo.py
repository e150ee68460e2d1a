import socket
from multiprocessing import Process


def serve(client):
    with client:
        while data := client.recv(1 << 16):
            client.sendall(data)


if __name__ == "__main__":
    with socket.create_server(("127.0.0.1", 0)) as listener:
        for text in ["one", "two", "three"]:
            client = socket.create_connection(listener.getsockname())
            connection, _ = listener.accept()
            server = Process(target=serve, args=(connection,))
            server.start()
            connection.close()
            client.sendall(text.encode())
            client.shutdown(socket.SHUT_WR)
            echo = b""
            while data := client.recv(1 << 16):
                echo += data
            client.close()
            server.join()
            print(f"{echo.decode()}: {len(echo)} bytes")
