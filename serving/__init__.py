"""Answers calls with a model directory: never imports torch, never unpickles."""
