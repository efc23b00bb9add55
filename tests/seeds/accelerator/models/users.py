from sqlalchemy import Boolean, Column, Integer, String
from sqlalchemy.orm import relationship

from tests.seeds.accelerator.core.db import DatabaseManager

__all__ = ["User"]


class User(DatabaseManager.Base):
    __tablename__ = "users"

    id = Column(Integer, primary_key=True, index=True)
    name = Column(String, index=True)
    login = Column(String, index=True)
    phone = Column(String, index=True)
    email = Column(String, unique=True, index=True)
    password_hash = Column(String, default="$argon2id$secret")
    is_admin = Column(Boolean, default=False, nullable=False)

    tasks = relationship("Task", secondary="task_users", back_populates="users", order_by="Task.id")
