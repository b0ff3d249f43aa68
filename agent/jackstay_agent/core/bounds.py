"""Settings are checked where they are born, so that no decision later meets a NaN, an infinity or a nonsense size.

Decides whether a number may be used and says in one sentence what was found, what was expected and what to do. Refuses
to know what the number is for: the owner and the name come from the caller. Messages never hold anything but numbers
and names, so they can be printed anywhere.
"""

from __future__ import annotations

from math import isfinite

from jackstay_protocols.errors import ValidationError

#: No duration in this product is longer than this; 30 days also bounds every sum of a few of them.
LONGEST_S = 30 * 86_400.0


def check_number(owner: str, name: str, value: object, low: float, high: float, *, above_low: bool = False) -> None:
    """Refuse what is not a finite number in [low, high] (or (low, high] with ``above_low``); a bool is no number."""
    fits = (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and isfinite(value)
        and (value > low if above_low else value >= low)
        and value <= high
    )
    if not fits:
        edge = "above" if above_low else "from"
        raise ValidationError(
            f"{owner}.{name} is {value!r}; a finite number {edge} {low:g} up to {high:g} is expected: correct it"
        )


def check_whole(owner: str, name: str, value: object, low: int, high: int) -> None:
    """Refuse what is not a whole number in [low, high]; 5.0 is refused too, for a count is not measured."""
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ValidationError(
            f"{owner}.{name} is {value!r}; a whole number from {low} to {high} is expected: correct the setting"
        )


def check_choice(owner: str, name: str, value: object, choices: tuple[str, ...]) -> None:
    """Refuse a word that is not one of the choices."""
    if value not in choices:
        raise ValidationError(f"{owner}.{name} is {value!r}; one of {', '.join(choices)} is expected")


def check_instant(owner: str, name: str, value: object) -> None:
    """Refuse an instant that is not a finite number of seconds (of whatever clock the caller uses)."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not isfinite(value):
        raise ValidationError(f"{owner}.{name} is {value!r}; a finite instant in seconds is expected")
