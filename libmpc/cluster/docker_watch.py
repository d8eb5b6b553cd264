"""Containers kept company: their output, their ends, and their end when this process ends.

Each container's standard input is a connection that this process holds open. When the process ends,
however it does, the engine closes it, and the service inside stops, as with ``lifeline``.
"""

from __future__ import annotations

import contextlib
import importlib
import threading
from typing import Any

from libmpc.cluster.child import Report

_RETRY_SECONDS = 0.3


class Watch:
    """Starts one container and stays with it until it is told to stop.

    Args:
        name: what people call it.
        container: made with ``stdin_open``, not started.
        report: told of what it prints, and of every end.
    """

    def __init__(self, name: str, container: Any, report: Report) -> None:
        self.name = name
        self.container = container
        self._report = report
        self._stopping = threading.Event()
        self._sockets: Any = importlib.import_module("docker.utils.socket")
        self._failure: Any = importlib.import_module("docker.errors").DockerException
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the container; the engine starts it again whenever it fails."""
        stream = self._attach()
        self.container.start()
        self._report(self.name, f"started (container {self.container.name})")
        self._thread = threading.Thread(
            target=self._run, args=(stream,), name=f"watch {self.name}", daemon=True
        )
        self._thread.start()

    def stop(self, timeout: int) -> None:
        """Stop the container, which is killed after ``timeout`` seconds."""
        self._stopping.set()
        with contextlib.suppress(self._failure, OSError):
            self.container.stop(timeout=timeout)

    def join(self, timeout: float) -> None:
        """Wait until nothing more is reported."""
        if self._thread is not None:
            self._thread.join(timeout)

    @property
    def pid(self) -> int | None:
        """The process on the engine's machine; ``None`` while there is none."""
        try:
            self.container.reload()
        except (self._failure, OSError):
            return None
        return int(self.container.attrs["State"]["Pid"]) or None

    def log(self, lines: int) -> str:
        """The end of what it has printed."""
        try:
            return str(self.container.logs(tail=lines).decode(errors="replace"))
        except (self._failure, OSError):
            return ""

    def _attach(self) -> Any:
        wanted = {"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1}
        return self.container.attach_socket(params=wanted)

    def _run(self, stream: Any) -> None:
        while True:
            self._read(stream)
            if self._stopping.is_set():
                return
            self._report(self.name, "ended; the engine starts it again")
            again = self._again()
            if again is None:
                return
            stream = again

    def _again(self) -> Any:
        while not self._stopping.wait(_RETRY_SECONDS):
            with contextlib.suppress(self._failure, OSError):
                self.container.reload()
                if self.container.status == "running":
                    return self._attach()
        return None

    def _read(self, stream: Any) -> None:
        rest = b""
        # The SDK hands out a file over the socket, whose close() leaves the socket open.
        socket = getattr(stream, "_sock", None)
        try:
            for _, piece in self._sockets.frames_iter(stream, tty=False):
                *lines, rest = (rest + piece).split(b"\n")
                for line in lines:
                    self._report(self.name, line.decode(errors="replace").rstrip())
        except OSError:
            pass
        finally:
            for part in (stream, socket):
                with contextlib.suppress(OSError):
                    if part is not None:
                        part.close()
