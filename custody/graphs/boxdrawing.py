"""The characters of Unicode that draw lines, found by where their lines lead; and what stands for them in ASCII."""

import unicodedata
from dataclasses import dataclass
from enum import IntFlag
from functools import cache


class Arm(IntFlag):
    """Where lines lead from the middle of a cell."""

    NONE = 0
    UP = 1
    DOWN = 2
    LEFT = 4
    RIGHT = 8
    VERTICAL = UP | DOWN
    HORIZONTAL = LEFT | RIGHT


@dataclass(frozen=True)
class Cross:
    """The lines that meet in a cell; those that are heavy are not among the light ones."""

    light: Arm = Arm.NONE
    heavy: Arm = Arm.NONE

    @property
    def arms(self) -> Arm:
        """All of them."""
        return self.light | self.heavy

    def joined(self, arms: Arm, *, is_heavy: bool) -> "Cross":
        """Give the same with more lines; one that is heavy stays so."""
        heavy = self.heavy | arms if is_heavy else self.heavy
        return Cross((self.light | arms) & ~heavy, heavy)


_BLOCK = range(0x2500, 0x2580)
_NAME = "BOX DRAWINGS "
_DASHED = {"│": "╎", "─": "╌", "┃": "╏", "━": "╍"}
_ROUND = {"┌": "╭", "┐": "╮", "└": "╰", "┘": "╯"}


def sign(cross: Cross, *, is_dashed: bool = False, is_round: bool = False) -> str:
    """Give the character of a cell in which lines meet; dashed only where one goes through."""
    found = _signs()[cross]
    if is_dashed:
        found = _DASHED.get(found, found)
    return _ROUND.get(found, found) if is_round else found


def ascii_sign(cross: Cross, *, is_dashed: bool = False) -> str:
    """Give what stands in ASCII for such a cell."""
    if cross.arms in Arm.VERTICAL:
        return "#" if cross.heavy else ":" if is_dashed else "|"
    if cross.arms in Arm.HORIZONTAL:
        return "=" if cross.heavy else "." if is_dashed else "-"
    return "+"


@cache
def _signs() -> dict[Cross, str]:
    """Read the characters off their names, such as `BOX DRAWINGS DOWN LIGHT AND RIGHT HEAVY`."""
    named = {sign: unicodedata.name(sign).removeprefix(_NAME) for sign in map(chr, _BLOCK)}
    known = {"LIGHT", "HEAVY", "AND", *Arm.__members__}
    return {_cross(name): sign for sign, name in named.items() if known.issuperset(name.split())}


def _cross(name: str) -> Cross:
    """Read a name: a weight stands before all the directions that it is of, or behind those of a part."""
    found, is_heavy = Cross(), False
    for part in name.split(" AND "):
        words = part.split()
        weights = [word for word in words if word in {"LIGHT", "HEAVY"}]
        is_heavy = weights == ["HEAVY"] if weights else is_heavy
        for word in words:
            if word in Arm.__members__:
                found = found.joined(Arm[word], is_heavy=is_heavy)
    return found
