"""What backstay costs, beside what it is compared with.

``python -m benchmarks`` runs all, ``python -m benchmarks schedule`` one of them, ``--quick`` with
fewer rounds. Every comparison is made in one run on one interpreter: the sides take turns, and
what counts is the ratio or the difference of neighbours, never a number from another day.
"""
