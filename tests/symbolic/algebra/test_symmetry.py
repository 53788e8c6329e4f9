import pytest
import sympy as sp

import lagrangian as lg

x, y = lg.coordinates("x y")


def test_paths_become_blocks_with_their_unit_axis():
    symmetry = lg.Scale("conv.kernel", unit_axis=-1)
    (block,) = symmetry.blocks
    assert block == lg.blocks("conv.kernel", unit_axis=-1)
    assert repr(symmetry) == "scale(conv.kernel)"


def test_the_loss_of_a_symmetry_is_invariant_under_it():
    for symmetry in (lg.Scale("w"), lg.Translation("w"), lg.Rescale("u", "v")):
        assert symmetry.loss.is_invariant(symmetry.xi)
    assert not lg.Scale("w").loss.is_invariant(lg.Translation("w").xi)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: lg.Symmetry({sp.Symbol("z"): 1}), "moves `z`, which is no coordinate"),
        (lambda: lg.Symmetry({x: lg.blocks("w")}), "`x`, a scalar, by `w`"),
        (lambda: lg.Symmetry({lg.blocks("w"): 1}), "`w`, a block, by `1`"),
        (lambda: lg.Symmetry({x: "x"}), "`xi` is the text 'x', which is not evaluated"),
        (lambda: lg.Symmetry({}, tau=[1]), "`tau` is of type list"),
        (lambda: lg.Scale(x, unit_axis=0), "`unit_axis` goes with the path"),
        (lambda: lg.Scale(x).loss, "moves no blocks"),
        (
            lambda: lg.Rotation("w", lg.LinearMap("A")),
            r"not declared so. Write `lg.LinearMap\(\"A\", parity=-1\)`",
        ),
    ],
)
def test_errors_name_what_is_wrong(build, message):
    with pytest.raises(lg.InvalidSymmetry, match=message):
        build()
