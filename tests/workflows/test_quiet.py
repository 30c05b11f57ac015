import subprocess
import sys

import pytest

from dipy_nn_reg.workflows import quiet


def test_output_of_libraries_is_hidden_and_errors_are_raised(capfd):
    with quiet._silent_standard_error():
        subprocess.run([sys.executable, "-c", "import os; os.write(2, b'noise')"])
    with pytest.raises(ImportError, match="no such"):
        with quiet._silent_standard_error():
            raise ImportError("no such")
    subprocess.run([sys.executable, "-c", "import os; os.write(2, b'said')"])
    assert capfd.readouterr().err == "said"


def test_keras_is_imported():
    quiet.import_keras()
    assert "keras" in sys.modules
