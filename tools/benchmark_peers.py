"""Jobs of the peers, in their own environment, for benchmark.py."""

from measured import measure, parse_shape, run_job
import torch
import torch.nn.functional as F


def grid_sample(size):
    image, grid = _image_and_grid(size)
    with torch.no_grad():
        return measure(lambda: _sample(image, grid), times=15)


def grid_sample_gradient(size):
    """Time the sampler and its gradient in the positions."""
    image, grid = _image_and_grid(size)
    grid.requires_grad_()

    def step():
        grid.grad = None
        _sample(image, grid).sum().backward()

    return measure(step, times=9)


def voxelmorph_predict(size):
    model, images = _voxelmorph(), _pair(size)
    with torch.no_grad():
        return measure(lambda: model(*images, return_warped_source=True), times=3)


def voxelmorph_train(size):
    model = _voxelmorph()

    def forward(moving, static):
        field, warped = model(moving, static, return_warped_source=True)
        return warped, field

    return _train(model, forward, size)


def monai_predict(size):
    from monai.networks.nets import VoxelMorph

    model, images = VoxelMorph().eval(), _pair(size)
    with torch.no_grad():
        return measure(lambda: model(*images), times=3)


def monai_train(size):
    from monai.networks.nets import VoxelMorph

    model = VoxelMorph()
    return _train(model, model, size)


def _voxelmorph():
    import voxelmorph

    return voxelmorph.nn.models.VxmPairwise(
        ndim=3,
        source_channels=1,
        target_channels=1,
        nb_features=[16, 32, 32, 32, 32],
    )


def _pair(size):
    torch.manual_seed(0)
    return [torch.rand(1, 1, *parse_shape(size)) for _ in range(2)]


def _train(model, forward, size):
    """Time a step with the correlation of the images and the gradient of the field."""
    optimizer = torch.optim.Adam(model.parameters(), 1e-4)
    moving, static = _pair(size)

    def step():
        warped, field = forward(moving, static)
        pair = torch.stack([warped.flatten(), static.flatten()])
        loss = 1 - torch.corrcoef(pair)[0, 1]
        for axis in (2, 3, 4):
            loss = loss + torch.diff(field, dim=axis).square().mean() / 3
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return measure(step, times=3)


def _image_and_grid(size):
    """Return a batch of 2D images or one volume, and positions up to a voxel away."""
    torch.manual_seed(0)
    shape = parse_shape(size)
    batch, spatial = (shape[0], shape[1:]) if shape[0] == 32 else (1, shape)
    axes = [torch.linspace(-1, 1, n) for n in spatial]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij")[::-1], -1)
    noise = torch.rand(batch, *spatial, len(spatial)) - 0.5
    return torch.rand(batch, 1, *spatial), grid + 4 * noise / max(spatial)


def _sample(image, grid):
    return F.grid_sample(image, grid, align_corners=True)


if __name__ == "__main__":
    run_job({name: job for name, job in globals().items() if callable(job)})
