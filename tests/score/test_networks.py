"""Networks: parameter counts, exact symmetries, derivatives against autograd, and what they refuse."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyness.errors import InputError, UnknownNameError
from pyness.score import Score, pasts, probing
from pyness.score.attention import AttentionScore
from pyness.score.contacts import ContactScore
from pyness.score.dense import DenseScore
from pyness.score.energy import EnergyScore
from pyness.score.local_transformer import LocalTransformer
from pyness.score.networks import build, describe
from pyness.score.shift import choose, shift_with_terms
from pyness.systems import get
from pyness.systems.derivatives import jacobian

SMALL = {
    "aoup-mips": {"n_particles": 14},
    "aoup-trap-64": {"n_particles": 4},
    "aoup-harmonic": {"n_particles": 3, "space_dim": 1},
    "abp": {"n_particles": 11},
}


def network(name, kind=AttentionScore, seed=0, **options):
    """In double precision, with weights that matter everywhere."""
    system = get(name, **options.pop("system", SMALL.get(name, {})))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made = kind(system, choose(system, None), **options).double()
        for parameter in made.parameters():
            if not parameter.any():
                torch.nn.init.normal_(parameter, std=0.3)
    return system, made


def diagonal(field, x):
    """``d field_i / d x_i``, ``(n, d)``, one backward pass for each coordinate."""
    x = x.clone().requires_grad_()
    y = field(x)
    columns = [torch.autograd.grad(y[:, k].sum(), x, retain_graph=True)[0][:, k] for k in range(x.shape[1])]
    return torch.stack(columns, dim=1)


def states(system, count=2, seed=1):
    return system.draw_start("uniform", count, torch.Generator().manual_seed(seed), torch.float64)


def test_the_published_network_has_the_published_number_of_parameters():
    _, made = network("aoup-mips", LocalTransformer, system={"n_particles": 80})
    assert sum(p.numel() for p in made.parameters()) == 2_308_866


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("equivariant", [True, False])
def test_attention_knows_its_derivatives(name, equivariant, monkeypatch):
    monkeypatch.setattr(probing, "EXACT_UP_TO", 1000)
    system, made = network(name, equivariant=equivariant)
    x = states(system)
    s, terms = made.with_terms(x)
    torch.testing.assert_close(s, made(x))
    exact = diagonal(made, x) * system.diffusion.value
    for found, expected in zip(system.split(terms), system.split(exact), strict=True):
        torch.testing.assert_close(found.sum(-1), expected.sum(-1), atol=1e-9, rtol=1e-9)


def slope(made, x, axis, h):
    """``d s_axis / d x_axis``, ``(n,)``, from a step of ``h`` either way."""
    step = h * torch.eye(x.shape[1], dtype=x.dtype)[axis]
    return (made(x + step) - made(x - step))[:, axis] / (2 * h)


def settled(system, count=2, seed=1):
    """States that have a past: contacts pushed apart for some time, as no draw has them."""
    x, g = system.split(states(system, count, seed))
    for _ in range(100):
        x = x + 0.2 * (system.forces(x) + system.activity.push(g))
    width = system.box.width[0]
    return system.join(x - width * torch.floor(x / width), g)


@pytest.fixture(autouse=True)
def short_pasts(monkeypatch):
    """They would take most of a second for any few states."""
    monkeypatch.setattr(pasts, "LENGTHS", (0.1, 0.15, 0.2))
    monkeypatch.setattr(pasts, "SOLVED", (1, 1, 1))
    monkeypatch.setattr(pasts, "TOLD", pasts.LENGTHS)
    monkeypatch.setattr(pasts, "SWEEPS", 2)


def contacts(particles=14, packing=0.5, **options):
    system = {"n_particles": particles, "packing": packing}
    return network("aoup-mips", ContactScore, system=system, order=3, hidden=4, width=8, **options)


@pytest.mark.parametrize("told", [False, True])
def test_contacts_know_their_derivatives(told, monkeypatch):
    monkeypatch.setattr(probing, "EXACT_UP_TO", 1000)
    system, made = contacts(8, packing=0.3, pasts=told)
    x = settled(system)
    s, terms = made.with_terms(x)
    torch.testing.assert_close(s, made(x))
    for axis in range(16, 32, 5):
        expected = system.activity.rate * slope(made, x, axis, 1e-6)
        torch.testing.assert_close(terms[:, axis], expected, atol=1e-8, rtol=1e-4)


@pytest.mark.parametrize("kind", ["attention", "contacts"])
def test_random_probes_are_right_on_average(kind, monkeypatch):
    block = 0 if kind == "attention" else 1
    system, made = contacts(10, packing=0.4) if block else network("aoup-trap-64", system={"n_particles": 10})
    x = settled(system) if block else states(system)
    with monkeypatch.context() as patch:
        patch.setattr(probing, "EXACT_UP_TO", 1000)
        exact = system.split(made.with_terms(x)[1])[block].sum((-1, -2))
    drawn = system.split(made.with_terms(x.repeat(100, 1), torch.Generator().manual_seed(0))[1])[block].sum((-1, -2))
    drawn = drawn.reshape(100, 2)
    assert ((drawn.mean(0) - exact).abs() < 4 * drawn.std(0) / 10 + 1e-9).all()
    assert (drawn.std(0) > 1e-6).all()


def test_the_local_transformer_knows_its_derivatives():
    system, made = network("aoup-mips", LocalTransformer, neighbours=6, width=32, blocks=2)
    x = states(system)
    s, terms = made.with_terms(x)
    torch.testing.assert_close(s, made(x))
    for axis in range(28, 56, 5):
        expected = system.activity.rate * slope(made, x, axis, 1e-5)
        torch.testing.assert_close(terms[:, axis], expected, atol=1e-7, rtol=1e-5)


@pytest.mark.parametrize("gradient", [True, False])
@pytest.mark.parametrize("name", ["aoup-ring", "aoup-harmonic", "limit-cycle"])
def test_dense_networks_know_their_derivatives(name, gradient):
    if name == "limit-cycle":
        from pyness.systems import Box, System

        plain = get(name)
        system = System("own", 2, plain.drift, [0.1, 0.3], Box(plain.domain.low, plain.domain.high, "open"))
        with torch.random.fork_rng(devices=[]):
            made = DenseScore(system, "none", gradient=gradient).double()
        torch.nn.init.normal_(made.layers[-1].weight, std=0.3, generator=torch.Generator().manual_seed(2))
        x = system.domain.uniform(4, torch.Generator().manual_seed(3), torch.float64)
    else:
        system, made = network(name, DenseScore, gradient=gradient, system={})
        x = states(system, 4)
    s, terms = made.with_terms(x)
    torch.testing.assert_close(s, made(x))
    J = jacobian(made, x)
    torch.testing.assert_close(terms.sum(-1), (torch.diagonal(J, dim1=-2, dim2=-1) * system.diffusion.value).sum(-1))
    assert (torch.allclose(J, J.mT, atol=1e-10)) == gradient


@settings(deadline=None, max_examples=15)
@given(
    seed=st.integers(0, 10**6),
    kind=st.sampled_from(["attention", "plain attention", "energy", "contacts", "told contacts", "transformer"]),
    name=st.sampled_from(["aoup-mips", "abp"]),
)  # fmt: skip
def test_permutation_translation_and_wrapping(seed, kind, name):
    if kind == "transformer":
        system, made = network("aoup-mips", LocalTransformer, neighbours=5, width=16, blocks=1)
    elif kind.endswith("contacts"):
        system, made = contacts(pasts=kind == "told contacts")
    else:
        system, made = network(
            name, EnergyScore if kind == "energy" else AttentionScore, equivariant=kind != "plain attention"
        )
    generator = torch.Generator().manual_seed(seed)
    x, g = system.split((settled if kind == "told contacts" else states)(system, 1, seed))
    s = system.split(made(system.join(x, g)))
    order = torch.randperm(system.n_particles, generator=generator)
    moved = x[:, order] + 10 * torch.randn(1, 1, 2, generator=generator, dtype=torch.float64)
    width = system.box.width[0]
    if kind == "transformer":
        moved = moved - width * torch.floor(moved / width)
    turned = system.split(made(system.join(moved, g[:, order])))
    for before, after in zip(s, turned, strict=True):
        torch.testing.assert_close(after, before[:, order], atol=1e-7, rtol=1e-7)


@settings(deadline=None, max_examples=20)
@given(
    seed=st.integers(0, 10**6), angle=st.floats(0, 2 * math.pi), flip=st.booleans(),
    kind=st.sampled_from(["attention", "energy", "contacts", "told contacts"]), boxed=st.booleans(),
)  # fmt: skip
def test_rotation_and_reflection(seed, angle, flip, kind, boxed):
    """In open space every rotation, in the box the ones that map it onto itself."""
    if kind.endswith("contacts"):
        boxed = True
        system, made = contacts(pasts=kind == "told contacts")
    else:
        name = "aoup-mips" if boxed else "aoup-trap-64"
        system, made = network(name, EnergyScore if kind == "energy" else AttentionScore)
    if boxed:
        angle = round(angle / (math.pi / 2)) * math.pi / 2
    R = torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]], dtype=torch.float64)
    R = R @ torch.diag(torch.tensor([1.0, -1.0 if flip else 1.0], dtype=torch.float64))
    x, g = system.split((settled if kind == "told contacts" else states)(system, 1, seed))
    s = system.split(made(system.join(x, g)))
    turned = system.split(made(system.join(x @ R.mT, g @ R.mT)))
    for before, after in zip(s, turned, strict=True):
        torch.testing.assert_close(after, before @ R.mT, atol=1e-7, rtol=1e-6)


@pytest.mark.parametrize("kind", [AttentionScore, EnergyScore])
def test_headings_turn_with_the_configuration(kind):
    system, made = network("abp", kind)
    x, theta = system.split(states(system, 1))
    s_x, s_theta = system.split(made(system.join(x, theta)))
    R = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)
    t_x, t_theta = system.split(made(system.join(x @ R.mT, theta + math.pi / 2)))
    torch.testing.assert_close(t_x, s_x @ R.mT)
    torch.testing.assert_close(t_theta, s_theta)
    mirror = torch.diag(torch.tensor([1.0, -1.0], dtype=torch.float64))
    m_x, m_theta = system.split(made(system.join(x @ mirror, -theta)))
    torch.testing.assert_close(m_x, s_x @ mirror)
    torch.testing.assert_close(m_theta, -s_theta)


@pytest.mark.parametrize(("kind", "eps"), [(AttentionScore, 0.0), (EnergyScore, 0.0), (EnergyScore, 0.01)])
def test_attention_fades_out_smoothly(kind, eps):
    system, made = network("aoup-mips", kind, system={"n_particles": 14, "packing": 0.2, "eps": eps}, radius=5.0)
    x, g = system.split(states(system, 1))
    x = x.clone()
    others = torch.tensor([[3.0 * k, 0.5 * k] for k in range(12)], dtype=torch.float64)
    x[0, 2:] = others.remainder(system.box.width[0])
    x[0, 0] = torch.tensor([1.0, 9.0])

    def of_first(r):
        y = x.clone()
        y[0, 1] = x[0, 0] + torch.tensor([0.0, r], dtype=torch.float64)
        return torch.cat([block[0, 0] for block in system.split(made(system.join(y, g)))])

    # what fades out goes with the third power of what is left, its derivative by positions with the second
    near, far = of_first(5.0 - 1e-3), of_first(5.0 + 1e-3)
    assert (near - far).abs().max() < (1e-5 if eps else 1e-7) * (1 + near.abs().max())
    assert (of_first(3.0) - far).abs().max() > 1e-4


def test_contacts_fade_out_smoothly():
    system, made = contacts(6, packing=0.2)
    made.stiffness.fill_(0.3)
    x, g = system.split(states(system, 1))
    x = x.clone()
    x[0] = torch.tensor([[1.0, 1.0], [1.0, 3.2], [5.0, 1.0], [5.0, 3.2], [3.0, 5.5], [7.0, 5.0]])

    def of_first(r):
        y = x.clone()
        y[0, 1, 1] = 1.0 + r
        return system.split(made(system.join(y, g)))[1][0, 0]

    # where the stiffness passes the floor, 0.009 of a contact of unit stiffness
    edge = 2 + math.log(1 / 0.009 - 1) / 7.5
    jump = (of_first(edge - 1e-5) - of_first(edge + 1e-5)).abs().max()
    assert jump < 1e-3 * (of_first(2.2) - of_first(edge)).abs().max()


@pytest.mark.parametrize("kind", ["transformer", "attention", "contacts"])
def test_only_the_published_network_jumps_where_a_neighbour_leaves_its_nearest(kind):
    if kind == "transformer":
        options = {"neighbours": 3, "width": 16, "blocks": 1, "system": {"n_particles": 14, "packing": 0.2}}
        system, made = network("aoup-mips", LocalTransformer, **options)
        for parameter in made.parameters():
            parameter.data *= 2  # drawn so small that it would hardly tell neighbours from each other
    elif kind == "contacts":
        system, made = contacts(packing=0.2)
        made.stiffness.fill_(0.3)
    else:
        system, made = network("aoup-mips", system={"n_particles": 14, "packing": 0.2})
    x, g = system.split(states(system, 1))
    x = x.clone()
    # two neighbours are nearer, the third is at 2.2, and the fourth comes nearer than it; the others are far away
    x[0, :4] = 5.0 + torch.tensor([[0.0, 0.0], [1.9, 0.0], [0.0, 2.0], [-2.2, 0.0]])
    x[0, 5:] = torch.cartesian_prod(torch.tensor([1.0, 5.0, 9.0]), torch.tensor([10.5, 12.5, 14.5]))

    def step(h):
        """How far the score of the first particle moves while its fourth neighbour comes nearer by ``2 h``."""
        at = []
        for r in (2.2 + h, 2.2 - h):
            x[0, 4] = 5.0 + torch.tensor([0.0, -r], dtype=torch.float64)
            at.append(system.split(made(system.join(x, g)))[1][0, 0])
        return (at[0] - at[1]).norm().item(), at[0].norm().item()

    (near, size), (nearer, _) = step(1e-4), step(1e-6)
    if kind == "transformer":
        assert nearer == pytest.approx(near, rel=0.02)
        assert nearer > 0.01 * size
    else:
        assert near > 1e-7 * size  # it sees that neighbour
        assert nearer == pytest.approx(0.01 * near, rel=0.02)


TOUCHING = {
    "attention": lambda: network("aoup-mips"),
    "energy": lambda: network("aoup-mips", EnergyScore),
    "energy, eps > 0": lambda: network("aoup-mips", EnergyScore, system={"n_particles": 14, "eps": 0.01}),
    "contacts": contacts,
    "pasts": lambda: contacts(pasts=True),
    "local-transformer": lambda: network("aoup-mips", LocalTransformer, neighbours=6, width=16, blocks=1),
}


@pytest.mark.parametrize("kind", TOUCHING)
@settings(max_examples=8, deadline=None)
@given(
    apart=st.sampled_from([0.0, 1e-300, 1e-16, 1e-9, 1e-4, 0.1]), angle=st.floats(0, 6.3), pile=st.integers(2, 4),
    seed=st.integers(0, 3),
)  # fmt: skip
def test_touching_particles_have_finite_scores_and_gradients(kind, apart, angle, pile, seed):
    system, made = TOUCHING[kind]()
    x, g = system.split(states(system, 1, seed))
    for k in range(1, pile):  # one upon the other
        x[0, k] = x[0, 0] + k * apart * torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64)
    s, terms = made.with_terms(system.join(x, g), torch.Generator().manual_seed(0))
    (s.square().sum() + terms.sum()).backward()
    assert torch.isfinite(s).all()
    assert torch.isfinite(terms).all()
    assert all(torch.isfinite(p.grad).all() for p in made.parameters() if p.grad is not None)


@pytest.mark.parametrize(
    ("kind", "options", "together"),
    [(AttentionScore, {}, 12), (LocalTransformer, {"neighbours": 16, "width": 16}, 4)],
)
def test_many_tokens_are_evaluated_a_few_states_at_a_time(kind, options, together, monkeypatch):
    system, net = network("aoup-mips", kind, system={"n_particles": 20}, **options)
    monkeypatch.setattr("pyness.score.score.ENTRIES", 12 * system.dim)
    rows = []
    net.register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0])))
    x = system.draw_start("uniform", 12, torch.Generator().manual_seed(0), torch.float64)
    pieces = Score(system, net, {}).score(x)
    assert rows == [together] * (12 // together)
    torch.testing.assert_close(system.split(pieces)[1], system.split(net(x))[1])


def test_the_persistent_shift_is_exact_for_harmonic_forces():
    system = get("aoup-harmonic", n_particles=4, space_dim=2, eps=0.0)
    x = states(system)
    found = system.split(shift_with_terms(system, "persistent", x, None)[0])[1]
    torch.testing.assert_close(found, system.split(system.truth.score(x))[1])


def test_refusals():
    mips, ring = get("aoup-mips", n_particles=20), get("aoup-ring")
    with pytest.raises(InputError, match="64 neighbours of 20 particles; give neighbours of at most 19"):
        LocalTransformer(mips, "none")
    with pytest.raises(InputError, match="half the box"):
        AttentionScore(mips, "none", radius=100.0)
    with pytest.raises(UnknownNameError, match="attention"):
        describe(mips, "attentoin", {})
    with pytest.raises(InputError, match="give 'dense'"):
        describe(ring, "attention", {})
    with pytest.raises(InputError, match="neighbours is 3 and 'contacts' has none"):
        describe(mips, None, {"neighbours": 3})
    with pytest.raises(InputError, match=r"'contacts' for 'aoup-trap-64'.*take 'attention'"):
        ContactScore(get("aoup-trap-64"), "none")
    with pytest.raises(InputError, match="order is 0"):
        ContactScore(mips, "none", order=0)
    with pytest.raises(InputError, match="activities alone"):
        LocalTransformer(get("aoup-trap-64"), "none", neighbours=4)
    with pytest.raises(InputError, match="give 'equilibrium'"):
        choose(ring, "persistent")
    with pytest.raises(UnknownNameError):
        choose(ring, "best")


def test_dense_networks_see_forces_from_positions_in_double_precision():
    # in a box of 250 single precision is off by 1.5e-5, over which the force of a contact changes by 1e-4 of itself
    system = get("aoup-mips", n_particles=2, packing=1e-4)
    made = build(system, {"arch": "dense", "width": 4, "depth": 1}, "equilibrium")
    seen = []
    made.layers[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x = torch.tensor([[200.0, 200.0, 201.900007, 200.05, 0.3, 0.1, -0.2, 0.4]], dtype=torch.float64)
    made(x)
    torch.testing.assert_close(seen[0][:, -8:], system.drift(x).float(), rtol=1e-6, atol=0)
