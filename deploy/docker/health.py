#!/opt/libmpc/bin/python -IS
"""Ask this container's service how it is: libmpc-health [ready|live]. Exit status 0 if well.

Imports as little as it can, since engines run it every few seconds.
"""

import os
import socket
import sys


def main() -> int:
    """Ask the health port, print what it says, and return the exit status."""
    what = sys.argv[1] if len(sys.argv) > 1 else "ready"
    prefix = f"LIBMPC_{os.environ.get('LIBMPC_IMAGE', 'party').upper()}"
    port = int(os.environ.get(f"{prefix}_HEALTH_PORT", "8081"))
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=3) as connection:
            request = f"GET /health/{what} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            connection.sendall(request.encode())
            answer = b""
            while piece := connection.recv(4096):
                answer += piece
    except OSError as error:
        sys.stdout.write(f"the service does not answer on port {port}: {error.strerror or error}\n")
        return 1
    status, _, rest = answer.partition(b"\r\n")
    sys.stdout.write(rest.rpartition(b"\r\n\r\n")[2].decode(errors="replace") + "\n")
    return 0 if status.split()[1:2] == [b"200"] else 1


if __name__ == "__main__":
    sys.exit(main())
