"""What a picture is made of, on a grid of character cells: a terminal shows it as it is, an SVG on a finer scale.

`x` counts cells from the left, `y` rows from the top. A box is drawn through the middle of its outermost cells.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Self

from custody.graphs.machines import State
from custody.graphs.paths import Condition

if TYPE_CHECKING:
    from collections.abc import Iterable


class Role(StrEnum):
    """What a piece of text is for."""

    TITLE = "title"
    SUBTITLE = "subtitle"
    SIGN = "sign"
    NAME = "name"
    KIND = "kind"
    TOLD = "told"
    COMMENT = "comment"
    WHEN = "when"
    LEGEND = "legend"


@dataclass(frozen=True)
class Words:
    """A piece of text that begins at `x`; one that `is_right` ends where its last cell does, however wide its letters.

    `condition` is that of the state it is about, None if none is known.
    """

    x: int
    y: int
    text: str
    role: Role
    condition: Condition | None = None
    is_catch: bool = False
    is_taken: bool = False
    is_right: bool = False

    def moved(self, x: int, y: int) -> Self:
        """Give the same elsewhere."""
        return replace(self, x=self.x + x, y=self.y + y)


@dataclass(frozen=True)
class Box:
    """A state; one that holds others comes before them."""

    x: int
    y: int
    width: int
    height: int
    state: State
    condition: Condition | None = None

    @property
    def right(self) -> int:
        """Its last column."""
        return self.x + self.width - 1

    @property
    def bottom(self) -> int:
        """Its last row."""
        return self.y + self.height - 1

    def moved(self, x: int, y: int) -> Self:
        """Give the same elsewhere."""
        return replace(self, x=self.x + x, y=self.y + y)


@dataclass(frozen=True)
class Wire:
    """A transition, or what joins a start or an end to its state: a line with corners, from its source to its target.

    Those of one `bundle` end in the same place, and may lie on one another; no others do. `ends` are the names of the
    states that it joins; there is none where it only shows what a line means.
    """

    points: tuple[tuple[int, int], ...]
    bundle: int
    ends: tuple[str, str] | None = None
    is_catch: bool = False
    is_taken: bool = False
    has_head: bool = True

    def moved(self, x: int, y: int, bundles: int = 0) -> Self:
        """Give the same elsewhere, with the bundles counted on."""
        return replace(self, points=tuple((a + x, b + y) for a, b in self.points), bundle=self.bundle + bundles)


@dataclass(frozen=True)
class Spot:
    """Where a scope starts or, if `is_end`, may end."""

    x: int
    y: int
    is_end: bool
    is_reached: bool

    def moved(self, x: int, y: int) -> Self:
        """Give the same elsewhere."""
        return replace(self, x=self.x + x, y=self.y + y)


@dataclass(frozen=True)
class Drawing:
    """A picture or a part of one; `has_path` says that it shows the way of an execution."""

    width: int
    height: int
    boxes: tuple[Box, ...] = ()
    words: tuple[Words, ...] = ()
    wires: tuple[Wire, ...] = ()
    spots: tuple[Spot, ...] = ()
    has_path: bool = False

    @property
    def bundles(self) -> int:
        """How many bundles there are, counted from 0."""
        return max((wire.bundle + 1 for wire in self.wires), default=0)

    def with_parts(self, parts: "Iterable[tuple[int, int, Drawing]]") -> "Drawing":
        """Put others on top of it, each with its upper left corner in a place of its own."""
        made = self
        for x, y, part in parts:
            made = replace(
                made,
                boxes=made.boxes + tuple(each.moved(x, y) for each in part.boxes),
                words=made.words + tuple(each.moved(x, y) for each in part.words),
                wires=made.wires + tuple(each.moved(x, y, made.bundles) for each in part.wires),
                spots=made.spots + tuple(each.moved(x, y) for each in part.spots),
            )
        return made
