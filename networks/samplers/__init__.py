"""Sampling loops as plain functions: a velocity goes in, samples come out."""
