"""A guard against commands that are started where they are only to be shown."""

import subprocess

import pytest


@pytest.fixture
def nothing_starts(monkeypatch):
    """Any command that is started fails the test."""

    def refuse(*arguments, **options):
        raise AssertionError(f"started {arguments}")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    monkeypatch.setattr(subprocess, "run", refuse)
