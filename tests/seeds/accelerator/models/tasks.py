from sqlalchemy import Column, DateTime, ForeignKey, Integer, String
from sqlalchemy.orm import relationship

from tests.seeds.accelerator.core.db import DatabaseManager

__all__ = ["Measurement", "Task", "TaskExecution", "TaskUser"]


class TaskUser(DatabaseManager.Base):
    """Who works on what."""

    __tablename__ = "task_users"

    task_id = Column(ForeignKey("tasks.id"), primary_key=True)
    user_id = Column(ForeignKey("users.id"), primary_key=True)


class Task(DatabaseManager.Base):
    __tablename__ = "tasks"

    id = Column(Integer, primary_key=True, index=True)
    name = Column(String, index=True)
    description = Column(String)

    users = relationship("User", secondary="task_users", back_populates="tasks")
    executions = relationship("TaskExecution", back_populates="task")


class TaskExecution(DatabaseManager.Base):
    __tablename__ = "task_executions"

    id = Column(Integer, primary_key=True, index=True)
    task_id = Column(ForeignKey("tasks.id"), nullable=False)
    start_time = Column(DateTime(timezone=False))
    note = Column(String)
    secret_rate = Column(Integer, default=4711)

    task = relationship("Task", back_populates="executions")
    measurements = relationship(
        "Measurement",
        back_populates="execution",
        cascade="all, delete-orphan",
        order_by="Measurement.id",
    )


class Measurement(DatabaseManager.Base):
    __tablename__ = "measurements"

    id = Column(Integer, primary_key=True, index=True)
    execution_id = Column(ForeignKey("task_executions.id"), nullable=False)
    seconds = Column(Integer)

    execution = relationship("TaskExecution", back_populates="measurements")
