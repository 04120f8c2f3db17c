"""What a hostile file holds."""

import os


class Bomb:
    """What unpickling would execute: it makes the folder that NASGEN_BOMB names."""

    def __reduce__(self):
        return os.mkdir, (os.environ["NASGEN_BOMB"],)
