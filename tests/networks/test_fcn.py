def test_filters_and_levels_as_published(build):
    network = build("fcn", ndim=3, values=3)
    filters = [x.filters for x in network.layers if "conv" in x.name and x.filters > 3]
    assert filters == [32, 64, 128, 64, 64, 32]
    assert len(network.outputs) == 3
