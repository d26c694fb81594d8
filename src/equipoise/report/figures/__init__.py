"""Figures and pictures of the pages, as matplotlib figures or PNG data addresses."""
