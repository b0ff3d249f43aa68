"""`jackstay demo`: a bot, an agent and an exchange as separate processes, and what goes wrong between them.

Each scene breaks something on purpose, lets the bot carry on, and then asks the *venue's* ledger (never the agent's
word) whether the promise held. A scene whose machinery this version does not have says "not yet" and proves nothing.
"""

from .scenes import SCENES, Scene, play
from .stage import Stage

__all__ = ["SCENES", "Scene", "Stage", "play"]
