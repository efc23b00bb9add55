"""Tasks for processes of their own, in a module that those can import."""

import os
import signal
import time
from pathlib import Path
from typing import Annotated, Any

from backstay.tasks import Cancel, Retry, Secret, Snooze, task

__all__ = ["Busy"]


class Busy:
    """Where no scan finds them: other tests' apps are not to know them."""

    @task(executor="process")
    def square(number: int) -> int:  # no method
        return number * number

    @task(executor="process")
    def where() -> int:
        return os.getpid()

    @task(executor="process", retry=Retry(attempts=1))
    def fail(text: str) -> None:  # no method
        raise LookupError(text)

    @task(executor="process", retry=Retry(attempts=2, base_s=0, jitter=False))
    def die(code: int) -> None:  # no method
        os._exit(code)

    @task(executor="process", retry=Retry(attempts=1))
    def killed() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    @task(executor="process", timeout=0.5, retry=Retry(attempts=1))
    def hang(note: str) -> None:  # no method
        Path(note).write_text(str(os.getpid()))
        while True:
            time.sleep(0.01)

    @task(executor="process")
    def long(note: str) -> None:  # no method
        Path(note).write_text(str(os.getpid()))
        while True:
            time.sleep(0.01)

    @task(executor="process")
    def decide(what: str) -> Any:  # no method
        match what:
            case "raise snooze":
                raise Snooze(3600)
            case "return snooze":
                return Snooze(3600)
            case "raise cancel":
                raise Cancel("gone")
            case _:
                return Cancel("gone")

    @task(executor="process", retry=Retry(attempts=1))
    def login(password: Annotated[str, Secret]) -> int:  # no method
        return len(password)
