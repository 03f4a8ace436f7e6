"""What is compared: every variant of a bundle, and controls that spend the same tokens otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stts_runtime.budget import TokenBudget
from stts_runtime.bundle import Bundle
from stts_runtime.errors import UserError

Control = Literal["random", "even"]


@dataclass(frozen=True)
class Setting:
    """One way to spend tokens."""

    name: str
    variant: str
    control: Control | None = None
    """`random`: the first frame whole, as the scorer's choice has it, and groups drawn again for every clip.
    `even`: whole frames, evenly spaced, and nothing of the others."""

    def choice(self, budget: TokenBudget, clip: int) -> NDArray[np.bool_] | None:
        """What a control keeps of clip number `clip`, (T, G); None where the scorer chooses."""
        if self.control is None:
            return None
        kept = np.zeros((budget.frames, budget.groups), dtype=np.bool_)
        if self.control == "even":
            kept.reshape(-1)[_evenly(budget)] = True
        else:
            later = np.random.default_rng((budget.kept, clip)).permutation(budget.visual_tokens - budget.groups)
            kept[0] = True
            kept.reshape(-1)[budget.groups + later[: budget.kept - budget.groups]] = True
        return kept


def _evenly(budget: TokenBudget) -> NDArray[np.intp]:
    """Groups of whole frames from the first on at equal steps; what is left over goes to the frame after them."""
    whole, rest = divmod(budget.kept, budget.groups)
    frames = np.floor(np.arange(whole) * budget.frames / whole).astype(np.intp) if whole else np.zeros(0, np.intp)
    groups = (frames[:, None] * budget.groups + np.arange(budget.groups)).reshape(-1)
    spare = np.setdiff1d(np.arange(budget.visual_tokens), groups)[:rest]
    return np.concatenate([groups, spare])


def settings_of(bundle: Bundle, wanted: list[str]) -> list[Setting]:
    """All settings that the bundle allows, or those `wanted` by name, unpruned first.

    Raises `UserError` for a name that is none of them.
    """
    settings: list[Setting] = []
    variants = sorted(bundle.manifest.variants.items(), key=lambda item: (-item[1].frames, -item[1].keep, item[0]))
    for name, variant in variants:
        if variant.is_control:
            suffix = name.removeprefix("given-")
            settings += [Setting(f"random-{suffix}", name, "random"), Setting(f"even-{suffix}", name, "even")]
        else:
            settings.append(Setting(name, name))
    unknown = set(wanted) - {setting.name for setting in settings}
    if unknown:
        raise UserError(
            f"{bundle.folder} has no setting {sorted(unknown)[0]!r}; it has {', '.join(s.name for s in settings)}"
        )
    return [setting for setting in settings if not wanted or setting.name in wanted]
