def test_number_of_parameters_as_in_the_proof_of_concept(count_parameters):
    assert count_parameters("encoder_decoder", ndim=2) == 231_650
