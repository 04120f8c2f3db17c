"""What may be built: cell spaces, the macro space, and their JSON form."""

from nasgen.spaces.open import SPACE as _open
from nasgen.spaces.space import Space

SPACES: dict[str, Space] = {"open": _open}
