"""All of them, for whoever wants ``Base.metadata`` complete."""

from tests.seeds.accelerator.models.files import *  # noqa: F403
from tests.seeds.accelerator.models.tasks import *  # noqa: F403
from tests.seeds.accelerator.models.users import *  # noqa: F403
