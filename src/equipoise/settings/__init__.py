"""What users choose, as models; the command line is made from them, so nothing heavy is imported.

The models of one package stand there (``compare/settings.py``, ``study/settings.py``).
"""
