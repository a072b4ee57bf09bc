"""Gene networks as files of edges: read, checked, and made into the matrices of a Hill network."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

import torch

from pyness.errors import SystemDefinitionError

__all__ = ["GeneNetwork", "read_network"]

SIGNS = {"+": 1, "-": -1}


@dataclass(frozen=True)
class GeneNetwork:
    """Which genes regulate which.

    Attributes:
        genes: their names, in the order of the coordinates.
        edges: ``(target, source, sign)``, numbers of genes and +1 (activates) or -1 (represses).
    """

    genes: tuple[str, ...]
    edges: tuple[tuple[int, int, int], ...]

    def matrix(self, sign: int) -> torch.Tensor:
        """``(genes, genes)`` float64: 1 where the column's gene activates (+1) or represses (-1) the row's."""
        out = torch.zeros(len(self.genes), len(self.genes), dtype=torch.float64)
        for target, source, kind in self.edges:
            out[target, source] = float(kind == sign)
        return out


def read_network(path: str | Path) -> GeneNetwork:
    """A TOML file with ``genes = ["A", "B", ...]`` and ``edges = [["target", "source", "+" or "-"], ...]``.

    Raises:
        SystemDefinitionError: no such file, no TOML, a gene named twice or in an edge but not in the list, an edge that
            is there twice, or another sign; with the edge and its number.
    """
    path = Path(path)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SystemDefinitionError(
            f"network file {path} cannot be read: {(str(error) or type(error).__name__).splitlines()[0]}",
            "give a TOML file with genes = [...] and edges = [[target, source, sign], ...]",
        ) from error
    genes, edges = content.get("genes"), content.get("edges")
    if not _is_list(genes, str) or not _is_list(edges, list):
        raise SystemDefinitionError(
            f"network file {path} lacks genes or edges", 'give genes = ["A", ...] and edges = [["A", "B", "+"], ...]'
        )
    twice = sorted({gene for gene in genes if genes.count(gene) > 1})
    if twice:
        raise SystemDefinitionError(f"network file {path} names gene {twice[0]!r} twice", "give each gene once")
    number = {gene: i for i, gene in enumerate(genes)}
    known: dict[tuple[int, int], int] = {}
    for count, edge in enumerate(edges, 1):
        where = f"edge {count} of network file {path}, {edge!r},"
        if len(edge) != 3:
            raise SystemDefinitionError(f"{where} has {len(edge)} entries", "give target, source and sign")
        target, source, sign = edge
        for gene in (target, source):
            # a list is no key of a dictionary: ask for names first
            if not isinstance(gene, str) or gene not in number:
                raise SystemDefinitionError(f"{where} names the unknown gene {gene!r}", "add it to genes or correct it")
        if not isinstance(sign, str) or sign not in SIGNS:
            raise SystemDefinitionError(f"{where} has the sign {sign!r}", 'give "+" (activates) or "-" (represses)')
        pair = number[target], number[source]
        if pair in known:
            raise SystemDefinitionError(f"{where} is there twice", "keep one of the two")
        known[pair] = SIGNS[sign]
    return GeneNetwork(tuple(genes), tuple((*pair, sign) for pair, sign in known.items()))


def _is_list(value: object, kind: type) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(entry, kind) for entry in value)
