"""Prints the version of the library found, or only imports the package."""

import sys

import tel

if sys.argv[1:] != ["import-only"]:
    print(tel.version())
