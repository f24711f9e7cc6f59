"""Fitted methods -> numbers: metrics, calibration, explanations."""
