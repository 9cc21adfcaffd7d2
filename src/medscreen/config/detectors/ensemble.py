"""Settings of ensembles."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Discriminator, Field

from medscreen.config.detectors.entry import DetectorEntry, DetectorName
from medscreen.config.detectors.kinds import SingleParams


class EnsembleParams(DetectorEntry):
    """A weighted mean of its members' scores; the weights are chosen on `tune`.

    `combine`: `rank` averages the share of `tune` with lower scores; `probability` averages log odds from Platt
    scaling. `members`: entries of the other kinds, by name.
    """

    kind: Literal["ensemble"]
    combine: Literal["rank", "probability"]
    members: Annotated[
        dict[DetectorName, Annotated[SingleParams, Discriminator("kind")]], Field(min_length=2, max_length=20)
    ]

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of the ensemble and its members."""
        return tuple(sorted({self.kind, *(kind for member in self.members.values() for kind in member.kinds)}))

    @property
    def files(self) -> tuple[Path, ...]:
        """Files of its members."""
        return tuple(path for member in self.members.values() for path in member.files)
