"""Messages speak of options on the command line, and of arguments in Python."""

import pytest

from densekit.errors import ConfigError, command_line


@pytest.mark.parametrize(
    ("message", "in_python"),
    [
        ("no data_root; give it with --data=PATH", "no data_root; give it with data=PATH"),
        ("choose another with --work-dir", "choose another with work_dir"),
        ("make them with `densekit prepare ... --folds 5`", "make them with `densekit prepare ... --folds 5`"),
        ("add --cfg-options \"classes=['a','b']\"", "add classes=['a','b']"),
        ("cannot be read: KeyError: 'x' (--debug shows where)", "cannot be read: KeyError: 'x'"),
        ("a--b, --, scan--1.nii.gz", "a--b, --, scan--1.nii.gz"),
    ],
)
def test_an_option_is_an_argument_in_python(message, in_python):
    error = ConfigError(message)
    assert str(error) == in_python
    with command_line():
        assert str(error) == message
    assert str(error) == in_python
