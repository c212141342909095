"""Calibration data: files, folders, arrays and iterables, as checked tuples of tensors that can be gone through again.

    data = load_calibration("data/calib", example_inputs=example_inputs)
    for inputs in data:
        prepared_model(*inputs)
    data.record  # how many samples, from where, and a digest of them

sources (where samples come from) -> files (what is in a file) -> inputs (whether that fits the model) -> data.
"""

from .data import CalibrationData, CalibrationRecord, load_calibration
from .inputs import InputSpec, specs_of

__all__ = ["CalibrationData", "CalibrationRecord", "InputSpec", "load_calibration", "specs_of"]
