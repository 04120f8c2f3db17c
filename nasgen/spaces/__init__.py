"""What may be built: cell spaces, the macro space, and their JSON form."""

from nasgen.spaces.nb101 import SPACE as _nb101
from nasgen.spaces.nb201 import SPACE as _nb201
from nasgen.spaces.open import SPACE as _open
from nasgen.spaces.space import Space
from nasgen.spaces.transnas import SPACE as _transnas

SPACES: dict[str, Space] = {
    "open": _open,
    "nb101": _nb101,
    "nb201": _nb201,
    "transnas_micro": _transnas,
}
