"""Trainings of the regularisers that ship, one command each."""
