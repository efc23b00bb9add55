"""Who may run now: held against a model."""

from collections import deque
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from backstay import Backstay, Origin
from backstay.tasks import Cancelled, Task, TaskConfig
from backstay.tasks.lanes import Lanes, Pending


class LanesMachine(RuleBasedStateMachine):
    """Tasks enter, leave and are cancelled; limits hold, order is kept, nobody is forgotten."""

    @initialize(max_running=st.none() | st.integers(1, 4))
    def make(self, max_running: int | None) -> None:
        self.max_running = max_running
        self.running: list[Task] = []
        self.waiting: dict[Any, deque[Task]] = {}
        self.pending = Pending()
        self.lanes = Lanes(max_running, self.start, self.pending)
        self.parent = Backstay().open(Origin.SCRIPT)

    def start(self, task: Task) -> None:
        key = task.config.limit_key
        queue = self.waiting[key]
        while queue[0].outcome is not None:
            queue.popleft()
        assert queue.popleft() is task, "tasks of one key start in the order they came"
        self.running.append(task)

    @rule(limit=st.integers(1, 3), key=st.sampled_from("abc"))
    def enter(self, limit: int, key: str) -> None:
        config = TaskConfig(limit=limit, limit_key=key)
        task: Task = Task(print, (), {}, config, None, self.parent)  # type: ignore[arg-type]  # never run
        self.waiting.setdefault(key, deque()).append(task)
        self.lanes.enter(task)

    @precondition(lambda self: self.running)
    @rule(which=st.integers(0, 100))
    def leave(self, which: int) -> None:
        self.lanes.leave(self.running.pop(which % len(self.running)))

    @precondition(lambda self: any(self.waiting.values()))
    @rule(which=st.integers(0, 100))
    def cancel(self, which: int) -> None:
        candidates = [task for queue in self.waiting.values() for task in queue]
        candidates[which % len(candidates)].outcome = Cancelled("by the test")

    @invariant()
    def limits_hold(self) -> None:
        if self.max_running is not None:
            assert len(self.running) <= self.max_running
        for key in "abc":
            mine = [task for task in self.running if task.config.limit_key == key]
            for index, task in enumerate(mine):
                assert task.config.limit is not None
                assert index < task.config.limit, "it started beside too many of its kind"

    @invariant()
    def nobody_waits_for_nothing(self) -> None:
        if not self.running:
            alive = [t for queue in self.waiting.values() for t in queue if t.outcome is None]
            assert not alive
            assert self.pending.count == 0

    def teardown(self) -> None:
        while self.running:
            self.lanes.leave(self.running.pop())
        assert not any(t.outcome is None for queue in self.waiting.values() for t in queue)
        assert self.pending.count == 0
        assert not self.lanes._lanes, "lanes exist only while they hold a task"


LanesMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestLanes = LanesMachine.TestCase
