"""At which walls reflection along the normal is the no-flux condition, and refusing the others.

A walker beyond a wall of outward normal ``n`` is mirrored along ``n``. In the limit of short steps that is a push along
``n`` whenever the wall is touched, so that test functions of the process have ``n . grad g = 0`` there; what keeps the
density in with ``n . J = 0`` is a push along ``D n`` (the co-normal), whose test functions have ``n . D grad g = 0``
(landscapes.md, 3.5). The two are the same where ``D n`` is parallel to ``n``: always for a scalar ``D``, at the sides
of a box for a diagonal one, and at a linear wall for a diagonal one that is equal in all coordinates the wall involves.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from pyness.errors import SystemDefinitionError
from pyness.systems.box import Box
from pyness.systems.diffusion import Diffusion

__all__ = ["refuse_oblique"]

PARALLEL = 1e-9


def refuse_oblique(box: Box, diffusion: Diffusion, variables: Sequence[str], x: torch.Tensor) -> None:
    """Refuse walls at which mirroring walkers would let probability through, seen at points next to ``x: (n, d)``.

    Raises:
        SystemDefinitionError: with the wall and the point.
    """
    normals = box.normals()
    sides = [face for axis in box.reflecting for face in (2 * axis, 2 * axis + 1)]
    for face in [*sides, *range(2 * box.dim, len(normals))]:
        n = normals[face]
        at = _on_face(box, face, n, x)
        pushed = diffusion.apply(at, n.expand(at.shape))
        along = (pushed @ n).unsqueeze(-1)
        oblique = (pushed - along * n).norm(dim=-1) > PARALLEL * pushed.norm(dim=-1)
        if bool(oblique.any()):
            point = [round(v, 4) for v in at[oblique][0].tolist()]
            raise SystemDefinitionError(
                f"reflection at the wall {box.face_name(face, variables)} is not its no-flux condition: D times its "
                f"normal leans sideways at x = {point}",
                "scale or rotate the coordinates so that D is a number for those the wall involves, or open the wall",
            )


def _on_face(box: Box, face: int, n: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    axis, side = divmod(face, 2)
    if axis < box.dim:
        at = x.clone()
        at[:, axis] = (box.low, box.high)[side][axis]
        return at
    offset = box.linear(x.dtype)[1][face - 2 * box.dim]
    at = x - (x @ n - offset).unsqueeze(-1) * n
    # where the foot of the perpendicular lies off the domain D need not be defined: the point itself will do
    return torch.where(box.contains(at).unsqueeze(-1), at, x)
