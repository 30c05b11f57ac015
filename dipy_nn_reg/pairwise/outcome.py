"""Outcome of the registration of one pair."""

from dataclasses import dataclass

from dipy_nn_reg.mapping.measures import measure_field
from dipy_nn_reg.mapping.prealign import Alignment


@dataclass(frozen=True)
class Outcome:
    """Outcome of the registration of one pair: source of the field, and measures.

    Attributes
    ----------
    used : str
        Source of the field: "optimized", "model" or "model, optimized"; "affine" if no
        field was sound (every one folded or made the images less similar), or if the
        images were equal after the affine.
    loss_before, loss_after : float
        Dissimilarity of the images on the grid of the registration, after the affine
        alone and after the whole map.
    ncc_before, ncc_after : float
        Normalised cross-correlation of these images where they are compared: within
        masks, and in what both show.
    folding : float
        Percentage of the voxels at which the field folds.
    mean_displacement_mm, largest_displacement_mm : float
        Mean and largest length of the displacements, without the affine.
    inverse_error_mm : float
        Mean distance between points and the same points mapped to the moving image and
        back.
    seconds : float
        Time from the images to the map, including the affine.
    loss : str
        Name of the loss by which the images were compared.
    alignment : Alignment or None
        How the images were aligned before; None if ``prealign`` was an affine or None.
    skull : {"moving", "static"} or None
        Image that has a skull which the other one lacks. The images were then compared
        in the brain.
    """

    used: str
    loss_before: float
    loss_after: float
    ncc_before: float
    ncc_after: float
    folding: float
    mean_displacement_mm: float
    largest_displacement_mm: float
    inverse_error_mm: float
    seconds: float
    loss: str = ""
    alignment: Alignment | None = None
    skull: str | None = None

    @classmethod
    def of(cls, affine, best, mapping, *, seconds, loss="", alignment=None, skull=None):
        """Return the outcome of two candidates and the map of the better one.

        Parameters
        ----------
        affine, best : dipy_nn_reg.pairwise.safeguard.Candidate
        mapping : dipy.align.imwarp.DiffeomorphicMap
        seconds : float
        loss : str, optional
        alignment : Alignment, optional
        skull : str, optional
        """
        return cls(
            used=best.used,
            loss_before=affine.measures["loss"],
            loss_after=best.measures["loss"],
            ncc_before=affine.measures["ncc"],
            ncc_after=best.measures["ncc"],
            **measure_field(mapping, roughness=False),
            seconds=seconds,
            loss=loss,
            alignment=alignment,
            skull=skull,
        )

    def __str__(self):
        where = f", skull in the {self.skull} image alone" if self.skull else ""
        return (
            f"Registered ({self.used}) in {self.seconds:.1f} s: "
            f"NCC {self.ncc_before:.3f} to {self.ncc_after:.3f}, "
            f"loss {self.loss_before:.4f} to {self.loss_after:.4f}, "
            f"folding {self.folding:.4f} %, "
            f"displacement {self.mean_displacement_mm:.1f} mm on average and "
            f"{self.largest_displacement_mm:.1f} mm at most, "
            f"inverse error {self.inverse_error_mm:.3f} mm{where}"
        )
